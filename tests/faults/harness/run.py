"""One run: load and faults for so long, then peace, then the checks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.harness import batches as _batches  # noqa: F401  their kinds of load are
from tests.faults.harness import checks, report
from tests.faults.harness import ends as _ends  # noqa: F401  registered
from tests.faults.harness.chaos import Chaos, plan
from tests.faults.harness.journal import Journal
from tests.faults.harness.load import Load
from tests.faults.harness.settle import LONGEST_SECONDS, settle
from tests.faults.harness.world import world

STEP_SECONDS = 0.4
"""Between two requests."""


@dataclass(frozen=True)
class Outcome:
    """What a run found."""

    summary: str
    violations: dict[str, list[str]]

    @property
    def is_clean(self) -> bool:
        """Whether every zero is one."""
        return not any(self.violations.values())


def run(
    data: Path, *, seed: int, seconds: float, settle_seconds: float = LONGEST_SECONDS
) -> Outcome:
    """Break things for `seconds`, then see. What happened is told in `data`."""
    with world(data) as made:
        made.start_fleet()
        journal = Journal(data / "journal.jsonl")
        load = Load(made, journal, seed)
        journal.note("began", seed=seed, seconds=seconds)
        _break_and_carry(load, Chaos(load, plan(seed, seconds)), seconds)
        journal.note("settling")
        evidence = checks.Evidence(made, load, settle(load, settle_seconds))
        journal.note("settled", still={what: len(n) for what, n in evidence.still.items()})
        wrong = checks.violations(evidence)
        outcome = Outcome(report.summary(evidence, wrong, seed, seconds), wrong)
        (data / "summary.txt").write_text(outcome.summary + "\n")
        if not outcome.is_clean:
            (data / "timeline.txt").write_text(report.timeline(evidence, wrong))
    return outcome


def _break_and_carry(load: Load, chaos: Chaos, seconds: float) -> None:
    began = time.monotonic()
    due = 0.0
    try:
        while (now := time.monotonic() - began) < seconds:
            chaos.look(now)
            if now >= due:
                load.step()
                due = max(due + STEP_SECONDS, now - STEP_SECONDS)
            load.look()
            time.sleep(0.1)
    finally:
        chaos.end()
