"""CompleteMultipartUpload: the parts become an object without being copied."""

# ruff: noqa: S608 - what is put into the statements are column lists of our own

from __future__ import annotations

from uuid import uuid4

from psycopg.types.json import Jsonb
from starlette.requests import Request
from starlette.responses import Response

from local.supabase import errors, limits, xml
from local.supabase.catalog import UPSERT, Metadata, find_for_update, lock_key, uuid_or_none
from local.supabase.database import OWNER, Row, Statement
from local.supabase.etag import composite
from local.supabase.objects import describe, forget
from local.supabase.s3_auth import Caller
from local.supabase.s3_buckets import is_xml
from local.supabase.s3_multipart import find_upload, permitted_upload
from local.supabase.services import Services
from local.supabase.transfer import document_of, in_thread
from local.supabase.xml import XMLResponse


async def complete(services: Services, caller: Caller, request: Request) -> Response:
    """CompleteMultipartUpload: the parts become an object without being copied."""
    upload_id = request.query_params["uploadId"]
    body = await document_of(request)
    upload, _ = await permitted_upload(services, caller.scope, request)
    wanted = _wanted_parts(body) if is_xml(request) else []
    parts = _choose(await _latest_parts(services, upload_id), wanted)
    digests = [bytes.fromhex(part["etag"].strip('"')) for part in parts]
    etag = f'"{composite(digests)}"'
    said = upload["metadata"] or {}
    metadata = describe(
        etag,
        sum(part["size"] for part in parts),
        said.get("mimetype") or "application/octet-stream",
        said.get("cacheControl") or "no-cache",
    )
    await _turn_into_object(services, caller.scope.owner_id, upload, parts, metadata)
    bucket, key = upload["bucket_id"], upload["key"]
    result = {"Location": f"{bucket}/{key}", "Bucket": bucket, "Key": key, "ETag": etag}
    return XMLResponse("CompleteMultipartUploadResult", result)


def _wanted_parts(body: bytes) -> list[tuple[int, str]]:
    wanted = []
    for part in xml.parse(body).iterfind("./Part"):
        number, etag = part.findtext("PartNumber") or "", part.findtext("ETag")
        if not number.strip().isdigit() or etag is None:
            raise errors.malformed_xml()
        wanted.append((int(number), etag.strip().strip('"')))
    return wanted


async def _latest_parts(services: Services, upload_id: str) -> list[Row]:
    """Return the newest part of each number.

    The upload is looked at after its parts: when it is still there, the parts were all there.
    """
    results = await services.database.transaction(
        OWNER,
        (
            "SELECT DISTINCT ON (part_number) part_number, etag, size, id"
            " FROM storage.s3_multipart_uploads_parts WHERE upload_id = %s"
            " ORDER BY part_number, created_at DESC",
            (upload_id,),
        ),
        find_upload(upload_id),
    )
    if not results[2]:
        raise errors.upload_ended()
    return results[1]


def _choose(here: list[Row], wanted: list[tuple[int, str]]) -> list[Row]:
    """Return the parts to join: those of the list, or all when there is no list."""
    by_number = {part["part_number"]: part for part in here}
    for number, etag in wanted:
        if number not in by_number or by_number[number]["etag"].strip('"') != etag:
            raise errors.invalid_part()
    numbers = [number for number, _ in wanted] or sorted(by_number)
    if numbers != sorted(set(numbers)):
        raise errors.invalid_part_order()
    if not numbers:
        raise errors.invalid_request("You must specify at least one part")
    chosen = [by_number[number] for number in numbers]
    if any(part["size"] < limits.MIN_PART_SIZE for part in chosen[:-1]):
        raise errors.too_small()
    return chosen


async def _turn_into_object(
    services: Services, owner: str | None, upload: Row, parts: list[Row], metadata: Metadata
) -> None:
    version, disk = str(uuid4()), services.disk
    pieces = [(str(part["id"]), part["size"]) for part in parts]
    try:
        await in_thread(disk, disk.assemble, version, upload["id"], pieces)
        replaced = await _commit(services, owner, upload, version, metadata)
    except FileNotFoundError as error:  # a second Complete was faster
        disk.remove_object(version)
        raise errors.upload_ended() from error
    except errors.StorageError as error:
        if error.status < 500:
            disk.remove_object(version)
        raise
    disk.settle(version)
    forget(services, replaced)
    disk.in_background(disk.remove_upload, upload["id"])


async def _commit(
    services: Services, owner: str | None, upload: Row, version: str, metadata: Metadata
) -> list[Row]:
    """Trade the upload's row for the object's; return the row that is replaced."""
    bucket, key = upload["bucket_id"], upload["key"]
    results = await services.database.transaction(
        OWNER,
        lock_key(bucket, key),
        find_for_update(bucket, key),
        _trade(upload["id"], version, owner, metadata),
    )
    if not results[3]:
        raise errors.upload_ended()
    return results[2]


def _trade(upload_id: str, version: str, owner: str | None, metadata: Metadata) -> Statement:
    return (
        "WITH done AS (DELETE FROM storage.s3_multipart_uploads WHERE id = %s RETURNING *)"
        " INSERT INTO storage.objects"
        " (bucket_id, name, version, owner, owner_id, metadata, user_metadata)"
        f" SELECT bucket_id, key, %s, %s::uuid, %s, %s, user_metadata FROM done{UPSERT}",
        (upload_id, version, uuid_or_none(owner), owner, Jsonb(metadata)),
    )
