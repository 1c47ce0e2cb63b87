"""S3's multipart uploads: their rows are in PostgreSQL, their parts on disk."""

from __future__ import annotations

import re
from functools import partial
from uuid import uuid4

from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import Response

from local.supabase import errors, limits, objects
from local.supabase.database import OWNER, Row, Scope, Statement
from local.supabase.disk import Written
from local.supabase.listing import timestamp
from local.supabase.objects import may_write
from local.supabase.s3_auth import Caller
from local.supabase.s3_objects import copy_source, user_metadata_of
from local.supabase.services import Services
from local.supabase.transfer import Chunks, Reader, exactly, in_thread, save
from local.supabase.xml import XMLResponse

_COPY_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


def find_upload(upload_id: str) -> Statement:
    """Select an unfinished upload."""
    return (
        "SELECT id, bucket_id, key, version, user_metadata, metadata"
        " FROM storage.s3_multipart_uploads WHERE id = %s",
        (upload_id,),
    )


async def create(services: Services, caller: Caller, request: Request) -> Response:
    """CreateMultipartUpload."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    headers = request.headers
    mime_type = headers.get("content-type")
    user_metadata = user_metadata_of(headers)
    metadata = {"mimetype": mime_type, "cacheControl": headers.get("cache-control")}
    found = await may_write(
        services, caller.scope, bucket, key, metadata=metadata, user_metadata=user_metadata
    )
    if mime_type:
        limits.check_mime_type(mime_type, found["allowed_mime_types"])
    upload_id = str(uuid4())
    values = (upload_id, bucket, key, str(uuid4()), caller.scope.owner_id)
    await services.database.transaction(
        OWNER,
        (
            "INSERT INTO storage.s3_multipart_uploads (id, bucket_id, key, version, owner_id,"
            " upload_signature, user_metadata, metadata) VALUES (%s, %s, %s, %s, %s, '', %s, %s)",
            (*values, Jsonb(user_metadata) if user_metadata else None, Jsonb(metadata)),
        ),
    )
    result = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    return XMLResponse("InitiateMultipartUploadResult", result)


async def permitted_upload(services: Services, scope: Scope, request: Request) -> tuple[Row, Row]:
    """Return the upload and its bucket, once the role has proved it may upsert the key."""
    upload_id = request.query_params["uploadId"]
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    upload = await services.database.one(OWNER, find_upload(upload_id))
    if upload is None or (upload["bucket_id"], upload["key"]) != (bucket, key):
        raise errors.no_such_upload()
    found = await may_write(
        services,
        scope,
        bucket,
        key,
        metadata=upload["metadata"],
        user_metadata=upload["user_metadata"],
    )
    return upload, found


async def upload_part(services: Services, caller: Caller, request: Request) -> Response:
    """UploadPart; its ETag is the MD5 of the bytes that arrived."""
    number = _part_number(request)
    chunks, size = caller.body_of(request)
    if size is None:
        raise errors.missing_content_length()
    upload, bucket = await permitted_upload(services, caller.scope, request)
    etag = await _add_part(
        services, caller.scope, upload, bucket, number=number, chunks=chunks, size=size
    )
    return Response(headers={"etag": etag, "access-control-expose-headers": "etag"})


def _part_number(request: Request) -> int:
    text = request.query_params["partNumber"]
    number = int(text) if text.isdigit() else 0
    if not 1 <= number <= limits.MAX_PART_NUMBER:
        raise errors.invalid_request(
            f"Querystring, partNumber must be >= 1 and <= {limits.MAX_PART_NUMBER}"
        )
    return number


async def _add_part(
    services: Services,
    scope: Scope,
    upload: Row,
    bucket: Row,
    *,
    number: int,
    chunks: Chunks,
    size: int,
) -> str:
    if size > limits.MAX_PART_SIZE:
        raise errors.too_large()
    limit = limits.size_limit(services.config.file_size_limit, bucket["file_size_limit"])
    await _reserve(services, upload["id"], size, limit)
    part_id, disk = str(uuid4()), services.disk
    try:
        written = await save(
            disk,
            exactly(chunks, size),
            partial(disk.part_writer, part_id),
            partial(disk.place_part, upload["id"], part_id),
        )
        return await _record_part(
            services, scope, upload, number=number, part_id=part_id, written=written
        )
    except BaseException:
        disk.remove_part(upload["id"], part_id)
        await _release(services, upload["id"], size)
        raise


async def _reserve(services: Services, upload_id: str, size: int, limit: int) -> None:
    # A part that is sent again counts again, as upstream.
    row = await services.database.one(
        OWNER,
        (
            "UPDATE storage.s3_multipart_uploads SET in_progress_size = in_progress_size + %s"
            " WHERE id = %s AND in_progress_size + %s <= %s RETURNING id",
            (size, upload_id, size, limit),
        ),
    )
    if row is None:
        if await services.database.one(OWNER, find_upload(upload_id)):
            raise errors.too_large()
        raise errors.no_such_upload()


async def _release(services: Services, upload_id: str, size: int) -> None:
    await services.database.transaction(
        OWNER,
        (
            "UPDATE storage.s3_multipart_uploads SET in_progress_size = in_progress_size - %s"
            " WHERE id = %s",
            (size, upload_id),
        ),
    )


async def _record_part(
    services: Services,
    scope: Scope,
    upload: Row,
    *,
    number: int,
    part_id: str,
    written: Written,
) -> str:
    etag = f'"{written.etag}"'
    row = await services.database.one(
        OWNER,
        (
            "INSERT INTO storage.s3_multipart_uploads_parts"
            " (id, upload_id, size, part_number, bucket_id, key, etag, owner_id, version,"
            " created_at) SELECT %s::uuid, id, %s, %s, bucket_id, key, %s, %s, version,"
            " clock_timestamp() FROM storage.s3_multipart_uploads WHERE id = %s FOR SHARE"
            " RETURNING id",
            (part_id, written.size, number, etag, scope.owner_id, upload["id"]),
        ),
    )
    if row is None:
        raise errors.upload_ended()
    return etag


async def upload_part_copy(services: Services, caller: Caller, request: Request) -> Response:
    """UploadPartCopy: a part from an object, or a range of it, that is already here."""
    number = _part_number(request)
    source = await objects.find(services, caller.scope, *copy_source(request))
    objects.must_have_bytes(source)
    start, size = _copy_range(request, source["metadata"]["size"])
    upload, bucket = await permitted_upload(services, caller.scope, request)
    reader = await in_thread(services.disk, Reader, services.disk, source["version"], start, size)
    try:
        etag = await _add_part(
            services,
            caller.scope,
            upload,
            bucket,
            number=number,
            chunks=reader.blocks(),
            size=size,
        )
    finally:
        reader.close()
    result = {"ETag": etag, "LastModified": timestamp(source["updated_at"])}
    return XMLResponse("CopyPartResult", result)


def _copy_range(request: Request, total: int) -> tuple[int, int]:
    text = request.headers.get("x-amz-copy-source-range")
    if text is None:
        return 0, total
    match = _COPY_RANGE.fullmatch(text)
    if match is None or not int(match[1]) <= int(match[2]) < total:
        raise errors.invalid_range(400)
    return int(match[1]), int(match[2]) - int(match[1]) + 1


async def abort(services: Services, caller: Caller, request: Request) -> Response:
    """AbortMultipartUpload."""
    upload, _ = await permitted_upload(services, caller.scope, request)
    statement = ("DELETE FROM storage.s3_multipart_uploads WHERE id = %s", (upload["id"],))
    await services.database.transaction(OWNER, statement)
    await in_thread(services.disk, services.disk.remove_upload, upload["id"])
    return Response(status_code=204)
