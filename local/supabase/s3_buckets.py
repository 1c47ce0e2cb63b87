"""S3's operations on buckets."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from local.supabase import buckets, errors, listing, objects, xml
from local.supabase.database import Row
from local.supabase.listing import timestamp
from local.supabase.s3_auth import Caller
from local.supabase.services import Services
from local.supabase.transfer import document_of
from local.supabase.xml import XMLResponse

MAX_DELETE = 1000


async def list_buckets(services: Services, caller: Caller, request: Request) -> Response:
    """ListBuckets."""
    del request
    rows = await buckets.list_all(services, caller.scope)
    found = [{"Name": r["name"], "CreationDate": timestamp(r["created_at"])} for r in rows]
    return XMLResponse("ListAllMyBucketsResult", {"Buckets": {"Bucket": found}})


async def create_bucket(services: Services, caller: Caller, request: Request) -> Response:
    """CreateBucket."""
    bucket = request.path_params["bucket"]
    public = request.headers.get("x-amz-acl") == "public-read"
    await buckets.create(services, caller.scope, bucket, {"public": public})
    return Response(headers={"Location": f"/{bucket}"})


async def delete_bucket(services: Services, caller: Caller, request: Request) -> Response:
    """DeleteBucket."""
    await buckets.delete(services, caller.scope, request.path_params["bucket"])
    return Response(status_code=204)


async def head_bucket(services: Services, caller: Caller, request: Request) -> Response:
    """HeadBucket."""
    await buckets.find(services, caller.scope, request.path_params["bucket"])
    return Response(headers={"x-amz-bucket-region": services.config.region})


async def location(services: Services, caller: Caller, request: Request) -> Response:
    """GetBucketLocation."""
    await buckets.find(services, caller.scope, request.path_params["bucket"])
    return XMLResponse("LocationConstraint", services.config.region)


async def versioning(services: Services, caller: Caller, request: Request) -> Response:
    """GetBucketVersioning: there is none."""
    await buckets.find(services, caller.scope, request.path_params["bucket"])
    return XMLResponse("VersioningConfiguration", {"Status": "Suspended", "MfaDelete": "Disabled"})


async def list_objects(services: Services, caller: Caller, request: Request) -> Response:
    """ListObjects, both versions."""
    bucket, query = request.path_params["bucket"], request.query_params
    await buckets.must_exist(services, bucket)
    second = query.get("list-type") == "2"
    wanted = listing.Query(
        bucket,
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        limit=page_size(query.get("max-keys"), "MaxKeys"),
        cursor=query.get("continuation-token") if second else None,
        start_after=query.get("start-after" if second else "marker", ""),
    )
    page = await listing.list_page(services, caller.scope, wanted)
    encode = query.get("encoding-type") == "url"
    result = {
        "Name": bucket,
        "Prefix": wanted.prefix,
        "Delimiter": wanted.delimiter or None,
        "MaxKeys": wanted.limit,
        "IsTruncated": page.next_cursor is not None,
        "EncodingType": query.get("encoding-type"),
        "Contents": [_entry(row, encode=encode) for row in page.objects],
        "CommonPrefixes": [{"Prefix": _name(row, encode=encode)} for row in page.folders],
    }
    if second:
        result["KeyCount"] = len(page.rows)
        result["ContinuationToken"] = wanted.cursor
        result["NextContinuationToken"] = page.next_cursor
    else:
        result["Marker"] = wanted.start_after
        result["NextMarker"] = page.next_key if wanted.delimiter else None
    return XMLResponse("ListBucketResult", result)


def page_size(text: str | None, name: str) -> int:
    """Read a page size: 1 to 1,000, which is also the default."""
    if text is None:
        return listing.MAX_PAGE
    if not text.isdigit():
        raise errors.invalid_parameter(name)
    return min(int(text) or listing.MAX_PAGE, listing.MAX_PAGE)


def _name(row: Row, *, encode: bool) -> str:
    return quote(row["name"], safe="") if encode else row["name"]


def _entry(row: Row, *, encode: bool) -> dict[str, object]:
    metadata = row["metadata"] or {}
    return {
        "Key": _name(row, encode=encode),
        "LastModified": timestamp(row["updated_at"]),
        "ETag": metadata.get("eTag"),
        "Size": metadata.get("size", 0),
        "StorageClass": "STANDARD",
    }


async def delete_objects(services: Services, caller: Caller, request: Request) -> Response:
    """DeleteObjects: what is not there counts as deleted."""
    bucket = request.path_params["bucket"]
    body = await document_of(request)
    if not is_xml(request):
        raise errors.missing_parameter("Delete")
    root = xml.parse(body)
    keys = [key.text or "" for key in root.iterfind("./Object/Key")]
    if len(keys) > MAX_DELETE:
        raise errors.malformed_xml()
    rows, remaining = await objects.delete_many(services, caller.scope, bucket, keys)
    if not rows and not remaining:
        await buckets.must_exist(services, bucket)
    quiet = (root.findtext("Quiet") or "").lower() == "true"
    denied = {"Code": "AccessDenied", "Message": "Access Denied"}
    result = {
        "Deleted": [] if quiet else [{"Key": key} for key in keys if key not in remaining],
        "Error": [{"Key": key, **denied} for key in keys if key in remaining],
    }
    return XMLResponse("DeleteResult", result)


def is_xml(request: Request) -> bool:
    """Say whether the body is announced as XML: one that is not is ignored, as upstream does."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    return kind in ("application/xml", "text/xml")
