"""Settings of the gateway before Supabase."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from argosy import origins as web
from argosy.setting_types import Address, Origins, PlainPath, ServerUrl

DEVELOPMENT_ORIGINS = tuple(
    f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (3000, 5173, 8080)
)
"""Where front-end tools serve pages on a developer's machine."""


class GatewaySettings(BaseSettings):
    """What `argosy gateway` makes nginx's configuration of. It holds no secret."""

    model_config = SettingsConfigDict(env_prefix="ARGOSY_GATEWAY_", extra="ignore", frozen=True)

    environment: Literal["development", "staging", "production"] = Field(
        "production",
        description="Which deployment this is. Only `development` may have origins of this "
        "machine and without TLS.",
    )
    upstream: ServerUrl = Field(
        description="Supabase, as the gateway reaches it: scheme, host and port."
    )
    upstream_ca: PlainPath = Field(
        "/etc/ssl/certs/ca-certificates.crt",
        description="File of the certificate authorities that may vouch for Supabase; "
        "used when its URL is `https`.",
    )
    origins: Origins = Field(
        (),
        description="Web origins whose pages may use Supabase, separated by commas "
        "(`https://app.example.com`); no page when not set, but in development the usual ports "
        "of this machine.",
    )
    listen: Address = Field("127.0.0.1:8000", description="Address and port of the gateway.")

    @field_validator("origins")
    @classmethod
    def check_environment(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse what only development may have."""
        if info.data.get("environment", "development") != "development":
            web.check_public(value)
        return value

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The named origins; in development those of this machine when none is named."""
        if self.environment == "development":
            return self.origins or DEVELOPMENT_ORIGINS
        return self.origins
