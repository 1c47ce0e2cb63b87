"""What `argosy ready` knows without importing it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.unit.auth_server import fleet_settings
from worker import readiness, revisions
from worker.finding import Unwell
from worker.queues import all_queues


@pytest.mark.parametrize("spools", [{}, {"a": "/spool/a", "b": "/spool/b"}])
def test_the_names_of_the_queues(spools: dict[str, str]) -> None:
    settings = fleet_settings("http://localhost:1", spools=spools)
    names = [queue.name for queue in all_queues(settings)]
    assert sorted(readiness.queue_names(settings)) == sorted(names)


HEAVY = ("celery", "sqlalchemy", "alembic", "supabase", "PIL")


@pytest.mark.parametrize("module", ["worker.readiness", "worker.probes"])
def test_nothing_heavy_is_imported(module: str) -> None:
    """A probe runs every few seconds, for each worker."""
    program = f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == []


def _next() -> str:
    return f"{int(revisions.newest()) + 1:04}"


def test_the_schema_of_this_version() -> None:
    assert revisions.judge(revisions.newest(), None) == f"revision {revisions.newest()}"


@pytest.mark.parametrize("oldest", ["0001", revisions.newest()])
def test_a_newer_schema_that_still_works(oldest: str) -> None:
    said = revisions.judge(_next(), revisions.comment(oldest))
    assert "newer than this version's" in said


UNFIT = {
    "none": (None, None),
    "an older one": ("0001", None),
    "a newer one for newer code": (_next(), revisions.comment(_next())),
    "a newer one that says nothing": (_next(), None),
    "a newer one that says something else": (_next(), "the operator's own comment"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_schema_that_does_not_work(case: str) -> None:
    with pytest.raises(Unwell):
        revisions.judge(*UNFIT[case])
