"""REST: objects on their way out, and what is known about them."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from local.supabase import catalog, errors, limits
from local.supabase.database import OWNER, Row, Scope
from local.supabase.download import Download, Span, http_date, last_modified, not_modified, span_of
from local.supabase.objects import must_have_bytes
from local.supabase.rest import JSON, caller, caller_or_anon
from local.supabase.rest_upload import signed_claims
from local.supabase.services import Services, services_of

_TRIES = 3


async def get(request: Request) -> ASGIApp:
    """Serve an object of a public bucket to anyone, of another to whom its policies allow."""
    scope, proved = caller_or_anon(request)
    return await _serve(request, scope, proved=proved)


async def get_authenticated(request: Request) -> ASGIApp:
    """Serve an object to a caller with a good token."""
    return await _serve(request, caller(request), proved=True)


async def get_public(request: Request) -> ASGIApp:
    """Serve an object of a public bucket."""
    return await _serve(request, None, proved=False)


async def get_signed(request: Request) -> ASGIApp:
    """Serve an object to whoever has a signed URL for it."""
    services = services_of(request)
    signed_claims(services, request, "download")
    owner = Scope("service_role", {"role": "service_role"})
    return await _serve(request, owner, proved=True)


async def _serve(request: Request, scope: Scope | None, *, proved: bool) -> ASGIApp:
    services = services_of(request)
    for attempt in range(_TRIES):
        row = await _find(services, request, scope, proved=proved)
        must_have_bytes(row)
        headers = _headers(row, request)
        if not_modified(request.headers, row):
            return Response(status_code=304, headers=headers)
        span = span_of(request.headers.get("range"), row["metadata"]["size"])
        download = Download(services.disk, row, span, headers)
        try:
            if request.method != "HEAD":
                await download.open()
        except FileNotFoundError:
            # Replaced between the row and the file: the next row names the new version.
            if attempt == _TRIES - 1:
                raise
        else:
            return download
    raise errors.no_such_key()


async def _find(services: Services, request: Request, scope: Scope | None, *, proved: bool) -> Row:
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    limits.check_key(key)
    role = scope or Scope("anon", {"role": "anon"})
    results = await services.database.transaction(
        OWNER,
        catalog.find_bucket(bucket),
        catalog.find(bucket, key),
        role.enter(),
        catalog.find(bucket, key),
    )
    public = bool(results[1]) and results[1][0]["public"]
    if not results[1] or not (proved or public):
        raise errors.no_such_bucket()
    found = results[2] if public else results[4]
    if not found:
        raise errors.no_such_key()
    return found[0]


def _headers(row: Row, request: Request) -> dict[str, str]:
    metadata = row["metadata"]
    mime_type = metadata.get("mimetype") or "application/octet-stream"
    headers = {
        "accept-ranges": "bytes",
        # HTML is served as text, so that no bucket becomes a web site.
        "content-type": "text/plain" if "text/html" in mime_type else mime_type,
        "etag": metadata["eTag"],
        "last-modified": http_date(last_modified(row)),
        "cache-control": metadata.get("cacheControl") or "no-cache",
        "x-robots-tag": "none",
    }
    name = request.query_params.get("download")
    if name is not None:
        quoted = quote(name, safe="")
        headers["content-disposition"] = (
            f"attachment; filename={quoted}; filename*=UTF-8''{quoted}" if name else "attachment;"
        )
    return headers


# ---------------------------------------------------------------- HEAD and info


async def head(request: Request) -> ASGIApp:
    """Answer with an object's headers only."""
    scope, proved = caller_or_anon(request)
    return _head(await _find(services_of(request), request, scope, proved=proved), request)


async def head_authenticated(request: Request) -> ASGIApp:
    """Answer a caller with a good token with an object's headers only."""
    scope = caller(request)
    return _head(await _find(services_of(request), request, scope, proved=True), request)


async def head_public(request: Request) -> ASGIApp:
    """Answer with the headers of an object of a public bucket."""
    return _head(await _find(services_of(request), request, None, proved=False), request)


def _head(row: Row, request: Request) -> Download:
    must_have_bytes(row)
    size = row["metadata"]["size"]
    span = Span(0, size, size, partial=False)
    return Download(services_of(request).disk, row, span, _headers(row, request))


async def info(request: Request) -> Response:
    """Describe an object, with its user metadata."""
    scope, proved = caller_or_anon(request)
    return _info(await _find(services_of(request), request, scope, proved=proved))


async def info_authenticated(request: Request) -> Response:
    """Describe an object to a caller with a good token."""
    scope = caller(request)
    return _info(await _find(services_of(request), request, scope, proved=True))


async def info_public(request: Request) -> Response:
    """Describe an object of a public bucket."""
    return _info(await _find(services_of(request), request, None, proved=False))


def _info(row: Row) -> Response:
    metadata = row["metadata"] or {}
    content = {
        "id": row["id"],
        "name": row["name"],
        "version": row["version"],
        "bucket_id": row["bucket_id"],
        "size": metadata.get("size"),
        "content_type": metadata.get("mimetype"),
        "cache_control": metadata.get("cacheControl"),
        "etag": metadata.get("eTag"),
        "metadata": row["user_metadata"],
        "last_modified": row["updated_at"],
        "created_at": row["created_at"],
    }
    return JSON(content, headers={"etag": metadata.get("eTag") or ""})
