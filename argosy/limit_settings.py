"""Settings of how much is moved and kept: of the whole fleet, and of each agent."""

from __future__ import annotations

from pydantic import Field

from argosy.base_settings import ArgosySettings

LEAST_RATE = 256 * 1024
"""Bytes a second, at which the smallest part takes 20 seconds: so long it keeps a worker."""


class LimitSettings(ArgosySettings):
    """What the fleet does at once and in a second, and an agent that has no limit of its own."""

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
