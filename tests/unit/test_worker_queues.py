"""`argosy worker --queues`: a queue that is not there is refused before the worker starts."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from argosy.settings import FleetSettings
from commands.exits import Exit
from commands.main import argosy
from tests.unit.auth_server import SECRET, fleet_settings
from worker.queues import all_queues, names_for_workers, unknown_among

FLEET = {
    "SUPABASE_URL": "http://localhost:1",
    "SUPABASE_ANON_KEY": "anon",
    "SUPABASE_SERVICE_ROLE_KEY": "service",
    "SUPABASE_JWT_SECRET": SECRET,
    "DATABASE_URL": "postgresql://localhost:1/x",
    "BROKER_URL": "amqp://localhost:1",
    "RESULT_URL": "redis://localhost:1",
    "ARGOSY_SPOOL": "/spool/a",
    "ARGOSY_SPOOLS": "a=/spool/a,b=/spool/b",
}


@pytest.fixture
def settings() -> FleetSettings:
    return fleet_settings("http://localhost:1", spools=FLEET["ARGOSY_SPOOLS"], spool="/spool/a")


@pytest.mark.parametrize("said", ["nosuch", "argosy.media,nosuch", " argosy.media , nosuch"])
def test_a_queue_that_is_not_there(said: str) -> None:
    result = CliRunner().invoke(argosy, ["worker", "--queues", said], env=FLEET)
    told = " ".join(result.output.split())
    assert result.exit_code == Exit.USAGE
    assert "the fleet has no queue 'nosuch'. It has: argosy.requests, argosy.control" in told
    assert "argosy.chunks@b" in told


def test_the_queues_that_a_worker_may_read(settings: FleetSettings) -> None:
    names = names_for_workers(settings)
    assert {"argosy.chunks@a", "argosy.finish@b", "argosy.upkeep"} <= set(names)
    assert unknown_among(settings, [*names, "argosy.chunks@c", "argosy.dead"]) == [
        "argosy.chunks@c",
        "argosy.dead",
    ]
    assert {queue.name for queue in all_queues(settings)} - set(names) == {"argosy.dead"}
