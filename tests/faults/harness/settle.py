"""After the faults: wait until nothing is on its way any more, or say what still is."""

from __future__ import annotations

import time

import httpx
from sqlalchemy.exc import DBAPIError

from tasks.messages import DEAD
from tests.faults.harness.load import Load
from tests.faults.harness.world import World

LONGEST_SECONDS = 300.0

ON_THEIR_WAY = {
    "transfers that have not ended": "SELECT id || ' is ' || state FROM argosy.transfers"
    " WHERE state IN ('queued', 'planned', 'moving', 'assembling', 'paused')",
    "ended transfers that are not cleaned up": "SELECT id || ' is ' || state FROM argosy.transfers"
    " WHERE state IN ('failed', 'cancelled') AND cleaned_at IS NULL",
    "callers who are owed a result": "SELECT c.task_id || ' waits for ' || c.transfer_id"
    " FROM argosy.continuations c WHERE c.settled_at IS NULL",
    "derivatives that are due": "SELECT d.id || ' (' || d.kind || ') is due'"
    " FROM argosy.derivatives d JOIN argosy.continuations c USING (transfer_id)"
    " WHERE d.state = 'due' AND c.settled_at IS NULL",
    "files whose time is over": "SELECT id || ' is over since ' || expires_at"
    " FROM argosy.transfers t WHERE state = 'completed' AND kind IN ('upload', 'copy')"
    " AND bucket = 'agent-transfers' AND expires_at < now() AND NOT EXISTS (SELECT"
    " FROM argosy.pins p WHERE p.bucket = t.bucket AND p.path = t.object_name)",
    "live leases": "SELECT id || ' is held by ' || worker FROM argosy.transfers"
    " WHERE lease_until > now()"
    " UNION ALL SELECT transfer_id || '/' || number || ' is held by ' || worker"
    " FROM argosy.chunks WHERE lease_until > now()"
    " UNION ALL SELECT id || ' is held by ' || worker FROM argosy.derivatives"
    " WHERE lease_until > now()",
}
"""What keeps a run from its end: each query gives a line for each that there is."""

Still = dict[str, list[str]]


def settle(load: Load, seconds: float = LONGEST_SECONDS) -> Still:
    """Wait until nothing is on its way; what still is after so many seconds, by kind."""
    end = time.monotonic() + seconds
    while True:
        load.look()
        still = _still(load)
        if not still or time.monotonic() > end:
            return still
        _go_on(load)
        time.sleep(1)


def _still(load: Load) -> Still:
    try:
        found = {
            what: [row[0] for row in load.world.query(query)]
            for what, query in ON_THEIR_WAY.items()
        }
    except DBAPIError as error:
        return {"a database that is away": [str(error.orig)]}
    found["messages"] = _messages(load.world)
    found["requests without an answer"] = [
        f"{one.id} ({one.load}: {one.task})" for one in load.open
    ]
    return {what: lines for what, lines in found.items() if lines}


def _messages(world: World) -> list[str]:
    """What is in the fleet's queues; beat's own ticks come and go."""
    try:
        answer = httpx.get(f"{world.management_url}queues/argosy", timeout=5).raise_for_status()
    except httpx.HTTPError as error:
        return [f"the broker does not say: {error}"]
    return [
        f"{queue['messages']} in {queue['name']}"
        for queue in answer.json()
        if queue.get("messages", 0) > _TICKS.get(queue["name"], 0)
        and queue["name"].startswith("argosy.")
        and queue["name"] != DEAD
    ]


_TICKS = {"argosy.upkeep": 2}


def _go_on(load: Load) -> None:
    """A pause may have come after the word to go on, if its message was late."""
    waiting = {one.about for one in load.open if one.task == "transfer.unpause"}
    for row in load.world.query("SELECT id FROM argosy.transfers WHERE state = 'paused'"):
        one = load.asked.get(str(row.id))
        if one and one.id not in waiting:
            load.unpause(one)
