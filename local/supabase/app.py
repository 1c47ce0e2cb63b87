"""The application: Storage and Auth under their usual paths."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from local.supabase import auth_api, errors, rest_buckets, rest_objects
from local.supabase.auth_errors import AuthError
from local.supabase.config import Config
from local.supabase.database import Database
from local.supabase.disk import Disk
from local.supabase.keys import KeyRing
from local.supabase.rest import JSON
from local.supabase.s3_router import S3
from local.supabase.services import Services, services_of
from local.supabase.transfer import headers_of_refusal

VERSION = "local"
log = logging.getLogger(__name__)


async def status(request: Request) -> Response:
    """Say that the server is up."""
    del request
    return Response(status_code=200)


async def version(request: Request) -> Response:
    """Say which server this is."""
    del request
    return PlainTextResponse(VERSION)


async def health(request: Request) -> Response:
    """Say whether the database answers."""
    await services_of(request).database.one(("SELECT 1 AS one", ()))
    return JSON({"healthy": True})


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a refusal in the words of the REST API."""
    refusal = error if isinstance(error, errors.StorageError) else _internal(error)
    return JSON(refusal.body(), refusal.rest_status, headers_of_refusal(request))


def _internal(error: Exception) -> errors.StorageError:
    log.error("unexpected error", exc_info=error)
    return errors.internal()


async def no_such_route(request: Request, error: Exception) -> Response:
    """Answer a request for something that is not served."""
    del error
    return await refuse(request, errors.no_such_route(request.method, request.url.path))


async def nobody_listens(request: Request, error: Exception) -> Response:
    """Answer a client that has left in the middle of its body."""
    del request, error
    return Response(status_code=499)


def create_app(config: Config | None = None) -> Starlette:
    """Build the application; without settings, read them from the environment."""
    config = config or Config.from_environment()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        database = Database(config.database_url, config.connections)
        disk = Disk(config.data, config.upload_part_size)
        app.state.services = Services(config, KeyRing(config), database, disk)
        yield
        await database.close()

    storage = [
        Mount("/s3", S3()),
        Route("/status", status),
        Route("/version", version),
        Route("/health", health),
        *rest_buckets.ROUTES,
        *rest_objects.ROUTES,
    ]
    app = Starlette(
        routes=[
            Route("/health", health),
            Mount("/storage/v1", routes=storage),
            Mount("/auth/v1", routes=auth_api.ROUTES),
        ],
        exception_handlers={
            errors.StorageError: refuse,
            AuthError: auth_api.refuse,
            404: no_such_route,
            ClientDisconnect: nobody_listens,
            Exception: refuse,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app
