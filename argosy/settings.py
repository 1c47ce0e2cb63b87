"""The settings of agents and of the fleet, typed. `docs/settings.md` has them as a table.

An agent needs `AgentSettings`; the fleet needs `FleetSettings`, which adds the
secrets that no agent ever sees. Values come from the environment.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings

from argosy.agent_settings import AgentSettings
from argosy.cargo_settings import CargoSettings
from argosy.limit_settings import LEAST_RATE, LimitSettings
from argosy.media_settings import MediaSettings
from argosy.server_settings import ServerSettings
from argosy.sizes import MIB, S3_MAX_PART_BYTES, S3_MIN_PART_BYTES
from argosy.upkeep_settings import UpkeepSettings
from argosy.watch_settings import WatchSettings
from argosy.wording import in_words

__all__ = [
    "LEAST_RATE",
    "MIB",
    "S3_MAX_PART_BYTES",
    "S3_MIN_PART_BYTES",
    "AgentSettings",
    "FleetSettings",
    "SettingsError",
    "agent_settings",
    "environment_name",
    "fleet_settings",
    "load",
]


class SettingsError(Exception):
    """Settings are missing or malformed; the message names each one."""


class FleetSettings(
    LimitSettings,
    UpkeepSettings,
    CargoSettings,
    ServerSettings,
    WatchSettings,
    MediaSettings,
    AgentSettings,
):
    """What a worker, beat and the operator's commands know."""

    grace_seconds: float = Field(
        45,
        ge=0,
        description="How long a worker that is asked to end goes on with the parts in its hands; "
        "then it hands them back.",
    )
    max_attempts: int = Field(
        10, ge=1, description="Times that a chunk or a stage is tried before the transfer fails."
    )
    pin_days: float = Field(
        30, gt=0, description="Days after which a message that nobody acknowledged keeps no file."
    )
    extend_days: float = Field(
        90, gt=0, description="Days from now to which an agent may lengthen a file's time at most."
    )
    give_up_hours: float = Field(
        24,
        gt=0,
        description="Hours without progress after which a transfer fails, while Storage is away.",
    )
    request_wait_seconds: float = Field(
        3600, ge=0, description="How long after its expiry a request's token is still taken."
    )
    agent_token_seconds: int = Field(
        600, ge=60, description="Life of the token that a worker mints for a transfer's agent."
    )
    database_wait_seconds: float = Field(
        120, ge=0, description="How long a task waits for a lost database before it hands back."
    )
    concurrency: int = Field(
        8,
        ge=1,
        description="Worker processes of one `argosy worker`, each with a part or a small file at "
        "a time.",
    )
    child_memory_mb: int = Field(
        190, ge=64, description="Resident MB after which a worker's child is replaced."
    )
    agent_queue: str | None = Field(
        None,
        min_length=1,
        description="Queue of a chained task that the fleet does not know and that names none; "
        "by default the inbox of the agent that chained it.",
    )
    state_dir: Path = Field(
        Path(".argosy"),
        description="Folder of beat's schedule, Flower's state, and what workers count.",
    )


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def environment_name(field: str, kind: type[BaseSettings] = FleetSettings) -> str:
    """The environment variable of a setting: `BROKER_URL`, `ARGOSY_PART_SIZE`."""
    alias = kind.model_fields[field].validation_alias
    prefix = kind.model_config.get("env_prefix", "")
    return alias if isinstance(alias, str) else f"{prefix}{field}".upper()


def load(kind: type[SettingsT]) -> SettingsT:
    """Read the environment.

    Raises SettingsError with a line for each missing or malformed setting.
    """
    try:
        return kind()
    except ValidationError as error:
        problems = [dict(problem) for problem in error.errors(include_input=False)]
        lines = [f"  {_explain(problem, kind)}" for problem in problems]
        if any(problem["type"] == "missing" for problem in problems):
            lines += _where_they_come_from(kind)
        raise SettingsError("\n".join(["Settings that need attention:", *lines])) from None


def _explain(problem: dict[str, Any], kind: type[BaseSettings]) -> str:
    if not problem["loc"]:
        return in_words(problem)
    name = str(problem["loc"][0])
    if name in kind.model_fields:
        name = environment_name(name, kind)
    if problem["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {in_words(problem)}"


def _where_they_come_from(kind: type[BaseSettings]) -> list[str]:
    """What helps where settings are missing, and whose they are."""
    if issubclass(kind, FleetSettings):
        return [*([_AN_AGENTS] if _is_an_agents() else []), _OF_THE_FLEET]
    return [_OF_AGENTS] if issubclass(kind, AgentSettings) else []


_AN_AGENTS = "This is for the fleet's operator, and what is set here are the settings of an agent."
_OF_THE_FLEET = (
    "`make up` writes the fleet's settings to .argosy/operator.env; docs/settings.md has them all."
)
_OF_AGENTS = (
    "`make up` writes what all agents share to .argosy/agent.env, and `argosy agents add` prints "
    "what is an agent's own; docs/settings.md has them all."
)


def _is_an_agents() -> bool:
    fleets_own = ("SUPABASE_SERVICE_ROLE_KEY", "DATABASE_URL")
    return bool(os.environ.get("ARGOSY_AGENT")) and not any(map(os.environ.get, fleets_own))


@cache
def fleet_settings() -> FleetSettings:
    """The fleet's settings, read once in a process."""
    return load(FleetSettings)


@cache
def agent_settings() -> AgentSettings:
    """An agent's settings, read once in a process."""
    return load(AgentSettings)
