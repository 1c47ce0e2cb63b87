"""Listing objects under the caller's policies: pages, folders, cursors."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.supabase import errors
from local.supabase.database import Row, Scope, Statement
from local.supabase.services import Services

MAX_PAGE = 1000
_COLUMNS = "id, name, metadata, updated_at, created_at, last_accessed_at"
_TIMES = ("created_at", "updated_at")
_CURSOR_KEYS = {"l": "after", "o": "order", "c": "column", "a": "after_time"}


@dataclass(frozen=True)
class Query:
    """What to list."""

    bucket: str
    prefix: str = ""
    delimiter: str = ""
    limit: int = MAX_PAGE
    cursor: str | None = None
    start_after: str = ""
    column: str = "name"
    order: str = "asc"


@dataclass(frozen=True)
class Page:
    """One page of a listing; folders are rows without an id."""

    rows: list[Row]
    next_cursor: str | None
    next_key: str | None

    @property
    def folders(self) -> list[Row]:
        """The common prefixes."""
        return [row for row in self.rows if row["id"] is None]

    @property
    def objects(self) -> list[Row]:
        """The objects."""
        return [row for row in self.rows if row["id"] is not None]


async def list_page(services: Services, scope: Scope, query: Query) -> Page:
    """Return one page of the objects the role may see."""
    position = _decode(query.cursor) if query.cursor else {}
    column = position.get("column", query.column)
    descending = position.get("order", query.order) == "desc"
    if query.delimiter:
        column = "name"
        statement = _by_folder(query, position.get("after"), descending=descending)
    else:
        after = position.get("after") or query.start_after
        after_time = position.get("after_time")
        statement = _flat(query, column, after, after_time, descending=descending)
    rows = (await services.database.transaction(scope.enter(), statement))[1]
    if len(rows) <= query.limit:
        return Page(rows, None, None)
    rows = rows[: query.limit]
    last = rows[-1]
    fields = {"after": last["name"], "order": "desc" if descending else "asc", "column": column}
    if column in _TIMES:
        fields["after_time"] = timestamp(last[column]) or ""
    return Page(rows, _encode(fields), last["name"])


def _flat(
    query: Query, column: str, after: str, after_time: str | None, *, descending: bool
) -> Statement:
    sign, direction = ("<", "DESC") if descending else (">", "ASC")
    where, values = "bucket_id = %s AND starts_with(name, %s)", [query.bucket, query.prefix]
    order = f'name COLLATE "C" {direction}'
    if column in _TIMES:
        moment = f"date_trunc('milliseconds', {column})"
        order = f"{moment} {direction}, {order}"
        if after_time:
            where += f' AND ({moment}, name COLLATE "C") {sign} (%s::timestamptz, %s)'
            values += [after_time, after]
    elif after:
        where += f' AND name COLLATE "C" {sign} %s'
        values.append(after)
    sql = f"SELECT {_COLUMNS} FROM storage.objects WHERE {where} ORDER BY {order} LIMIT %s"  # noqa: S608 - columns and directions are ours
    return sql, (*values, query.limit + 1)


def _by_folder(query: Query, after: str | None, *, descending: bool) -> Statement:
    """Collapse what has the delimiter after the prefix into one row per folder."""
    sign, direction = ("<", "DESC") if descending else (">", "ASC")
    raw_after, key_after = query.start_after, after or ""
    if raw_after.endswith(query.delimiter):
        # A folder that ended the page before: skip all of it, not only its name.
        raw_after, key_after = "", max(raw_after, key_after)
    sql = f"""
        SELECT DISTINCT ON (name COLLATE "C") * FROM (
            SELECT CASE WHEN cut > 0 THEN NULL ELSE id END AS id,
                   CASE WHEN cut > 0 THEN left(name, n + cut + d - 1) ELSE name END AS name,
                   CASE WHEN cut > 0 THEN NULL ELSE metadata END AS metadata,
                   CASE WHEN cut > 0 THEN NULL ELSE updated_at END AS updated_at,
                   CASE WHEN cut > 0 THEN NULL ELSE created_at END AS created_at,
                   CASE WHEN cut > 0 THEN NULL ELSE last_accessed_at END AS last_accessed_at
            FROM storage.objects,
                 LATERAL (SELECT length(%s) AS n, length(%s) AS d) AS sizes,
                 LATERAL (SELECT strpos(substr(name, n + 1), %s) AS cut) AS folder
            WHERE bucket_id = %s AND starts_with(name, %s)
              AND (%s = '' OR name COLLATE "C" > %s)
        ) AS entries
        WHERE %s = '' OR name COLLATE "C" {sign} %s
        ORDER BY name COLLATE "C" {direction} LIMIT %s"""  # noqa: S608 - signs are ours
    values = (query.prefix, query.delimiter, query.delimiter, query.bucket, query.prefix)
    return sql, (*values, raw_after, raw_after, key_after, key_after, query.limit + 1)


async def search(
    services: Services,
    scope: Scope,
    bucket: str,
    prefix: str,
    text: str,
    *,
    limit: int,
    offset: int,
    column: str,
    order: str,
) -> list[Row]:
    """List one folder as list v1 does: folders and files, their names relative to the folder."""
    folder = prefix if not prefix or prefix.endswith("/") else prefix + "/"
    column = column if column in (*_TIMES, "last_accessed_at") else "name"
    direction = "DESC" if order == "desc" else "ASC"
    key = 'name COLLATE "C"' if column == "name" else f'{column} {direction}, name COLLATE "C"'
    sql = f"""
        SELECT name, id, updated_at, created_at, last_accessed_at, metadata FROM (
            SELECT DISTINCT ON (split_part(rest, '/', 1), strpos(rest, '/') > 0)
                   split_part(rest, '/', 1) AS name,
                   CASE WHEN strpos(rest, '/') > 0 THEN NULL ELSE id END AS id,
                   CASE WHEN strpos(rest, '/') > 0 THEN NULL ELSE updated_at END AS updated_at,
                   CASE WHEN strpos(rest, '/') > 0 THEN NULL ELSE created_at END AS created_at,
                   CASE WHEN strpos(rest, '/') > 0 THEN NULL ELSE last_accessed_at END
                       AS last_accessed_at,
                   CASE WHEN strpos(rest, '/') > 0 THEN NULL ELSE metadata END AS metadata
            FROM storage.objects, LATERAL (SELECT substr(name, length(%s) + 1) AS rest) AS inside
            WHERE bucket_id = %s AND starts_with(lower(name), lower(%s))
        ) AS entries
        ORDER BY {key} {direction} LIMIT %s OFFSET %s"""  # noqa: S608 - columns are ours
    values = (folder, bucket, folder + text, min(limit, MAX_PAGE), offset)
    return (await services.database.transaction(scope.enter(), (sql, values)))[1]


def timestamp(moment: datetime | None) -> str | None:
    """Write a moment as JavaScript does."""
    if moment is None:
        return None
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _encode(fields: dict[str, Any]) -> str:
    lines = (f"{mark}:{fields[name]}" for mark, name in _CURSOR_KEYS.items() if fields.get(name))
    return base64.b64encode("\n".join(lines).encode()).decode()


def _decode(cursor: str) -> dict[str, str]:
    try:
        lines = base64.b64decode(cursor, validate=True).decode().split("\n")
        pairs = (line.split(":", 1) for line in lines)
        return {_CURSOR_KEYS[mark]: value for mark, value in pairs}
    except (ValueError, KeyError, binascii.Error) as error:
        raise errors.invalid_parameter("continuation token") from error
