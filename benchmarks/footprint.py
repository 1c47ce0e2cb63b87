"""What an upload costs and leaves beside its bytes: rows, WAL, commits, messages, CPU.

    python -m benchmarks.footprint --small 1000 --batch 5000 --large 6

On servers of its own; files are sent all at once, to one worker as it is by default.
docs/operations/sizing.md reckons with what it prints.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import counters
from benchmarks.cargo import make_cargo
from benchmarks.deployment import Deployment, deployment
from benchmarks.measure import MIB
from benchmarks.sending import Sender, many_at_a_time, one_by_one

SMALL_BYTES, LARGE_BYTES = 10_000, 105_000_000
TABLES = ("transfers", "events", "chunks", "parcels", "continuations")


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--large", type=int, default=6)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="argosy-footprint-"))
    folder.chmod(0o711)  # PostgreSQL may run as another user
    with deployment(folder / "data") as made, made.fleet(16 * MIB):
        measure(made, [make_cargo(made.stack.spool, "warm-up", SMALL_BYTES).path] * 20, one_by_one)
        for name, count, size, send in (
            ("small", given.small, SMALL_BYTES, one_by_one),
            ("batch", given.batch, SMALL_BYTES, many_at_a_time),
            ("large", given.large, LARGE_BYTES, one_by_one),
        ):
            source = make_cargo(made.stack.spool, name, size).path
            print(name, measure(made, [source] * count, send), flush=True)
    shutil.rmtree(folder)


def measure(made: Deployment, sources: Sequence[Path], send: Sender) -> Mapping[str, float]:
    """Upload these files; what each cost, and how many went a second."""
    before, count = _facts(made), len(sources)
    began = time.monotonic()
    send(sources)
    seconds = time.monotonic() - began
    time.sleep(counters.SETTLE_SECONDS)
    after = _facts(made)
    each = {fact: round((after[fact] - before[fact]) / count, 1) for fact in after}
    return {"files": count, "a second": round(count / seconds, 1), **each}


def _facts(made: Deployment) -> dict[str, float]:
    """Counters of the servers; what runs by the clock is in them too."""
    facts = counters.read(made)
    for table in TABLES:
        size = f"SELECT pg_total_relation_size('argosy.{table}'), count(*) FROM argosy.{table}"
        taken, rows = made.query(size)[0]  # the names are ours
        facts |= {f"bytes of {table}": taken, f"rows of {table}": rows}
    cpu = {f"CPU ms, {role}": 1000 * tree.cpu() for role, tree in made.trees().items()}
    return {**facts, **cpu}


if __name__ == "__main__":
    main()
