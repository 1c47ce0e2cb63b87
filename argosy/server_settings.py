"""Settings of the servers that the fleet works with, and of its keys to them."""

from __future__ import annotations

from typing import Any

from jwt import PyJWK, PyJWTError
from pydantic import Field, SecretStr

from argosy.base_settings import ArgosySettings
from argosy.setting_types import BrokerUrl, DatabaseUrl, HttpUrl


def _check_jwk(text: str) -> None:
    try:
        PyJWK.from_json(text)
    except (PyJWTError, ValueError, AttributeError):  # the last, where it is no JSON object
        raise ValueError("SUPABASE_JWT_SIGNING_KEY is not a private key as a JWK") from None


class ServerSettings(ArgosySettings):
    """Where Supabase, its database and RabbitMQ are, as no agent reaches them."""

    supabase_service_role_key: SecretStr = Field(
        validation_alias="SUPABASE_SERVICE_ROLE_KEY",
        description="The project's service key: buckets, retention and audit only.",
    )
    supabase_jwt_secret: SecretStr | None = Field(
        None,
        validation_alias="SUPABASE_JWT_SECRET",
        description="The project's HS256 secret. Either this or the signing key is needed.",
    )
    supabase_jwt_signing_key: SecretStr | None = Field(
        None,
        validation_alias="SUPABASE_JWT_SIGNING_KEY",
        description="The project's private signing key as a JWK (ES256), instead of the secret.",
    )
    database_url: DatabaseUrl = Field(
        validation_alias="DATABASE_URL",
        repr=False,
        description="Supabase's Postgres, where schema `argosy` lives, as the fleet's own role.",
    )
    operator_database_url: DatabaseUrl | None = Field(
        None,
        repr=False,
        description="The same as the owner of schema `argosy`: for the operator's commands only. "
        "`DATABASE_URL` when not set.",
    )
    broker_api: HttpUrl | None = Field(
        None,
        repr=False,
        description="RabbitMQ's management API with user and password: "
        "`argosy agents` makes each agent a user of its own there, and Flower shows its queues.",
    )
    agent_broker: BrokerUrl | None = Field(
        None,
        description="RabbitMQ as agents reach it, in the `BROKER_URL` that `argosy agents` prints, "
        "such as `amqps://broker.example.com/argosy`. `BROKER_URL` when not set.",
    )

    @property
    def operator_url(self) -> str:
        """The database as the owner of schema `argosy`."""
        return self.operator_database_url or self.database_url

    def model_post_init(self, _context: Any) -> None:
        """Refuse a fleet that could neither verify nor mint a token."""
        if not (self.supabase_jwt_secret or self.supabase_jwt_signing_key):
            raise ValueError("SUPABASE_JWT_SECRET or SUPABASE_JWT_SIGNING_KEY is needed")
        if self.supabase_jwt_signing_key:
            _check_jwk(self.supabase_jwt_signing_key.get_secret_value())
