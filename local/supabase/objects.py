"""Storing, finding, copying, moving and deleting objects: the same for REST and S3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from local.supabase import catalog, errors, limits
from local.supabase.catalog import Metadata, NewObject
from local.supabase.database import OWNER, Row, Scope
from local.supabase.services import Services
from local.supabase.transfer import Chunks, in_thread, limited, save


@dataclass(frozen=True)
class Upload:
    """What a client says about an object it is about to send."""

    bucket: str
    key: str
    mime_type: str = "application/octet-stream"
    cache_control: str = "no-cache"
    user_metadata: Metadata | None = None
    upsert: bool = True
    declared_length: int | None = None


async def may_write(
    services: Services,
    scope: Scope,
    bucket: str,
    key: str,
    *,
    metadata: Metadata | None = None,
    user_metadata: Metadata | None = None,
    upsert: bool = True,
) -> Row:
    """Try the write as the caller's role and roll it back; return the bucket."""
    limits.check_bucket_name(bucket)
    limits.check_key(key)
    new = NewObject(bucket, key, scope.owner_id, metadata, user_metadata)
    try:
        results = await services.database.transaction(
            OWNER,
            catalog.remember_bucket(bucket),
            catalog.find_bucket(bucket),
            scope.enter(),
            catalog.try_write(new, upsert=upsert),
            commit=False,
        )
    except errors.StorageError as error:
        if error.code == "ResourceAlreadyExists":
            raise errors.already_exists() from error
        raise
    if not results[2]:
        raise errors.no_such_bucket()
    return results[2][0]


async def store(
    services: Services, scope: Scope, upload: Upload, chunks: Chunks, *, always_limit: bool
) -> Row:
    """Check, stream to disk, then write the row: only then does the object exist.

    Without `always_limit` only an announced length is held against the bucket's limit.
    """
    bucket = await may_write(
        services,
        scope,
        upload.bucket,
        upload.key,
        metadata={"mimetype": upload.mime_type, "contentLength": upload.declared_length},
        user_metadata=upload.user_metadata,
        upsert=upload.upsert,
    )
    limit = _check_against(services, bucket, upload)
    version, disk = str(uuid4()), services.disk
    written = await save(
        disk,
        limited(chunks, limit) if always_limit else chunks,
        partial(disk.object_writer, version),
        partial(disk.place_object, version),
    )
    metadata = describe(f'"{written.etag}"', written.size, upload.mime_type, upload.cache_control)
    owner = scope.owner_id
    new = NewObject(upload.bucket, upload.key, owner, metadata, upload.user_metadata, version)
    return await commit(services, new)


def _check_against(services: Services, bucket: Row, upload: Upload) -> int:
    if upload.key.endswith(limits.EMPTY_FOLDER):
        return 0
    limits.check_mime_type(upload.mime_type, bucket["allowed_mime_types"])
    limit = limits.size_limit(services.config.file_size_limit, bucket["file_size_limit"])
    if upload.declared_length is not None and upload.declared_length > limit:
        raise errors.too_large()
    return limit


def describe(etag: str, size: int, mime_type: str, cache_control: str) -> Metadata:
    """Return the metadata Storage keeps in an object's row."""
    now = datetime.now(UTC)
    return {
        "eTag": etag,
        "size": size,
        "mimetype": mime_type,
        "cacheControl": cache_control,
        "lastModified": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "contentLength": size,
        "httpStatusCode": 200,
    }


async def commit(services: Services, new: NewObject) -> Row:
    """Write the row of bytes that are in place; the bytes it replaces are removed."""
    try:
        results = await services.database.transaction(
            OWNER,
            catalog.lock_key(new.bucket, new.key),
            catalog.find_for_update(new.bucket, new.key),
            catalog.write(new),
        )
    except errors.StorageError as error:
        # With the connection lost, the commit is in doubt: the journal decides at the next start.
        if error.status < 500:
            services.disk.in_background(services.disk.remove_object, new.version)
        raise
    services.disk.settle(new.version)
    forget(services, results[2])
    return results[3][0]


def forget(services: Services, rows: list[Row]) -> None:
    """Remove the bytes of rows that are gone."""
    for row in rows:
        if row["version"] is None:  # inserted by SQL: there never were bytes
            continue
        services.disk.in_background(services.disk.remove_object, row["version"])


def must_have_bytes(row: Row) -> None:
    """Refuse a row that was inserted by SQL: there is nothing to send."""
    if row["version"] is None or row["metadata"] is None:
        raise errors.no_such_key()


async def find(services: Services, scope: Scope, bucket: str, key: str) -> Row:
    """Return an object that the role may see."""
    limits.check_key(key)
    row = await services.database.one(scope.enter(), catalog.find(bucket, key))
    if row is None:
        raise errors.no_such_key()
    return row


async def delete_one(services: Services, scope: Scope, bucket: str, key: str) -> None:
    """Delete one object; an object that is there and may not be deleted is AccessDenied."""
    results = await services.database.transaction(
        OWNER,
        catalog.find_for_update(bucket, key),
        scope.enter(),
        catalog.delete(bucket, [key]),
    )
    if not results[1]:
        raise errors.no_such_key()
    if not results[3]:
        raise errors.access_denied()
    forget(services, results[3])


async def delete_many(
    services: Services, scope: Scope, bucket: str, keys: list[str]
) -> tuple[list[Row], set[str]]:
    """Delete what the role may; return the deleted rows and the names that are still there."""
    results = await services.database.transaction(
        scope.enter(),
        catalog.delete(bucket, keys),
        OWNER,
        catalog.find_names(bucket, keys),
    )
    forget(services, results[1])
    return results[1], {row["name"] for row in results[3]}


@dataclass(frozen=True)
class Copy:
    """A copy to make: from where, to where, and what changes on the way."""

    bucket: str
    key: str
    to_bucket: str
    to_key: str
    upsert: bool = True
    metadata: Metadata | None = None
    user_metadata: Metadata | None = None
    keep_metadata: bool = True
    keep_unsaid: bool = False
    condition: Callable[[Row], None] | None = None


async def copy(services: Services, scope: Scope, order: Copy) -> Row:
    """Copy an object by linking its bytes."""
    source = await find(services, scope, order.bucket, order.key)
    must_have_bytes(source)
    if order.condition:
        order.condition(source)
    metadata = _copied_metadata(source, order)
    user_metadata = source["user_metadata"] if order.keep_metadata else order.user_metadata
    await may_write(
        services,
        scope,
        order.to_bucket,
        order.to_key,
        metadata=metadata,
        user_metadata=user_metadata,
        upsert=order.upsert,
    )
    version = str(uuid4())
    try:
        await in_thread(services.disk, services.disk.copy, source["version"], version)
    except FileNotFoundError as error:
        services.disk.remove_object(version)
        raise errors.no_such_key() from error
    owner = scope.owner_id
    new = NewObject(order.to_bucket, order.to_key, owner, metadata, user_metadata, version)
    return await commit(services, new)


def _copied_metadata(source: Row, order: Copy) -> Metadata:
    metadata = dict(source["metadata"])
    if not order.keep_metadata:
        if not order.keep_unsaid:
            metadata |= {"cacheControl": "no-cache", "mimetype": "application/octet-stream"}
        metadata |= {k: v for k, v in (order.metadata or {}).items() if v is not None}
    fresh = describe(metadata["eTag"], metadata["size"], "", "")
    return metadata | {"lastModified": fresh["lastModified"]}


async def move(
    services: Services, scope: Scope, source: tuple[str, str], target: tuple[str, str]
) -> Row:
    """Rename an object, (bucket, key), as the role; its bytes stay where they are."""
    limits.check_key(target[1])
    results = await services.database.transaction(
        scope.enter(),
        catalog.find(*source),
        catalog.rename(source, target, scope.owner_id),
    )
    if not results[1]:
        raise errors.no_such_key()
    if not results[2]:
        raise errors.access_denied()
    return results[2][0]
