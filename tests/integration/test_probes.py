"""`argosy health` and `argosy ready`: each finding is made by breaking the thing itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from kombu import Connection
from sqlalchemy import text

from tests.deployment import ARGOSY, Deployment, remote, until
from tests.integration.stack.looking import of_each
from worker import revisions, signs

pytestmark = pytest.mark.skipif(remote(), reason="it breaks the project that it looks at")

SOON = ("--at-most", "10")
"""The shortest time after which a worker may be taken for dead."""
READY = {"broker", "database", "storage", "beat"}


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A worker and beat of this module's own, with servers that may be broken."""
    made = Deployment(tmp_path_factory.mktemp("probes"))
    try:
        made.start()
        made.start_worker("one")
        made.start_beat()
        yield made
    finally:
        made.stop()


def _probe(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and each finding by its name."""
    done = subprocess.run(
        [ARGOSY, *arguments, "--json"],
        env={**os.environ, **deployment.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {one["what"]: one for one in json.loads(done.stdout)}


def _unwell(deployment: Deployment) -> set[str]:
    code, found = _probe(deployment, "ready", "--timeout", "15")
    assert found.keys() == READY
    unwell = {what for what, one in found.items() if not one["well"]}
    assert code == bool(unwell)
    return unwell


def _health(deployment: Deployment, name: str = "one") -> str:
    """What it says of the worker; its exit code must be of the same opinion."""
    code, found = _probe(deployment, "health", "--worker", name, *SOON)
    [one] = found.values()
    assert code == (not one["well"])
    return str(one["said"])


@contextmanager
def _frozen(processes: Iterable[psutil.Process]) -> Iterator[None]:
    frozen = list(processes)
    of_each(frozen, psutil.Process.suspend)
    try:
        yield
    finally:
        of_each(frozen, psutil.Process.resume)


def _of(deployment: Deployment, name: str) -> psutil.Process:
    return psutil.Process(deployment.stack_of(name).pid)


def _until_well(deployment: Deployment) -> None:
    until(lambda: _unwell(deployment) == set(), seconds=120, what="a deployment that is ready")


def test_all_is_well(fragile: Deployment) -> None:
    _until_well(fragile)
    assert _health(fragile) == "it lives"
    told = subprocess.run(
        [ARGOSY, "ready"],
        env={**os.environ, **fragile.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(told.stdout.splitlines()) == len(READY), "one line for each finding"


def test_a_worker_that_is_not_there(fragile: Deployment) -> None:
    assert "there is no worker" in _health(fragile, "nobody")


AWAY = {
    "rabbitmq": {"broker"},
    "postgres": {"database", "beat", "storage"},  # Storage keeps its books there too
    "supabase": {"storage"},
}


@pytest.mark.parametrize("name", AWAY)
def test_a_server_that_is_away(fragile: Deployment, name: str) -> None:
    """Nobody is ready; and everybody lives, for as long as it takes."""
    _until_well(fragile)
    server = fragile.stack_of(name)
    server.stop()
    assert AWAY[name] - {"beat"} <= _unwell(fragile)
    signs = _until_new_signs(fragile)
    server.start()
    assert signs == "it lives"
    _until_well(fragile)


def _until_new_signs(deployment: Deployment) -> str:
    """What is said of the worker once each of its signs is from after this moment."""
    folder = next((deployment.data / "state" / "workers").glob("one@*"))
    before = {path.name: path.read_text() for path in folder.iterdir()}

    def are_new() -> bool:
        found = {path.name: path.read_text() for path in folder.iterdir()}
        return not (before.items() & found.items())

    for _ in range(3):  # three signs are longer than any time-out that could hide it
        until(are_new, what="new signs of life")
        before = {path.name: path.read_text() for path in folder.iterdir()}
    return _health(deployment)


@pytest.mark.parametrize("name", ["rabbitmq", "supabase"])
def test_a_server_that_hangs(fragile: Deployment, name: str) -> None:
    _until_well(fragile)
    server = _of(fragile, name)
    with _frozen([server, *server.children(recursive=True)]):
        code, found = _probe(fragile, "ready", "--timeout", "1")
        signs = _until_new_signs(fragile)
    [what] = AWAY[name]
    assert code == 1
    assert found[what]["said"] == "no answer within 1 s" or "imed out" in found[what]["said"]
    assert signs == "it lives"
    _until_well(fragile)


def test_children_that_stand_still(fragile: Deployment) -> None:
    children = _of(fragile, "one").children()
    with _frozen(children[:1]):
        until(lambda: _oldest_sign(fragile) > float(SOON[1]), what="a sign that is old")
        assert _health(fragile) == "it lives", "the others work"
    with _frozen(children):
        until(lambda: "none of its 2 processes" in _health(fragile), what="what is wrong")
    until(lambda: _health(fragile) == "it lives", what="life")


def _oldest_sign(deployment: Deployment) -> float:
    [folder] = (deployment.data / "state" / "workers").glob("one@*")
    return max(one.age for one in signs.read(folder))


def test_a_main_process_that_stands_still(fragile: Deployment) -> None:
    with _frozen([_of(fragile, "one")]):
        until(lambda: "its main process" in _health(fragile), what="what is wrong")
    until(lambda: _health(fragile) == "it lives", what="life")


def test_a_queue_that_is_gone(fragile: Deployment) -> None:
    """A worker that runs would declare it again at once."""
    _until_well(fragile)
    worker = fragile.stack_of("one")
    worker.stop()
    with Connection(fragile.environment["BROKER_URL"]) as connection:
        connection.default_channel.queue_delete("argosy.finish")
    assert "broker" in _unwell(fragile)
    worker.start()
    _until_well(fragile)


@contextmanager
def _schema_at(deployment: Deployment, revision: str, oldest_code: str) -> Iterator[None]:
    """As a migration of that revision would leave it."""
    [[ours, told]] = deployment.query(revisions.FOUND)
    _tell_schema(deployment, revision, revisions.comment(oldest_code))
    try:
        yield
    finally:
        _tell_schema(deployment, ours, told)


def _tell_schema(deployment: Deployment, revision: str, comment: str) -> None:
    change = "UPDATE argosy.alembic_version SET version_num = :it RETURNING version_num"
    deployment.query(change, it=revision)
    deployment.transact(
        lambda session: session.execute(
            text(f"COMMENT ON TABLE argosy.alembic_version IS '{comment}'")
        )
    )


UNFIT = [("0001", "0001"), ("9999", "9999")]


@pytest.mark.parametrize(("revision", "oldest_code"), UNFIT)
def test_a_schema_of_another_version(fragile: Deployment, revision: str, oldest_code: str) -> None:
    _until_well(fragile)
    with _schema_at(fragile, revision, oldest_code):
        assert "database" in _unwell(fragile)
    _until_well(fragile)


def test_a_newer_schema_that_this_version_works_with(fragile: Deployment) -> None:
    with _schema_at(fragile, "9999", revisions.newest()):
        _, found = _probe(fragile, "ready", "--timeout", "15")
    assert found["database"]["well"]
    assert "9999, newer than this version's" in found["database"]["said"]


def test_a_beat_that_is_dead(fragile: Deployment) -> None:
    beat = fragile.stack_of("beat")
    beat.ask_to_end(signal.SIGTERM)
    assert beat.wait() == 0
    until(lambda: _unwell(fragile) == {"beat"}, what="a beat that is missed")
    beat.start()
    _until_well(fragile)


def test_a_worker_that_was_killed(fragile: Deployment) -> None:
    """It leaves its signs behind, and nobody takes them for life."""
    worker = fragile.stack_of("one")
    worker.kill()
    assert "has ended" in _health(fragile)
    worker.start()
    until(lambda: _health(fragile) == "it lives", what="life")
