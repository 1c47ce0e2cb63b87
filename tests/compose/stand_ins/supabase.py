"""The local Supabase in a container, with the environment and the paths of Auth or of Storage.

python -m tests.compose.stand_ins.supabase auth      /health, /token, /admin/users on 9999
python -m tests.compose.stand_ins.supabase storage   /status, /object, /s3 on 5000
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

from local.supabase.app import create_app
from local.supabase.config import Config
from local.supabase.disk import Disk
from local.supabase.schema import ensure_schema, sweep

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
PREFIX = {"auth": "/auth/v1", "storage": "/storage/v1"}
PORT = {"auth": 9999, "storage": 5000}


def environment(kind: str, told: Mapping[str, str]) -> dict[str, str]:
    """What Auth or Storage is told, in the names of the local Supabase."""
    if kind == "auth":
        return {
            "SUPABASE_DB_URL": told["GOTRUE_DB_DATABASE_URL"],
            "SUPABASE_JWT_SECRET": told["GOTRUE_JWT_SECRET"],
            "SUPABASE_ANON_KEY": "",
            "SUPABASE_SERVICE_ROLE_KEY": "",
            "SUPABASE_DATA": "/tmp/auth",
        }
    return {
        "SUPABASE_DB_URL": told["DATABASE_URL"],
        "SUPABASE_JWT_SECRET": told["AUTH_JWT_SECRET"],
        "SUPABASE_ANON_KEY": told["ANON_KEY"],
        "SUPABASE_SERVICE_ROLE_KEY": told["SERVICE_KEY"],
        "SUPABASE_PROJECT_REF": told["TENANT_ID"],
        "SUPABASE_DATA": told["STORAGE_FILE_BACKEND_PATH"],
    }


def under(prefix: str, app: App) -> App:
    """The application for requests from which a router has taken the prefix, as the router says."""

    async def put_back(scope: Scope, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and (headers.get(b"x-forwarded-prefix") or _asked_here(scope)):
            scope["path"] = prefix + scope["path"]
            scope["raw_path"] = prefix.encode() + scope["raw_path"]
        await app(scope, receive, send)

    return put_back


def _asked_here(scope: Scope) -> bool:
    """Health checks come without a router."""
    return scope["path"] == "/status"


def main(kind: str) -> None:
    """Serve until the end."""
    os.environ.update(environment(kind, os.environ))
    data = Path(os.environ["SUPABASE_DATA"])
    data.mkdir(exist_ok=True)
    config = Config.from_environment()
    ensure_schema(config.database_url)
    if kind == "storage":
        sweep(config.database_url, Disk(data))
    uvicorn.run(
        under(PREFIX[kind], create_app(config)),
        host="0.0.0.0",
        port=PORT[kind],
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main(sys.argv[1])
