"""What the server is told by its environment and its command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

GIB = 1024**3
_REUSE = "GOTRUE_SECURITY_REFRESH_TOKEN_REUSE_INTERVAL"


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
    signed_upload_seconds: int = 60
    connections: int = 10

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
            signed_upload_seconds=int(env.get("UPLOAD_SIGNED_URL_EXPIRATION_TIME", "60")),
        )
