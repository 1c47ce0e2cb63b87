"""Settings of agents, which hold no secret of the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from argosy.base_settings import ArgosySettings
from argosy.fields import Bucket
from argosy.setting_types import (
    BrokerUrl,
    HttpUrl,
    ResultUrl,
    SpoolPaths,
    Spools,
    none_if_empty,
)
from argosy.sizes import MIB, S3_MAX_PART_BYTES, S3_MIN_PART_BYTES


class AgentSettings(ArgosySettings):
    """What an agent's process knows."""

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
    spool: SpoolPaths = Field(
        (), description="Folders of the fleet's files; what is elsewhere is refused at once."
    )
    spools: Spools = Field(
        {},
        description="Where not every worker has every folder: the folders of the whole fleet, each "
        "with a name, as in `a=/spool/a,b=/spool/b`. What is in one of them is done by workers "
        "that have it in `ARGOSY_SPOOL`.",
    )
    retention_days: float = Field(
        7, gt=0, description="Days that a file stays in the transfers bucket."
    )
    chunk_threshold: int = Field(
        100_000_000,
        ge=0,
        description="Bytes above which a file is moved in parts. Where it is not set, also "
        "a smaller one of more than `ARGOSY_PART_SIZE`, if the process has seen that one "
        "connection would take over two seconds for it.",
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
