"""What the server is told by its environment and its command line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

MIB = 1024 * 1024
GIB = 1024**3
_REUSE = "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL"
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}")
_YES = ("1", "t", "true")


@dataclass(frozen=True)
class Hook:
    """A Postgres function that Auth asks before it goes on."""

    uri: str
    schema: str
    name: str

    @classmethod
    def from_environment(cls, name: str) -> Hook | None:
        """Read `GOTRUE_HOOK_<name>_ENABLED` and `_URI`: pg-functions://postgres/schema/function."""
        if os.environ.get(f"GOTRUE_HOOK_{name}_ENABLED", "").lower() not in _YES:
            return None
        uri = os.environ.get(f"GOTRUE_HOOK_{name}_URI", "")
        parts = urlsplit(uri)
        names = parts.path.split("/")[1:3]
        if (
            parts.scheme != "pg-functions"
            or len(names) != 2
            or not all(map(_NAME.fullmatch, names))
        ):
            wanted = "pg-functions://postgres/<schema>/<function>"
            raise ValueError(f"GOTRUE_HOOK_{name}_URI must be {wanted}, not {uri!r}")
        return cls(uri, *names)


@dataclass(frozen=True)
class Config:
    """The settings of one server."""

    database_url: str
    data: Path
    jwt_secret: str
    anon_key: str
    service_role_key: str
    project_ref: str = "local"
    jwt_signing_key: str | None = None
    s3_access_key_id: str | None = None
    s3_secret_access_key: str | None = None
    region: str = "local"
    file_size_limit: int = 500 * GIB
    access_token_seconds: int = 900
    refresh_reuse_seconds: int = 10
    access_token_hook: Hook | None = None
    password_hook: Hook | None = None
    signed_upload_seconds: int = 60
    connections: int = 10
    upload_part_size: int | None = 16 * MIB

    @classmethod
    def from_environment(cls, data: Path | None = None) -> Config:
        """Read the settings; `data` overrides the folder named by the environment."""
        env = os.environ
        return cls(
            database_url=env["SUPABASE_DB_URL"],
            data=data or Path(env["SUPABASE_DATA"]),
            jwt_secret=env["SUPABASE_JWT_SECRET"],
            anon_key=env["SUPABASE_ANON_KEY"],
            service_role_key=env["SUPABASE_SERVICE_ROLE_KEY"],
            project_ref=env.get("SUPABASE_PROJECT_REF", "local"),
            jwt_signing_key=env.get("SUPABASE_JWT_SIGNING_KEY") or None,
            s3_access_key_id=env.get("S3_ACCESS_KEY_ID") or None,
            s3_secret_access_key=env.get("S3_SECRET_ACCESS_KEY") or None,
            region=env.get("STORAGE_REGION", "local"),
            file_size_limit=int(env.get("UPLOAD_FILE_SIZE_LIMIT", 500 * GIB)),
            access_token_seconds=int(env.get("GOTRUE_JWT_EXP", "900")),
            refresh_reuse_seconds=int(env.get(_REUSE, "10")),
            access_token_hook=Hook.from_environment("CUSTOM_ACCESS_TOKEN"),
            password_hook=Hook.from_environment("PASSWORD_VERIFICATION_ATTEMPT"),
            upload_part_size=int(env.get("STORAGE_S3_UPLOAD_PART_SIZE", 16 * MIB)) or None,
            signed_upload_seconds=int(env.get("UPLOAD_SIGNED_URL_EXPIRATION_TIME", "60")),
        )
