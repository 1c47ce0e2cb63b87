"""Creating, finding, changing, emptying and deleting buckets: the same for REST and S3."""

from __future__ import annotations

from typing import Any

from local.supabase import catalog, errors, limits
from local.supabase.database import OWNER, Row, Scope, Statement
from local.supabase.objects import forget
from local.supabase.services import Services

_SORTABLE = ("id", "name", "created_at", "updated_at")
_CHANGEABLE = ("public", "file_size_limit", "allowed_mime_types")


async def create(services: Services, scope: Scope, bucket: str, settings: dict[str, Any]) -> None:
    """Create a bucket as the role."""
    limits.check_bucket_name(bucket)
    values = _checked(services, settings)
    owner = scope.owner_id
    try:
        await services.database.transaction(
            scope.enter(),
            (
                "INSERT INTO storage.buckets (id, name, owner, owner_id, public,"
                " file_size_limit, allowed_mime_types) VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (
                    settings.get("id") or bucket,
                    bucket,
                    catalog.uuid_or_none(owner),
                    owner,
                    bool(values.get("public")),
                    values.get("file_size_limit"),
                    values.get("allowed_mime_types"),
                ),
            ),
        )
    except errors.StorageError as error:
        if error.code == "ResourceAlreadyExists":
            raise errors.already_exists("BucketAlreadyExists") from error
        raise


def _checked(services: Services, settings: dict[str, Any]) -> dict[str, Any]:
    values = {name: settings[name] for name in _CHANGEABLE if name in settings}
    if values.get("file_size_limit") is not None:
        values["file_size_limit"] = limits.parse_size(values["file_size_limit"])
        if values["file_size_limit"] > services.config.file_size_limit:
            raise errors.too_large()
    if values.get("allowed_mime_types"):
        limits.check_mime_patterns(values["allowed_mime_types"])
    return values


async def find(services: Services, scope: Scope, bucket: str) -> Row:
    """Return a bucket the role may see."""
    row = await services.database.one(scope.enter(), catalog.find_bucket(bucket))
    if row is None:
        raise errors.no_such_bucket()
    return row


async def must_exist(services: Services, bucket: str) -> Row:
    """Return a bucket, whoever asks."""
    row = await services.database.one(OWNER, catalog.find_bucket(bucket))
    if row is None:
        raise errors.no_such_bucket()
    return row


async def list_all(
    services: Services,
    scope: Scope,
    *,
    search: str = "",
    limit: int | None = None,
    offset: int = 0,
    column: str = "id",
    order: str = "asc",
) -> list[Row]:
    """Return the buckets the role may see; the search text is taken literally."""
    column = column if column in _SORTABLE else "id"
    direction = "DESC" if order == "desc" else "ASC"
    statement: Statement = (
        f"SELECT {catalog.BUCKET_COLUMNS} FROM storage.buckets"  # noqa: S608 - columns are ours
        " WHERE strpos(lower(name), lower(%s)) > 0"
        f" ORDER BY {column} {direction} LIMIT %s OFFSET %s",
        (search, limit, offset),
    )
    return (await services.database.transaction(scope.enter(), statement))[1]


async def update(services: Services, scope: Scope, bucket: str, settings: dict[str, Any]) -> None:
    """Change a bucket's settings as the role."""
    values = _checked(services, settings)
    if not values:
        raise errors.no_content()
    assignments = ", ".join(f"{name} = %s" for name in values)
    row = await services.database.one(
        scope.enter(),
        (
            f"UPDATE storage.buckets SET {assignments}, updated_at = now()"  # noqa: S608 - names are ours
            " WHERE id = %s RETURNING id",
            (*values.values(), bucket),
        ),
    )
    if row is None:
        raise errors.no_such_bucket()


async def delete(services: Services, scope: Scope, bucket: str) -> None:
    """Delete an empty bucket as the role."""
    results = await services.database.transaction(
        OWNER,
        ("SELECT id FROM storage.buckets WHERE id = %s FOR UPDATE", (bucket,)),
        ("SELECT id FROM storage.objects WHERE bucket_id = %s LIMIT 1", (bucket,)),
        scope.enter(),
        (
            "DELETE FROM storage.buckets WHERE id = %s AND NOT EXISTS"
            " (SELECT FROM storage.objects WHERE bucket_id = %s) RETURNING id",
            (bucket, bucket),
        ),
    )
    if results[1] and results[2]:
        raise errors.bucket_not_empty()
    if not results[4]:
        raise errors.no_such_bucket()


async def empty(services: Services, scope: Scope, bucket: str) -> None:
    """Delete every object of a bucket the role may see."""
    await find(services, scope, bucket)
    results = await services.database.transaction(
        OWNER,
        ("DELETE FROM storage.objects WHERE bucket_id = %s RETURNING version", (bucket,)),
    )
    forget(services, results[1])
