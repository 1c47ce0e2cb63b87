"""Where settings are read from, whatever they are about."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class ArgosySettings(BaseSettings):
    """Settings from the environment; those that name no variable are `ARGOSY_` and their name."""

    model_config = SettingsConfigDict(
        env_prefix="ARGOSY_",
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        allow_inf_nan=False,
    )
