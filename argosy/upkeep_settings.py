"""Settings of the upkeep: what beat has done, how often, and when it is due."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from argosy.base_settings import ArgosySettings


def _days_or_forever(value: float) -> float:
    if value != 0 and value < 1:
        raise ValueError("give 0, or at least 1 day")
    return value


class UpkeepSettings(ArgosySettings):
    """How soon what nobody holds goes on, and what is over is removed or forgotten."""

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
