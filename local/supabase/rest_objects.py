"""REST: listing, removing, moving, copying and signing objects, and the routes of /object."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.supabase import catalog, listing, objects, rest_download, rest_upload
from local.supabase.database import Row
from local.supabase.objects import Copy
from local.supabase.rest import JSON, Handler, caller, json_object, number_of, text_of, texts_of
from local.supabase.services import Services, services_of

MAX_NAMES = 1000


def _public_row(row: Row) -> dict[str, Any]:
    """Return a row in the shape of the API; `owner` is the older name of `owner_id`."""
    return {**row, "owner": row.get("owner_id")}


async def list_v1(request: Request) -> Response:
    """List one folder."""
    scope, body = caller(request), await json_object(request, "prefix")
    sort = body.get("sortBy") or {}
    rows = await listing.search(
        services_of(request),
        scope,
        request.path_params["bucket"],
        text_of(body, "prefix"),
        text_of(body, "search"),
        limit=number_of(body, "limit", 100, least=1),
        offset=number_of(body, "offset", 0),
        column=text_of(sort, "column", "name"),
        order=text_of(sort, "order", "asc"),
    )
    return JSON(rows)


async def list_v2(request: Request) -> Response:
    """List everything under a prefix, page by page."""
    scope, body = caller(request), await json_object(request)
    sort = body.get("sortBy") or {}
    query = listing.Query(
        request.path_params["bucket"],
        prefix=text_of(body, "prefix"),
        delimiter="/" if body.get("with_delimiter") else "",
        limit=min(number_of(body, "limit", listing.MAX_PAGE, least=1), listing.MAX_PAGE),
        cursor=text_of(body, "cursor") or None,
        column=text_of(sort, "column", "name"),
        order=text_of(sort, "order", "asc"),
    )
    page = await listing.list_page(services_of(request), scope, query)
    content: dict[str, Any] = {
        "hasNext": page.next_cursor is not None,
        "folders": [{"name": row["name"], "key": row["name"]} for row in page.folders],
        "objects": [{**row, "key": row["name"]} for row in page.objects],
    }
    if page.next_cursor:
        content["nextCursor"] = page.next_cursor
    return JSON(content)


async def remove_many(request: Request) -> Response:
    """Delete objects by name; what may not be deleted is passed over in silence."""
    scope, body = caller(request), await json_object(request, "prefixes")
    names = texts_of(body, "prefixes", MAX_NAMES)
    rows, _ = await objects.delete_many(
        services_of(request), scope, request.path_params["bucket"], names
    )
    return JSON([_public_row(row) for row in rows])


async def remove(request: Request) -> Response:
    """Delete one object."""
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    await objects.delete_one(services_of(request), caller(request), bucket, key)
    return JSON({"message": "Successfully deleted"})


async def move(request: Request) -> Response:
    """Rename an object."""
    scope = caller(request)
    body = await json_object(request, "bucketId", "sourceKey", "destinationKey")
    bucket = text_of(body, "bucketId")
    source = bucket, text_of(body, "sourceKey")
    target = text_of(body, "destinationBucket") or bucket, text_of(body, "destinationKey")
    row = await objects.move(services_of(request), scope, source, target)
    return JSON({"message": "Successfully moved", "Id": row["id"], "Key": row["name"]})


async def copy(request: Request) -> Response:
    """Copy an object."""
    scope = caller(request)
    body = await json_object(request, "bucketId", "sourceKey", "destinationKey")
    bucket = text_of(body, "bucketId")
    to_bucket = text_of(body, "destinationBucket") or bucket
    order = Copy(
        bucket,
        text_of(body, "sourceKey"),
        to_bucket,
        text_of(body, "destinationKey"),
        upsert=request.headers.get("x-upsert") == "true",
        metadata=body.get("metadata") or {},
        user_metadata=rest_upload.user_metadata_of(request),
        keep_metadata=bool(body.get("copyMetadata", True)),
        keep_unsaid=True,
    )
    row = await objects.copy(services_of(request), scope, order)
    return JSON({"Id": row["id"], "Key": f"{to_bucket}/{row['name']}", **_public_row(row)})


# ---------------------------------------------------------------- signed download URLs


def _signed_url(services: Services, bucket: str, key: str, seconds: int) -> str:
    now = int(time.time())
    claims = {"url": f"{bucket}/{key}", "scope": "download", "iat": now, "exp": now + seconds}
    return f"/object/sign/{bucket}/{key}?token={services.keys.sign_with_secret(claims)}"


async def sign(request: Request) -> Response:
    """Make a URL that lets its bearer download one object."""
    services, scope = services_of(request), caller(request)
    body = await json_object(request, "expiresIn")
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    await objects.find(services, scope, bucket, key)
    seconds = number_of(body, "expiresIn", 60, least=1)
    return JSON({"signedURL": _signed_url(services, bucket, key, seconds)})


async def sign_many(request: Request) -> Response:
    """Make a URL for each object that the caller may see."""
    services, scope = services_of(request), caller(request)
    body = await json_object(request, "expiresIn", "paths")
    bucket, paths = request.path_params["bucket"], texts_of(body, "paths", MAX_NAMES)
    seconds = number_of(body, "expiresIn", 60, least=1)
    results = await services.database.transaction(scope.enter(), catalog.find_names(bucket, paths))
    seen = {row["name"] for row in results[1]}
    missing = "Either the object does not exist or you do not have access to it"
    return JSON(
        [
            {
                "error": None if path in seen else missing,
                "path": path,
                "signedURL": _signed_url(services, bucket, path, seconds) if path in seen else None,
            }
            for path in paths
        ]
    )


_KEY = "{bucket}/{key:path}"
_TABLE: list[tuple[str, str, Handler]] = [
    ("POST", "/object/list/{bucket}", list_v1),
    ("POST", "/object/list-v2/{bucket}", list_v2),
    ("POST", "/object/move", move),
    ("POST", "/object/copy", copy),
    ("POST", "/object/sign/{bucket}", sign_many),
    ("POST", f"/object/sign/{_KEY}", sign),
    ("GET", f"/object/sign/{_KEY}", rest_download.get_signed),
    ("POST", f"/object/upload/sign/{_KEY}", rest_upload.sign),
    ("PUT", f"/object/upload/sign/{_KEY}", rest_upload.upload_signed),
    ("HEAD", f"/object/authenticated/{_KEY}", rest_download.head_authenticated),
    ("GET", f"/object/authenticated/{_KEY}", rest_download.get_authenticated),
    ("HEAD", f"/object/public/{_KEY}", rest_download.head_public),
    ("GET", f"/object/public/{_KEY}", rest_download.get_public),
    ("GET", f"/object/info/authenticated/{_KEY}", rest_download.info_authenticated),
    ("GET", f"/object/info/public/{_KEY}", rest_download.info_public),
    ("GET", f"/object/info/{_KEY}", rest_download.info),
    ("DELETE", "/object/{bucket}", remove_many),
    ("HEAD", f"/object/{_KEY}", rest_download.head),
    ("GET", f"/object/{_KEY}", rest_download.get),
    ("POST", f"/object/{_KEY}", rest_upload.create),
    ("PUT", f"/object/{_KEY}", rest_upload.update),
    ("DELETE", f"/object/{_KEY}", remove),
]


def _route(method: str, path: str, endpoint: Handler) -> Route:
    route = Route(path, endpoint, methods=[method])
    if "/info/" not in path:
        # Starlette adds HEAD to every GET; here HEAD has handlers of its own.
        route.methods = {method}
    return route


ROUTES = [_route(*entry) for entry in _TABLE]
