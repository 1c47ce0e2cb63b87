"""Multipart uploads that no row names yet: begun, and ended where none ever will."""

from __future__ import annotations

from collections.abc import Mapping

from models import Transfer
from tasks.fleet import fleet


def begin_upload(transfer: Transfer, metadata: Mapping[str, str]) -> str:
    """Begin one for the transfer's object; returns its id. Raises what Storage answers."""
    store = fleet().store_for(transfer.agent_id)
    return store.create_multipart(
        transfer.bucket,
        transfer.object_name,
        content_type=transfer.content_type,
        metadata=metadata,
    )


def abandon(transfer: Transfer, upload_id: str) -> None:
    """Somebody else was faster: end what was begun.

    Unless it was us: a commit whose answer got lost looks the same.
    """
    now = fleet().transact(lambda session: session.get_one(Transfer, transfer.id))
    if now.upload_id != upload_id:
        store = fleet().store_for(transfer.agent_id)
        store.abort_multipart(transfer.bucket, transfer.object_name, upload_id)
