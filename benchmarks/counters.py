"""What the servers have counted so far: statements, commits, WAL, messages, commands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import httpx
import redis

from benchmarks.deployment import Deployment
from benchmarks.statements import counting

SETTLE_SECONDS = 12
"""RabbitMQ counts messages every five seconds. An idle session of PostgreSQL tells of its last
commits after ten."""
WAL, COMMITS, STATEMENTS = "bytes of WAL", "commits", "statements"
MESSAGES, COMMANDS, COMMAND_BYTES = "messages", "Valkey commands", "bytes to and from Valkey"
EVERYTHING = (STATEMENTS, COMMITS, WAL, MESSAGES, COMMANDS, COMMAND_BYTES)

_FACTS = """
SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS wal,
    (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()) AS commits
"""
_STATEMENTS = """
SELECT sum(calls) FROM pg_stat_statements
JOIN pg_database d ON d.oid = dbid AND d.datname = current_database()
WHERE query NOT IN ('COMMIT', 'ROLLBACK') AND query NOT LIKE 'BEGIN%'
"""


def read(made: Deployment, *, statements: bool = False) -> dict[str, float]:
    """All counters; what runs by the clock is in them too."""
    row = made.query(_FACTS)[0]
    facts = {WAL: float(row.wal), COMMITS: float(row.commits)}
    if statements:
        facts[STATEMENTS] = float(made.query(_STATEMENTS)[0][0] or 0)
    return {**facts, **_messages(made), **_commands(made)}


def cost_of(made: Deployment, work: Callable[[], object]) -> Mapping[str, float]:
    """What some work added to the counters; what the clock adds is taken off.

    Before the work nothing happens for a while, which says how much that is.
    """
    with counting(made.stack.postgres.url) as statements:

        def look() -> tuple[float, dict[str, float]]:
            time.sleep(SETTLE_SECONDS)
            return time.monotonic(), read(made, statements=statements)

        looks = [look(), look()]
        work()
        looks.append(look())
    return added(*looks)


def added(
    *looks: tuple[float, Mapping[str, float]],
) -> Mapping[str, float]:
    """Of three looks at counters, each with its second: what was added to the last one.

    Between the first two nothing but the clock was at work, and so it was, at that rate,
    between the last two.
    """
    (first, idle), (begin, before), (end, after) = looks
    share = (end - begin) / (begin - first)
    return {
        name: max(0.0, after[name] - before[name] - share * (before[name] - idle[name]))
        for name in after
    }


def _messages(made: Deployment) -> dict[str, float]:
    api = made.stack.operator_environment.get("ARGOSY_BROKER_API")
    if not api:
        return {}
    stats = httpx.get(f"{api.rstrip('/').removesuffix('/api')}/api/overview").json()
    return {MESSAGES: float(stats["message_stats"]["publish"])}


def _commands(made: Deployment) -> dict[str, float]:
    address = made.stack.environment["RESULT_URL"]
    with redis.Redis.from_url(address) as client:
        said = client.info("stats")
    if not isinstance(said, dict):
        raise TypeError(f"{urlsplit(address).hostname} gives no statistics")
    moved = said["total_net_input_bytes"] + said["total_net_output_bytes"]
    return {COMMANDS: float(said["total_commands_processed"]), COMMAND_BYTES: float(moved)}
