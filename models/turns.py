"""Whose turn it is: transfers wait for one of the fleet's slots, in an order that is fair.

Between agents: an agent may hold its weight times as many slots as are free (the dynamic
threshold of Choudhury and Hahne, "Dynamic queue length thresholds", 1998). So one that is
alone gets half of them at weight 1, k of them get 1/(k+1) each, and whoever comes finds one
free. Of those who wait for one, the agent that holds the fewest for its weight is the next.

An agent whose rate is limited holds, unless it has a limit of its own, no more than move at
that rate: the others would keep workers from those who have none.

Of one agent: by `turn_at`, which lets a class wait so much longer than a more urgent one, and
no longer: nothing waits for ever behind what comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.agent import Agent
from models.transfer import RUNNING, WAITING, Priority, Transfer

HANDICAPS: Mapping[Priority, timedelta] = MappingProxyType(
    {
        Priority.URGENT: timedelta(0),
        Priority.NORMAL: timedelta(minutes=1),
        Priority.BULK: timedelta(minutes=10),
    }
)
"""How much later a transfer counts as asked for, among those of its agent."""
LOCK = 0x4152474F5455  # "ARGOTU": slots are given out by one at a time
MOST = 50
"""Turns that are given at once."""
SLOT_BYTES_PER_SECOND = 4_000_000
"""Of its rate, for which an agent may hold one more slot than one."""


@dataclass(frozen=True)
class Slots:
    """How many transfers the fleet carries at once, and at most of one agent, if that is set.

    `rate` is that of an agent that has none of its own, in bytes a second, if that is set.
    """

    all: int
    of_agent: int | None = None
    rate: int | None = None


def has_room(session: Session, agent: Agent, slots: Slots) -> bool:
    """Whether a new transfer of this agent may begin at once: it has none that waits, and room.

    Two that ask at the same time may both get the last slot: a slot more does no harm. Where
    the agent has a limit it would, so then the answer is no, and `admit` gives the turn.
    """
    if agent.max_transfers or slots.of_agent or agent.bytes_per_second or slots.rate:
        return False
    waits, own, running = session.execute(_ROOM, {"agent": agent.id}).one()
    return bool(not waits and own < agent.weight * (slots.all - running))


def waits_behind(session: Session, transfer: Transfer) -> bool:
    """Whether others of its agent wait too: then whoever gives them their turn sees to it."""
    return bool(session.scalar(_OTHERS, {"agent": transfer.agent_id, "id": transfer.id}))


def admit(
    session: Session, slots: Slots, *, republish_seconds: float, most: int = MOST
) -> Sequence[UUID]:
    """Give the slots that are free to those whose turn it is; their messages are due to be sent."""
    if session.execute(_LOCK_IF_ANYBODY, {"lock": LOCK}).one_or_none() is None:
        return []
    asked = {
        "slots": slots.all,
        "of_agent": slots.of_agent,
        "rate": slots.rate,
        "again": timedelta(seconds=republish_seconds),
    }
    given: list[UUID] = []
    while len(given) < most and (found := session.execute(_GIVE_NEXT, asked).one_or_none()):
        given += [found.given] if found.given else []
    return given


# The order by all its columns is what has PostgreSQL look into `ix_transfers_waiting`, and not
# through the rows that ended, whatever it believes to know of their number.
_FIRST = "ORDER BY agent_id, turn_at, id LIMIT 1"
_LOCK_IF_ANYBODY = text(f"""
SELECT pg_advisory_xact_lock(:lock)
WHERE EXISTS (SELECT id FROM argosy.transfers WHERE {WAITING} {_FIRST})
""")  # noqa: S608  the parts are the state machine's
_OTHERS = text(f"""
SELECT id FROM argosy.transfers WHERE {WAITING} AND agent_id = :agent AND id <> :id {_FIRST}
""")  # noqa: S608
_ROOM = text(f"""
SELECT (SELECT id FROM argosy.transfers WHERE {WAITING} AND agent_id = :agent {_FIRST})
    IS NOT NULL AS waits, count(*) FILTER (WHERE agent_id = :agent) AS own, count(*) AS running
FROM argosy.transfers WHERE {RUNNING}
""")  # noqa: S608
_GIVE_NEXT = text(f"""
WITH RECURSIVE running AS (
    SELECT agent_id, count(*) AS number FROM argosy.transfers WHERE {RUNNING} GROUP BY agent_id
), free AS (
    SELECT :slots - coalesce(sum(number), 0) AS number FROM running
), waiting AS ( -- each agent that waits, by one look into the index
    (SELECT agent_id FROM argosy.transfers WHERE {WAITING} {_FIRST})
    UNION ALL
    SELECT (
        SELECT agent_id FROM argosy.transfers
        WHERE {WAITING} AND agent_id > waiting.agent_id {_FIRST})
    FROM waiting WHERE waiting.agent_id IS NOT NULL
), turn AS (
    SELECT next.id
    FROM waiting
    JOIN argosy.agents a ON a.id = waiting.agent_id
    LEFT JOIN running r ON r.agent_id = waiting.agent_id
    CROSS JOIN free
    CROSS JOIN LATERAL (
        SELECT id, turn_at FROM argosy.transfers
        WHERE {WAITING} AND agent_id = waiting.agent_id {_FIRST}) next
    WHERE coalesce(r.number, 0) < a.weight * free.number
        AND coalesce(r.number, 0) < coalesce(a.max_transfers, least( -- which passes over NULL
            cast(:of_agent AS integer), cast(:slots AS integer),
            1 + coalesce(a.bytes_per_second, cast(:rate AS bigint)) / {SLOT_BYTES_PER_SECOND}))
    ORDER BY coalesce(r.number, 0)::float8 / a.weight, next.turn_at
    LIMIT 1
), given AS ( -- one that was cancelled or paused in this moment does not get it
    UPDATE argosy.transfers SET admitted_at = now(), republish_at = now() + :again
    WHERE id = (SELECT id FROM turn) AND {WAITING}
    RETURNING id
)
SELECT turn.id, given.id AS given FROM turn LEFT JOIN given ON given.id = turn.id
""")  # noqa: S608
