"""REST: /bucket."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.supabase import buckets
from local.supabase.rest import JSON, caller, json_object, text_of
from local.supabase.services import services_of


async def create(request: Request) -> Response:
    """Create a bucket."""
    scope, body = caller(request), await json_object(request, "name")
    name = text_of(body, "name")
    await buckets.create(services_of(request), scope, name, body)
    return JSON({"name": name})


async def list_all(request: Request) -> Response:
    """List the buckets."""
    query = request.query_params
    limit = query.get("limit", "")
    rows = await buckets.list_all(
        services_of(request),
        caller(request),
        search=query.get("search", ""),
        limit=int(limit) if limit.isdigit() else None,
        offset=int(query["offset"]) if query.get("offset", "").isdigit() else 0,
        column=query.get("sortColumn", "id"),
        order=query.get("sortOrder", "asc"),
    )
    return JSON(rows)


async def get(request: Request) -> Response:
    """Describe a bucket."""
    scope = caller(request)
    return JSON(await buckets.find(services_of(request), scope, request.path_params["bucket"]))


async def update(request: Request) -> Response:
    """Change a bucket's settings."""
    scope, body = caller(request), await json_object(request)
    await buckets.update(services_of(request), scope, request.path_params["bucket"], body)
    return JSON({"message": "Successfully updated"})


async def delete(request: Request) -> Response:
    """Delete an empty bucket."""
    scope = caller(request)
    await buckets.delete(services_of(request), scope, request.path_params["bucket"])
    return JSON({"message": "Successfully deleted"})


async def empty(request: Request) -> Response:
    """Delete every object of a bucket; done when this answers."""
    scope = caller(request)
    await buckets.empty(services_of(request), scope, request.path_params["bucket"])
    message = "Empty bucket has been queued. Completion may take up to an hour."
    return JSON({"message": message})


ROUTES = [
    Route(path, endpoint, methods=[method])
    for slash in ("", "/")
    for path, method, endpoint in (
        ("/bucket" + slash, "POST", create),
        ("/bucket" + slash, "GET", list_all),
        ("/bucket/{bucket}/empty" + slash, "POST", empty),
        ("/bucket/{bucket}" + slash, "GET", get),
        ("/bucket/{bucket}" + slash, "PUT", update),
        ("/bucket/{bucket}" + slash, "DELETE", delete),
    )
]
