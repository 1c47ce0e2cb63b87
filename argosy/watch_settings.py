"""Settings of those who watch the fleet: Flower, Prometheus, a collector of traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from argosy.base_settings import ArgosySettings
from argosy.setting_types import HttpUrl, none_if_empty, passwords


class WatchSettings(ArgosySettings):
    """Who may look, at which port, and at what."""

    flower_port: int = Field(5555, ge=0, le=65535, description="Port of `argosy flower`.")
    flower_basic_auth: Annotated[
        Annotated[SecretStr, AfterValidator(passwords)] | None, BeforeValidator(none_if_empty)
    ] = Field(
        None,
        description="Who may open Flower, as `name:password`, separated by commas. Without this "
        "and without OAuth it listens on this machine only.",
    )
    flower_oauth: Annotated[
        Literal["google", "github", "gitlab", "okta"] | None, BeforeValidator(none_if_empty)
    ] = Field(None, description="By which provider one signs in at Flower, instead of a password.")
    flower_oauth_emails: str | None = Field(
        None,
        description="Who may: one address, some separated by `|`, or a pattern such as "
        "`*@example.com`.",
    )
    flower_oauth_key: str | None = Field(None, description="The provider's id of this Flower.")
    flower_oauth_secret: SecretStr | None = Field(
        None, description="The secret that the provider has given for it."
    )
    flower_oauth_url: Annotated[HttpUrl | None, BeforeValidator(none_if_empty)] = Field(
        None, description="Where the provider sends back to: Flower's address with `/login`."
    )
    metrics_port: int = Field(9540, ge=0, le=65535, description="Port of `argosy metrics`.")
    metrics_address: str = Field(
        "127.0.0.1", description="Address on which workers, beat and `argosy metrics` are scraped."
    )
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker tells Prometheus what it counts; 0: it does not. Each "
        "worker of a host needs one of its own (`argosy worker --metrics-port`).",
    )
    beat_metrics_port: int = Field(
        0, ge=0, le=65535, description="Port on which beat does; 0: it does not."
    )
    traces_url: HttpUrl | None = Field(
        None,
        repr=False,
        description="Where workers send traces, by OTLP over HTTP, as in "
        "`http://collector:4318/v1/traces`; none when not set. Needs the extra `otel`.",
    )
