"""S3's lists of multipart uploads and of parts, under the policies of their tables."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from local.supabase import buckets, errors
from local.supabase.database import OWNER, Row, Statement
from local.supabase.listing import timestamp
from local.supabase.s3_auth import Caller
from local.supabase.s3_buckets import page_size
from local.supabase.services import Services
from local.supabase.xml import XMLResponse


async def list_parts(services: Services, caller: Caller, request: Request) -> Response:
    """ListParts: no sizes, duplicates of parts sent twice, and nothing without a policy."""
    query = request.query_params
    upload_id, marker = query["uploadId"], query.get("part-number-marker")
    limit = page_size(query.get("max-parts"), "MaxParts")
    results = await services.database.transaction(
        OWNER,
        ("SELECT id FROM storage.s3_multipart_uploads WHERE id = %s", (upload_id,)),
        caller.scope.enter(),
        (
            "SELECT part_number, etag, created_at FROM storage.s3_multipart_uploads_parts"
            " WHERE upload_id = %s AND part_number > %s ORDER BY part_number, created_at LIMIT %s",
            (upload_id, int(marker) if marker and marker.isdigit() else 0, limit + 1),
        ),
    )
    if not results[1]:
        raise errors.no_such_upload()
    rows, truncated = results[3][:limit], len(results[3]) > limit
    result = {
        "Bucket": request.path_params["bucket"],
        "Key": request.path_params["key"],
        "UploadId": upload_id,
        "PartNumberMarker": marker,
        "NextPartNumberMarker": rows[-1]["part_number"] if truncated else None,
        "MaxParts": limit,
        "IsTruncated": truncated,
        "Part": [
            {
                "PartNumber": row["part_number"],
                "LastModified": timestamp(row["created_at"]),
                "ETag": row["etag"],
            }
            for row in rows
        ],
    }
    return XMLResponse("ListPartsResult", result)


async def list_uploads(services: Services, caller: Caller, request: Request) -> Response:
    """ListMultipartUploads."""
    bucket, query = request.path_params["bucket"], request.query_params
    await buckets.must_exist(services, bucket)
    limit = page_size(query.get("max-uploads"), "MaxUploads")
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, id_marker = query.get("key-marker"), query.get("upload-id-marker")
    statement = _after(bucket, prefix, _decode(key_marker), _decode(id_marker), limit + 1)
    rows = (await services.database.transaction(caller.scope.enter(), statement))[1]
    truncated, rows = len(rows) > limit, rows[:limit]
    uploads, folders = _split(rows, prefix, delimiter)
    encode = query.get("encoding-type") == "url"
    result = {
        "Name": bucket,
        "Prefix": prefix,
        "KeyMarker": key_marker,
        "UploadIdMarker": id_marker,
        "NextKeyMarker": _encode(rows[-1]["key"]) if truncated else None,
        "NextUploadIdMarker": _encode(rows[-1]["id"]) if truncated else None,
        "Upload": [_upload(row, encode=encode) for row in uploads],
        "IsTruncated": truncated,
        "MaxUploads": limit,
        "Delimiter": delimiter or None,
        "EncodingType": query.get("encoding-type"),
        "KeyCount": len(uploads) + len(folders),
        "CommonPrefixes": [{"Prefix": folder} for folder in folders],
    }
    return XMLResponse("ListMultipartUploadsResult", result)


def _after(bucket: str, prefix: str, key: str, upload_id: str, limit: int) -> Statement:
    """Select the uploads that follow a key, or one upload of that key."""
    return (
        "SELECT id, key, created_at FROM storage.s3_multipart_uploads"
        " WHERE bucket_id = %s AND starts_with(key, %s)"
        " AND (key > %s OR (%s <> '' AND key = %s AND id > %s)) ORDER BY key, id LIMIT %s",
        (bucket, prefix, key, upload_id, key, upload_id, limit),
    )


def _upload(row: Row, *, encode: bool) -> dict[str, object]:
    return {
        "Key": quote(row["key"], safe="") if encode else row["key"],
        "Initiated": timestamp(row["created_at"]),
        "UploadId": row["id"],
        "StorageClass": "STANDARD",
    }


def _split(rows: list[Row], prefix: str, delimiter: str) -> tuple[list[Row], list[str]]:
    """Separate the uploads of this folder from the names of the folders below."""
    uploads: list[Row] = []
    folders: dict[str, None] = {}
    for row in rows:
        head, found, _ = row["key"][len(prefix) :].partition(delimiter or "\0")
        if found:
            folders[prefix + head + found] = None
        else:
            uploads.append(row)
    return uploads, list(folders)


def _encode(text: str) -> str:
    return base64.b64encode(f"l:{text}".encode()).decode()


def _decode(token: str | None) -> str:
    if not token:
        return ""
    try:
        return base64.b64decode(token, validate=True).decode().removeprefix("l:")
    except (ValueError, binascii.Error) as error:
        raise errors.invalid_parameter("continuation token") from error
