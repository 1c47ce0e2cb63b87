"""The settings of agents and of the fleet, typed. `docs/settings.md` has them as a table.

An agent needs `AgentSettings`; the fleet needs `FleetSettings`, which adds the
secrets that no agent ever sees. Values come from the environment.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from jwt import PyJWK, PyJWTError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from argosy.fields import Bucket
from argosy.media_settings import MediaSettings
from argosy.setting_types import (
    BrokerUrl,
    DatabaseUrl,
    HttpUrl,
    ResultUrl,
    SpoolPaths,
    Spools,
    Types,
    none_if_empty,
)
from argosy.watch_settings import WatchSettings

MIB = 1024 * 1024
S3_MAX_PART_BYTES = 5 * 1024 * MIB
"""S3: a part is at most 5 GiB."""
S3_MIN_PART_BYTES = 5 * MIB
"""S3: every part but the last is at least 5 MiB."""
LEAST_RATE = 256 * 1024
"""Bytes a second, at which the smallest part takes 20 seconds: so long it keeps a worker."""


class SettingsError(Exception):
    """Settings are missing or malformed; the message names each one."""


def _days_or_forever(value: float) -> float:
    if value != 0 and value < 1:
        raise ValueError("expected 0, or at least 1 day")
    return value


def _check_jwk(text: str) -> None:
    try:
        PyJWK.from_json(text)
    except (PyJWTError, ValueError):
        raise ValueError("SUPABASE_JWT_SIGNING_KEY is not a private key as a JWK") from None


class AgentSettings(BaseSettings):
    """What an agent's process knows."""

    model_config = SettingsConfigDict(
        env_prefix="ARGOSY_",
        extra="ignore",
        populate_by_name=True,
        frozen=True,
        allow_inf_nan=False,
    )

    supabase_url: HttpUrl = Field(
        validation_alias="SUPABASE_URL", description="The Supabase project, as its clients see it."
    )
    supabase_anon_key: SecretStr = Field(
        validation_alias="SUPABASE_ANON_KEY", description="The project's public (anon) key."
    )
    supabase_project_ref: str | None = Field(
        None,
        validation_alias="SUPABASE_PROJECT_REF",
        description="The project's reference; by default the first label of a `supabase.co` "
        "address, else `stub`, as self-hosted Storage calls itself.",
    )
    supabase_region: str = Field(
        "us-east-1", description="Region in the S3 signature: the server's own or us-east-1."
    )
    broker_url: BrokerUrl = Field(
        validation_alias="BROKER_URL",
        repr=False,
        description="RabbitMQ, as a Celery broker URL.",
    )
    result_url: ResultUrl = Field(
        validation_alias="RESULT_URL",
        repr=False,
        description="Valkey or Redis, as a Celery result backend.",
    )
    agent: str | None = Field(None, description="The agent's name, to sign in with.")
    agent_key: SecretStr | None = Field(None, description="The agent's key, printed once.")
    session_dir: Annotated[Path | None, BeforeValidator(none_if_empty)] = Field(
        None,
        description="Folder of the agent's session, for its owner's eyes only; "
        "`$XDG_STATE_HOME/argosy` when not set.",
    )
    journal_dir: Annotated[Path | None, BeforeValidator(none_if_empty)] = Field(
        None,
        description="Folder where a client notes how far its transfers are, to go on after a "
        "crash; `$XDG_STATE_HOME/argosy/journal` when not set.",
    )
    cache_dir: Annotated[Path | None, BeforeValidator(none_if_empty)] = Field(
        None,
        description="Folder of the files that a client has fetched; "
        "`$XDG_CACHE_HOME/argosy` when not set.",
    )
    cache_bytes: int = Field(
        10 * 1024**3, ge=0, description="Bytes that the cache of fetched files may take; 0: none."
    )
    metadata_entries: int = Field(
        1000, ge=0, description="Files whose metadata a client keeps in memory; 0: none."
    )
    metadata_seconds: float = Field(
        30, ge=0, description="How long a client takes metadata from memory."
    )
    parallel: int = Field(
        4, ge=1, le=64, description="Parts of one file that a client moves at once."
    )
    connections: int = Field(64, ge=1, description="HTTP connections that a process holds at most.")
    deadline_seconds: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Time that one call of the client may take; no limit when not set."
    )
    progress_seconds: float = Field(
        0.5, ge=0.1, description="Least time between two reports of a transfer's progress."
    )
    bucket: Bucket = Field("agent-transfers", description="Bucket of uploads that name none.")
    persistent_bucket: Bucket = Field(
        "persistent-data", description="Bucket of the files that are kept."
    )
    retention_days: float = Field(
        7, gt=0, description="Days that a file stays in the transfers bucket."
    )
    chunk_threshold: int = Field(
        100_000_000,
        ge=0,
        description="Bytes above which a file is moved in parts. Where it is not set, the fleet "
        "moves a smaller one in parts too that would take one connection over two seconds.",
    )
    part_size: int = Field(
        16 * MIB,
        ge=S3_MIN_PART_BYTES,
        le=S3_MAX_PART_BYTES,
        description="Bytes in a part; grown where a file would need over 10,000 parts, and by the "
        "fleet, where it is not set, up to 64 MiB for a file of over 16 parts.",
    )
    storage_attempts: int = Field(6, ge=1, description="Tries of one storage request.")
    storage_deadline_seconds: float = Field(
        60, gt=0, description="Time that one storage request may take, retries included."
    )
    message_bytes: int = Field(
        128 * 1024,
        ge=0,
        le=8 * MIB,
        description="Bytes of a message's body above which it travels as a file.",
    )
    message_references: int = Field(
        100, ge=1, description="Files that one message may name, for an inbox to fetch them."
    )
    message_fetch_bytes: int = Field(
        10 * 1024**3, ge=0, description="Bytes that an inbox fetches for one message at most."
    )
    message_attempts: int = Field(
        5, ge=1, description="Times that a message is handled before it is a dead letter."
    )
    expansion: int = Field(
        1000,
        ge=1,
        description="How many times its stored size a compressed file may have (one of less than "
        "64 MiB always may).",
    )

    @property
    def project_ref(self) -> str:
        """The project's reference, as its S3 endpoint wants it for an access key."""
        host = urlsplit(self.supabase_url).hostname or ""
        hosted = host.partition(".")[0] if host.endswith(".supabase.co") else "stub"
        return self.supabase_project_ref or hosted


class FleetSettings(WatchSettings, MediaSettings, AgentSettings):
    """What a worker, beat and the operator's commands know."""

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
    spool: SpoolPaths = Field(
        min_length=1,
        description=f"Folders that sources and destinations are in, separated by `{os.pathsep}`.",
    )
    spools: Spools = Field(
        {},
        description="Where not every worker has every folder: the folders of the whole fleet, each "
        "with a name, as in `a=/spool/a,b=/spool/b`. What is in one of them is done by workers "
        "that have it in `ARGOSY_SPOOL`.",
    )
    bucket_size_limit: int = Field(
        50 * 1024**3, gt=0, description="Bytes that a file in the fleet's buckets may have."
    )
    allowed_types: Types | None = Field(
        None,
        description="Content types that the fleet's buckets take, separated by commas "
        "(`image/*` works); all when not set.",
    )
    window: int = Field(
        8, ge=1, le=10_000, description="Chunk messages of one transfer in the queue at once."
    )
    whole_md5: bool = Field(
        True,
        description="Whether the reference of a file that the fleet uploads in parts has the MD5 "
        "of the whole: 1.5 s of a core for each GiB. SHA-256 of the whole and MD5 of every part "
        "are taken anyway.",
    )
    copy_threshold: int = Field(
        S3_MAX_PART_BYTES,
        ge=S3_MIN_PART_BYTES,
        le=S3_MAX_PART_BYTES,
        description="Bytes up to which Storage copies a file at once; larger ones in parts.",
    )
    copy_part_size: int = Field(
        1024 * MIB,
        ge=S3_MIN_PART_BYTES,
        le=S3_MAX_PART_BYTES,
        description="Bytes of each such part, grown where there would be more than 10,000.",
    )
    lease_seconds: float = Field(
        30, gt=0, description="How long a worker's claim lasts without a sign of life."
    )
    resume_seconds: float = Field(
        15, gt=0, description="How often beat looks for work that nobody holds."
    )
    republish_seconds: float = Field(
        60, gt=0, description="How long a message may wait before it is sent again; doubles."
    )
    recovery_per_second: float = Field(
        10,
        gt=0,
        description="Pieces of work a second that come back once Storage has been away: the more "
        "wait, the further they are spread out.",
    )
    bury_seconds: float = Field(
        60, gt=0, description="How often beat takes the messages that the broker gave up."
    )
    sweep_seconds: float = Field(
        3600, gt=0, description="How often beat removes the files whose time has ended."
    )
    reconcile_seconds: float = Field(
        86_400, gt=0, description="How often beat compares the books with Storage."
    )
    reconcile_hours: float = Field(
        24,
        gt=0,
        description="Hours for which what differs between the books and Storage is left alone: "
        "it may be on its way.",
    )
    history_days: Annotated[float, AfterValidator(_days_or_forever)] = Field(
        400,
        description="Days for which what has ended is remembered: transfers whose file is gone, "
        "their events, dead letters, rounds. 0: for ever. `argosy bootstrap` tells the database.",
    )
    history_seconds: float = Field(
        3600, gt=0, description="How often beat has the fleet forget what is older than that."
    )
    transfers_at_once: int = Field(
        32,
        ge=2,
        le=10_000,
        description="Transfers that the fleet carries at once; the others wait, in a fair order.",
    )
    agent_bytes: int | None = Field(
        None, ge=0, description="Bytes that an agent may have in Storage; no limit when not set."
    )
    agent_transfers: int | None = Field(
        None, ge=1, description="Transfers of one agent at once; its fair share when not set."
    )
    agent_bytes_per_day: int | None = Field(
        None, ge=0, description="Bytes that an agent may move in 24 hours; no limit when not set."
    )
    bytes_per_second: int | None = Field(
        None,
        ge=LEAST_RATE,
        description="Bytes that the whole fleet moves in a second at most; no limit when not set.",
    )
    agent_bytes_per_second: int | None = Field(
        None,
        ge=LEAST_RATE,
        description="Bytes that the fleet moves for one agent in a second at most; no limit when "
        "not set.",
    )
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
        lines = [_explain(dict(problem), kind) for problem in error.errors(include_input=False)]
        raise SettingsError("Settings that need attention:\n" + "\n".join(lines)) from None


def _explain(problem: dict[str, Any], kind: type[BaseSettings]) -> str:
    if not problem["loc"]:
        return f"  {problem['msg']}"
    name = str(problem["loc"][0])
    if name in kind.model_fields:
        name = environment_name(name, kind)
    if problem["type"] == "missing":
        return f"  {name} is not set"
    return f"  {name}: {problem['msg']}"


@cache
def fleet_settings() -> FleetSettings:
    """The fleet's settings, read once in a process."""
    return load(FleetSettings)


@cache
def agent_settings() -> AgentSettings:
    """An agent's settings, read once in a process."""
    return load(AgentSettings)
