"""What an object's user metadata says of a file, so that it can be read without the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from argosy.derived import Stored

OWN_PREFIX = "user-"
"""Before the names that an agent chose, so that none covers one of ours."""


def object_metadata(
    *,
    name: str,
    owner: UUID,
    transfer: UUID,
    sha256: str | None = None,
    md5: str | None = None,
    expires_at: datetime | None = None,
    metadata: Mapping[str, str] | None = None,
    encoding: str | None = None,
    size: int | None = None,
    stored: Stored | None = None,
) -> dict[str, str]:
    """The object's metadata; `metadata` is the agent's own.

    A file that is moved in parts gets its checksums only once they are known. `sha256` and
    `md5` are the file's own; of one that is stored with an `encoding` its `size` is said too,
    and what `stored` says of the object.
    """
    facts = {
        "name": name,
        "owner": str(owner),
        "transfer": str(transfer),
        "sha256": sha256,
        "md5": md5,
        "expires-at": expires_at.isoformat() if expires_at else None,
        "encoding": encoding,
        "size": str(size) if encoding and size is not None else None,
        "stored-sha256": stored.sha256 if stored else None,
        "stored-md5": stored.md5 if stored else None,
    }
    own = {OWN_PREFIX + key: value for key, value in (metadata or {}).items()}
    return {key: value for key, value in facts.items() if value} | own


def own_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """What of an object's metadata the agent chose itself."""
    return {
        key.removeprefix(OWN_PREFIX): value
        for key, value in metadata.items()
        if key.startswith(OWN_PREFIX)
    }
