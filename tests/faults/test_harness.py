"""The proof, in short: `make faults` and `make outage` run longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deployment import remote
from tests.faults.harness.chaos import plan
from tests.faults.harness.faults import KINDS
from tests.faults.harness.outage import measure
from tests.faults.harness.run import run

SEED = 20
pytestmark = pytest.mark.skipif(remote(), reason="these tests break the servers they run on")


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_left_behind(tmp_path: Path) -> None:
    outcome = run(tmp_path, seed=SEED, seconds=90)
    print(outcome.summary)
    assert outcome.is_clean, outcome.summary


@pytest.mark.timeout(600)
def test_work_is_accepted_while_storage_is_away(tmp_path: Path) -> None:
    seen = measure(tmp_path, seconds=20, steady_seconds=12)
    print(seen.table())
    assert not any(seen.violations.values()), seen.violations
    assert any(seen.left_at < second < seen.back_at for second in seen.asked)
    assert sum(seen.completed.values()) == sum(seen.asked.values())


def test_the_seed_is_the_schedule() -> None:
    assert plan(1, 600) == plan(1, 600) != plan(2, 600)
    assert {planned.kind.name for planned in plan(1, 600)} == set(KINDS)
