"""The statements on storage.buckets and storage.objects."""

# ruff: noqa: S608 - what is put into the statements are the column lists of this page

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from local.supabase.database import Statement

Metadata = dict[str, Any]

OBJECT_COLUMNS = (
    "id, name, bucket_id, version, owner_id, metadata, user_metadata,"
    " created_at, updated_at, last_accessed_at"
)
BUCKET_COLUMNS = (
    "id, name, owner, public, file_size_limit, allowed_mime_types, type, created_at, updated_at"
)
UPSERT = (
    " ON CONFLICT (bucket_id, name) DO UPDATE SET version = EXCLUDED.version,"
    " owner = EXCLUDED.owner, owner_id = EXCLUDED.owner_id, metadata = EXCLUDED.metadata,"
    " user_metadata = EXCLUDED.user_metadata RETURNING " + OBJECT_COLUMNS
)
_INSERT = (
    "INSERT INTO storage.objects"
    " (bucket_id, name, version, owner, owner_id, metadata, user_metadata)"
)


def uuid_or_none(text: str | None) -> str | None:
    """Return the text when it is a UUID; the legacy column `owner` takes nothing else."""
    try:
        return str(UUID(text or ""))
    except ValueError:
        return None


@dataclass(frozen=True)
class NewObject:
    """The values of an object's row that a write sets."""

    bucket: str
    key: str
    owner: str | None
    metadata: Metadata | None = None
    user_metadata: Metadata | None = None
    version: str = "1"

    def values(self) -> tuple[Any, ...]:
        """Return the values in the order of the columns."""
        return (
            self.bucket,
            self.key,
            self.version,
            uuid_or_none(self.owner),
            self.owner,
            None if self.metadata is None else Jsonb(self.metadata),
            None if self.user_metadata is None else Jsonb(self.user_metadata),
        )


def find_bucket(bucket: str) -> Statement:
    """Select a bucket."""
    return f"SELECT {BUCKET_COLUMNS} FROM storage.buckets WHERE id = %s", (bucket,)


def remember_bucket(bucket: str) -> Statement:
    """Note, for `try_write`, whether the bucket exists."""
    return (
        "SELECT set_config('storage.bucket_found', (count(*) = 1)::text, true)"
        " FROM storage.buckets WHERE id = %s",
        (bucket,),
    )


def try_write(new: NewObject, *, upsert: bool) -> Statement:
    """Insert a row that will be rolled back, when the bucket was found; the policies decide.

    A plain insert returns nothing, so it needs no SELECT policy; an upsert does.
    """
    sql = (
        _INSERT + " SELECT %s, %s, %s, %s::uuid, %s, %s::jsonb, %s::jsonb"
        " WHERE current_setting('storage.bucket_found') = 'true'"
    )
    return sql + (UPSERT if upsert else ""), new.values()


def lock_key(bucket: str, key: str) -> Statement:
    """Let writers of the same key follow each other until the end of the transaction."""
    return (
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
        (f"{bucket}/{key}",),
    )


def find_for_update(bucket: str, key: str) -> Statement:
    """Select an object and hold its row."""
    return (
        f"SELECT {OBJECT_COLUMNS} FROM storage.objects"
        " WHERE bucket_id = %s AND name = %s FOR UPDATE",
        (bucket, key),
    )


def write(new: NewObject) -> Statement:
    """Insert the object's row, or replace it."""
    return _INSERT + " VALUES (%s, %s, %s, %s, %s, %s, %s)" + UPSERT, new.values()


def find(bucket: str, key: str) -> Statement:
    """Select an object."""
    return (
        f"SELECT {OBJECT_COLUMNS} FROM storage.objects WHERE bucket_id = %s AND name = %s",
        (bucket, key),
    )


def find_names(bucket: str, keys: list[str]) -> Statement:
    """Select those of the names that exist."""
    return (
        "SELECT name FROM storage.objects WHERE bucket_id = %s AND name = ANY (%s)",
        (bucket, keys),
    )


def delete(bucket: str, keys: list[str]) -> Statement:
    """Delete objects by name."""
    return (
        "DELETE FROM storage.objects WHERE bucket_id = %s AND name = ANY (%s)"
        f" RETURNING {OBJECT_COLUMNS}",
        (bucket, keys),
    )


def rename(source: tuple[str, str], target: tuple[str, str], owner: str | None) -> Statement:
    """Give an object another name."""
    return (
        "UPDATE storage.objects SET bucket_id = %s, name = %s,"
        " owner = coalesce(%s::uuid, owner), owner_id = coalesce(%s, owner_id)"
        f" WHERE bucket_id = %s AND name = %s RETURNING {OBJECT_COLUMNS}",
        (*target, uuid_or_none(owner), owner, *source),
    )
