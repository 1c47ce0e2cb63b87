"""Which S3 operation a request asks for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from local.supabase import (
    errors,
    s3_buckets,
    s3_complete,
    s3_multipart,
    s3_multipart_lists,
    s3_objects,
)
from local.supabase.s3_auth import Caller, authenticate
from local.supabase.services import Services, services_of
from local.supabase.transfer import headers_of_refusal
from local.supabase.xml import error_response

log = logging.getLogger(__name__)
Operation = Callable[[Services, Caller, Request], Awaitable[ASGIApp]]
# (method, what the query must hold, a header that must be there) -> operation; first match wins.
Table = list[tuple[str, set[str], str | None, Operation]]

SERVICE: Table = [("GET", set(), None, s3_buckets.list_buckets)]
BUCKET: Table = [
    ("GET", {"location"}, None, s3_buckets.location),
    ("GET", {"versioning"}, None, s3_buckets.versioning),
    ("GET", {"uploads"}, None, s3_multipart_lists.list_uploads),
    ("GET", set(), None, s3_buckets.list_objects),
    ("HEAD", set(), None, s3_buckets.head_bucket),
    ("PUT", set(), None, s3_buckets.create_bucket),
    ("DELETE", set(), None, s3_buckets.delete_bucket),
    ("POST", {"delete"}, None, s3_buckets.delete_objects),
]
_COPY = "x-amz-copy-source"
OBJECT: Table = [
    ("PUT", {"uploadId", "partNumber"}, _COPY, s3_multipart.upload_part_copy),
    ("PUT", {"uploadId", "partNumber"}, None, s3_multipart.upload_part),
    ("PUT", set(), _COPY, s3_objects.copy_object),
    ("PUT", set(), None, s3_objects.put_object),
    ("GET", {"uploadId"}, None, s3_multipart_lists.list_parts),
    ("GET", {"tagging"}, None, s3_objects.get_tagging),
    ("GET", set(), None, s3_objects.get_object),
    ("HEAD", set(), None, s3_objects.head_object),
    ("POST", {"uploads"}, None, s3_multipart.create),
    ("POST", {"uploadId"}, None, s3_complete.complete),
    ("DELETE", {"uploadId"}, None, s3_multipart.abort),
    ("DELETE", set(), None, s3_objects.delete_object),
]


class S3:
    """The S3 endpoint, path style; mounted at /storage/v1/s3."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive, send)
        bucket, _, key = _path(scope).partition("/")
        scope["path_params"] = {"bucket": bucket, "key": key}
        try:
            response = await _serve(request, bucket, key)
        except errors.StorageError as error:
            response = _refusal(error, request)
        except ClientDisconnect:
            return
        except OSError:
            log.exception("the disk refused")
            response = _refusal(errors.internal(), request)
        await response(scope, receive, send)


def _refusal(error: errors.StorageError, request: Request) -> Response:
    resource = "/".join(request.path_params.values()).strip("/")
    response = error_response(error, resource)
    response.headers.update(headers_of_refusal(request))
    return response


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).removeprefix("/")


async def _serve(request: Request, bucket: str, key: str) -> ASGIApp:
    services = services_of(request)
    form = request.headers.get("content-type", "").startswith("multipart/form-data")
    if bucket and not key and request.method == "POST" and form:
        return await s3_objects.post_object(services, request)
    operation = _operation(request, OBJECT if key else BUCKET if bucket else SERVICE)
    if operation is None:
        return Response(status_code=404)
    return await operation(services, authenticate(services, request), request)


def _operation(request: Request, table: Table) -> Operation | None:
    names = set(request.query_params)
    for method, query, header, operation in table:
        if method != request.method or not query <= names:
            continue
        if header is None or header in request.headers:
            return operation
    return None
