"""Storage is away for minutes while work is asked for at a steady rate; then it is back.

This measures and judges nothing but the end: what every ten seconds brought, and the rate of
requests after the return beside that before.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.harness import checks
from tests.faults.harness.journal import Journal
from tests.faults.harness.load import Load
from tests.faults.harness.settle import Still, settle
from tests.faults.harness.world import World, start_again, world

STEP_SECONDS = 0.5
STEADY_SECONDS = 30
BIN_SECONDS = 10
EVERY_LARGE = 5
"""One in so many files goes in parts."""


@dataclass(frozen=True)
class Outage:
    """What was seen. Counters are by the second of the clock."""

    left_at: float
    back_at: float
    asked: Counter[int]
    """The broker had the message."""
    accepted: Counter[int]
    """The fleet had made a row of it."""
    reached: Counter[int]
    """Requests that came through to Storage."""
    refused: Counter[int]
    """Connections that nobody took."""
    completed: Counter[int]
    violations: dict[str, list[str]]

    @property
    def steady(self) -> float:
        """Requests a second before Storage went away, on average."""
        seconds = range(int(self.left_at) - STEADY_SECONDS // 3, int(self.left_at))
        return sum(self.reached[second] for second in seconds) / len(seconds)

    @property
    def peak(self) -> int:
        """Requests in the busiest second since it is back."""
        return max((n for at, n in self.reached.items() if at >= int(self.back_at)), default=0)

    def table(self) -> str:
        """A line for each ten seconds, and the two rates."""
        columns = (self.asked, self.accepted, self.reached, self.refused, self.completed)
        seconds = [second for column in columns for second in column]
        first = int(min(seconds))
        lines = [
            "seconds   asked  accepted  completed  requests/s (busiest)  refused/s",
            *(self._line(first, at) for at in range(first, max(seconds) + 1, BIN_SECONDS)),
            f"requests per second: {self.steady:.1f} before, {self.peak} in the busiest one since",
        ]
        return "\n".join(lines)

    def _line(self, first: int, at: int) -> str:
        span = range(at, at + BIN_SECONDS)

        def total(column: Counter[int]) -> int:
            return sum(column[second] for second in span)

        away = "  away" if self.left_at < at + BIN_SECONDS and at < self.back_at else ""
        busiest = max(self.reached[second] for second in span)
        rate, refused = total(self.reached) / BIN_SECONDS, total(self.refused) / BIN_SECONDS
        return (
            f"{at - first:7}  {total(self.asked):6}  {total(self.accepted):8}  "
            f"{total(self.completed):9}  {rate:10.1f} ({busiest:7})  {refused:9.1f}{away}"
        )


def measure(data: Path, *, seconds: float, steady_seconds: float = STEADY_SECONDS) -> Outage:
    """Have Storage go away for so long, in a world of its own.

    Before and afterwards the load goes on for `steady_seconds`.
    """
    with world(data) as made:
        made.start_fleet()
        load = Load(made, Journal(data / "journal.jsonl"), seed=0)
        storage, ask = made.server("supabase"), _steadily(load)
        _for(steady_seconds, ask)
        left_at = time.time()
        storage.kill()
        _for(seconds, ask)
        start_again(storage)
        back_at = time.time()
        _for(steady_seconds, ask)
        still = settle(load)
        return _seen(made, load, left_at, back_at, still)


def _steadily(load: Load) -> Callable[[], None]:
    """The next request, a large file now and then."""
    dice, count = Random("outage"), 0

    def ask() -> None:
        nonlocal count
        count += 1
        sources = load.cargo.large[:2] if count % EVERY_LARGE == 0 else load.cargo.small
        source = dice.choice(sources)
        load.ask(dice, "upload", "transfer.upload", str(source.path), source=source)
        load.look()

    return ask


def _for(seconds: float, ask: Callable[[], None]) -> None:
    began = due = time.monotonic()
    while time.monotonic() < began + seconds:
        ask()
        due += STEP_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))


def _seen(made: World, load: Load, left_at: float, back_at: float, still: Still) -> Outage:
    def by_second(query: str) -> Counter[int]:
        return Counter(int(row.at) for row in made.query(query))

    began = load.journal.began
    return Outage(
        left_at,
        back_at,
        asked=Counter(int(began + entry.at) for entry in load.journal.of("confirmed")),
        accepted=by_second("SELECT extract(epoch FROM created_at) AS at FROM argosy.transfers"),
        reached=Counter(made.storage.by_second),
        refused=Counter(made.storage.refused),
        completed=by_second(
            "SELECT extract(epoch FROM at) AS at FROM argosy.events"
            " WHERE name = 'transfer.completed'"
        ),
        violations=checks.violations(checks.Evidence(made, load, still)),
    )
