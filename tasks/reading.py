"""The stored file that a download brings back, decoded as it is read."""

from __future__ import annotations

from argosy.reference import FileReference
from argosy.storage.content import Content
from models import Transfer
from tasks.fleet import fleet


def content_of(transfer: Transfer) -> Content:
    """What a download reads: the version that its plan has found, with its agent's rights."""
    return Content(
        fleet().store_for(transfer.agent_id),
        FileReference.parse(transfer.reference or {}),
        etag=transfer.etag,
        expansion=fleet().settings.expansion,
    )
