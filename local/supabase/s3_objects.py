"""S3's operations on objects."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from local.supabase import buckets, errors, limits, objects, sigv4
from local.supabase.database import Row
from local.supabase.download import Download, Span, http_date, last_modified, not_modified, span_of
from local.supabase.formdata import Form
from local.supabase.listing import timestamp
from local.supabase.objects import Copy, Upload
from local.supabase.s3_auth import Caller, authenticate_form
from local.supabase.services import Services
from local.supabase.transfer import body_of
from local.supabase.xml import XMLResponse

_META = "x-amz-meta-"
_OVERRIDES = {
    "response-content-type": "content-type",
    "response-content-disposition": "content-disposition",
    "response-cache-control": "cache-control",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-expires": "expires",
}
_TRIES = 3


def user_metadata_of(headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the x-amz-meta-* headers, without their prefix."""
    found = {
        name.lower().removeprefix(_META): value
        for name, value in headers.items()
        if name.lower().startswith(_META)
    }
    return found or None


async def put_object(services: Services, caller: Caller, request: Request) -> Response:
    """PutObject: an upsert; `If-None-Match: *` is not looked at, as upstream."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    chunks, length = caller.body_of(request)
    if key.endswith("/") and length == 0:
        key += limits.EMPTY_FOLDER
    headers = request.headers
    upload = Upload(
        bucket,
        key,
        headers.get("content-type", "application/octet-stream"),
        headers.get("cache-control", "no-cache"),
        user_metadata_of(headers),
        declared_length=length,
    )
    row = await objects.store(services, caller.scope, upload, chunks, always_limit=True)
    return Response(headers={"etag": row["metadata"]["eTag"]})


async def post_object(services: Services, request: Request) -> Response:
    """POST Object: a form from a browser, its policy signed beforehand."""
    bucket = request.path_params["bucket"]
    form = Form(request.headers.get("content-type", ""), body_of(request))
    await form.read_fields()
    scope = authenticate_form(services, form.fields)
    fields = {name.lower(): value for name, value in form.fields.items()}
    sigv4.check_policy(form.fields[sigv4.POLICY], form.fields, bucket)
    upload = Upload(
        bucket,
        fields.get("key", ""),
        fields.get("content-type", "application/octet-stream"),
        fields.get("cache-control", "no-cache"),
        user_metadata_of(fields),
    )
    row = await objects.store(services, scope, upload, form.file(), always_limit=True)
    return Response(headers={"etag": row["metadata"]["eTag"]})


async def get_object(services: Services, caller: Caller, request: Request) -> ASGIApp:
    """GetObject, with ranges and conditions."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    for attempt in range(_TRIES):
        row = await objects.find(services, caller.scope, bucket, key)
        objects.must_have_bytes(row)
        headers = _headers(row) | _overrides(request.query_params)
        if not_modified(request.headers, row):
            return Response(status_code=304, headers=headers)
        span = span_of(request.headers.get("range"), row["metadata"]["size"])
        download = Download(services.disk, row, span, headers)
        try:
            await download.open()
        except FileNotFoundError:
            # Replaced between the row and the file: the next row names the new version.
            if attempt == _TRIES - 1:
                raise
        else:
            return download
    raise errors.no_such_key()


async def head_object(services: Services, caller: Caller, request: Request) -> ASGIApp:
    """HeadObject."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    row = await objects.find(services, caller.scope, bucket, key)
    objects.must_have_bytes(row)
    headers = _headers(row)
    if not_modified(request.headers, row):
        return Response(status_code=304, headers=headers)
    size = row["metadata"]["size"]
    return Download(services.disk, row, Span(0, size, size, partial=False), headers)


def _headers(row: Row) -> dict[str, str]:
    metadata = row["metadata"]
    headers = {
        "accept-ranges": "bytes",
        "etag": metadata["eTag"],
        "content-type": metadata.get("mimetype") or "application/octet-stream",
        "cache-control": metadata.get("cacheControl") or "no-cache",
        "last-modified": http_date(last_modified(row)),
    }
    missing = 0
    for name, value in (row["user_metadata"] or {}).items():
        if name and isinstance(value, str) and value.isascii() and value.isprintable():
            headers[_META + name.lower()] = value
        else:
            missing += 1
    if missing:
        headers["x-amz-missing-meta"] = str(missing)
    return headers


def _overrides(query: Mapping[str, str]) -> dict[str, str]:
    return {header: query[name] for name, header in _OVERRIDES.items() if query.get(name)}


async def get_tagging(services: Services, caller: Caller, request: Request) -> Response:
    """GetObjectTagging: there are no tags."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    await objects.find(services, caller.scope, bucket, key)
    return XMLResponse("Tagging", {"TagSet": ""})


async def delete_object(services: Services, caller: Caller, request: Request) -> Response:
    """DeleteObject: what is not there counts as deleted."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    try:
        await objects.delete_one(services, caller.scope, bucket, key)
    except errors.StorageError as error:
        if error.code != "NoSuchKey":
            raise
        await buckets.must_exist(services, bucket)
    return Response(status_code=204)


def copy_source(request: Request) -> tuple[str, str]:
    """Read x-amz-copy-source: bucket and key."""
    source = unquote(request.headers["x-amz-copy-source"]).removeprefix("/").partition("?")[0]
    bucket, _, key = source.partition("/")
    if not bucket or not key:
        raise errors.missing_parameter("CopySource")
    return bucket, key


async def copy_object(services: Services, caller: Caller, request: Request) -> Response:
    """CopyObject."""
    headers = request.headers
    bucket, key = copy_source(request)
    row = await objects.copy(
        services,
        caller.scope,
        Copy(
            bucket,
            key,
            request.path_params["bucket"],
            request.path_params["key"],
            metadata={
                "cacheControl": headers.get("cache-control"),
                "mimetype": headers.get("content-type"),
            },
            user_metadata=user_metadata_of(headers),
            keep_metadata=headers.get("x-amz-metadata-directive", "COPY") == "COPY",
            condition=lambda source: _check_copy_conditions(source, headers),
        ),
    )
    result = {"ETag": row["metadata"]["eTag"], "LastModified": timestamp(last_modified(row))}
    return XMLResponse("CopyObjectResult", result)


def _check_copy_conditions(row: Row, headers: Mapping[str, str]) -> None:
    prefix = "x-amz-copy-source-if-"
    etag, moment = row["metadata"]["eTag"].strip('"'), last_modified(row)
    match, none_match = headers.get(prefix + "match"), headers.get(prefix + "none-match")
    since = headers.get(prefix + "modified-since")
    until = headers.get(prefix + "unmodified-since")
    failed = (
        (match is not None and match.strip('"') != etag)
        or (none_match is not None and none_match.strip('"') == etag)
        or (since is not None and moment <= parsedate_to_datetime(since))
        or (until is not None and moment > parsedate_to_datetime(until))
    )
    if failed:
        message = "At least one of the pre-conditions you specified did not hold"
        raise errors.StorageError("PreconditionFailed", 412, message)
