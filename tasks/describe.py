"""What is said of a file beside its bytes: its object's metadata, and its reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from argosy import description
from argosy.derived import Encoding, Stored
from argosy.errors import ObjectNotFound
from argosy.reference import FileReference
from argosy.storage.metadata import encode_value
from models import Transfer
from models.access import as_agent


def object_metadata(transfer: Transfer) -> dict[str, str]:
    """User metadata of the transfer's object."""
    return metadata_of(
        transfer,
        encoding=transfer.encoding,
        size=transfer.size,
        stored=stored_as(transfer),
    )


def metadata_of(
    transfer: Transfer,
    *,
    encoding: str | None,
    size: int | None = None,
    stored: Stored | None = None,
) -> dict[str, str]:
    """User metadata of an object that has the transfer's file in it, encoded in this way."""
    return description.object_metadata(
        name=transfer.name,
        owner=transfer.agent_id,
        transfer=transfer.id,
        sha256=transfer.sha256,
        md5=transfer.md5,
        expires_at=transfer.expires_at,
        metadata=transfer.user_metadata,
        encoding=encoding,
        size=size,
        stored=stored,
    )


def stored_as(transfer: Transfer) -> Stored | None:
    """What the object comes to, where it is not the file as it is."""
    if transfer.stored_size is None:
        return None
    return Stored(
        size=transfer.stored_size, sha256=transfer.stored_sha256 or "", md5=transfer.stored_md5
    )


def describe_object(session: Session, transfer: Transfer) -> None:
    """Add the checksums to an object that was made of parts.

    S3 takes metadata only when an upload begins, and they are computed beside
    it. The row is written as the agent, so row-level security decides here too.
    Raises ObjectNotFound when the agent's object is not there.
    """
    place = (transfer.bucket, transfer.object_name)
    add_metadata(session, transfer.agent_id, place, object_metadata(transfer), transfer.name)


def add_metadata(
    session: Session,
    agent_id: UUID,
    place: tuple[str, str],
    metadata: Mapping[str, str],
    name: str,
) -> None:
    """Add to what is said of an object, with the agent's rights. Raises ObjectNotFound."""
    encoded = {key: encode_value(value) for key, value in metadata.items()}
    with as_agent(session, agent_id):
        changed = session.execute(
            text(
                "UPDATE storage.objects SET user_metadata = "
                "coalesce(user_metadata, '{}') || cast(:facts AS jsonb) "
                "WHERE bucket_id = :bucket AND name = :name RETURNING id"
            ),
            {"facts": json.dumps(encoded), "bucket": place[0], "name": place[1]},
        ).one_or_none()
    if changed is None:
        raise ObjectNotFound(f"{name} is not in Storage any more: upload it again.")


def end_objects(
    session: Session, agent_id: UUID, bucket: str, names: Sequence[str], ends: datetime
) -> None:
    """Say at these objects when their time ends now, with the agent's rights.

    One that is not there, or is not the agent's to write, is left as it is.
    """
    facts = {"expires-at": encode_value(ends.isoformat())}
    with as_agent(session, agent_id):
        session.execute(
            text(
                "UPDATE storage.objects SET user_metadata = "
                "coalesce(user_metadata, '{}') || cast(:facts AS jsonb) "
                "WHERE bucket_id = :bucket AND name = ANY (:names)"
            ),
            {"facts": json.dumps(facts), "bucket": bucket, "names": list(names)},
        )


def reference_to(transfer: Transfer, grants: Sequence[str]) -> FileReference:
    """The reference to a stored file; `grants` say who else may reach it, in words."""
    return FileReference(
        id=transfer.id,
        bucket=transfer.bucket,
        path=transfer.object_name,
        name=transfer.name,
        size=transfer.size or 0,
        content_type=transfer.content_type,
        encoding=cast(Encoding | None, transfer.encoding),  # the reference checks it
        stored=stored_as(transfer),
        sha256=transfer.sha256 or "",
        md5=transfer.md5,
        owner=transfer.agent_id,
        created_at=transfer.created_at,
        expires_at=transfer.expires_at,
        chunk_size=transfer.part_size or 0,
        chunk_count=transfer.part_count or 1,
        grants=tuple(grants),
        metadata=transfer.user_metadata or {},
    )
