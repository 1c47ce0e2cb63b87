"""The schema is changed while the fleet works: busy tables are waited for, rights never lack."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest

from argosy.settings import FleetSettings
from local.servers.postgres import Postgres
from tests.deployment import until
from tests.integration.test_bootstrap import project
from worker import schema
from worker.bootstrap import bring_up_database
from worker.unready import DatabaseUnready

OLD = "0005"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(postgres: Postgres) -> Iterator[FleetSettings]:
    """A project whose schema is that of the version before."""
    with project(postgres) as made:
        bring_up_database(made)
        schema.migrate(made, OLD)
        yield made


@contextmanager
def _busy(settings: FleetSettings) -> Iterator[psycopg.Connection]:
    """Somebody reads a table of ours, in a transaction that does not end."""
    with psycopg.connect(settings.operator_url.replace(" ", "%20")) as holder:
        holder.execute("LOCK TABLE argosy.transfers IN ACCESS SHARE MODE")
        yield holder


def test_a_table_that_is_busy_is_tried_again(
    settings: FleetSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _busy(settings) as holder:
        told: list[str] = []

        def let_go(words: str, *facts: object) -> None:
            told.append(words % facts)
            holder.rollback()

        monkeypatch.setattr(schema.log, "warning", let_go)
        assert "migration 0009: made" in bring_up_database(settings)
        pid = holder.info.backend_pid
    [said] = told
    assert f"Table argosy.transfers is busy: process {pid} of postgres" in said
    assert schema.behind(settings) is None


def test_a_table_that_stays_busy(settings: FleetSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "TRIES", 2)
    with (
        _busy(settings),
        pytest.raises(DatabaseUnready, match=r"transfers is busy.*Nothing was changed"),
    ):
        bring_up_database(settings)
    assert schema.behind(settings) == OLD
    assert bring_up_database(settings)


class Hammer(threading.Thread):
    """Reads and writes with the fleet's rights, a transaction each, as fast as it can."""

    def __init__(self, settings: FleetSettings) -> None:
        super().__init__(daemon=True)
        self._url = settings.database_url.replace(" ", "%20")
        self.done = threading.Event()
        self.turns = 0
        self.refused: list[str] = []

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self.done.is_set():
                try:
                    connection.execute("SELECT count(*) FROM argosy.transfers")
                    connection.execute("INSERT INTO argosy.events (name) VALUES ('test.hammer')")
                    self.turns += 1
                except psycopg.errors.InsufficientPrivilege as error:
                    self.refused.append(str(error))

    def __enter__(self) -> Hammer:
        self.start()
        until(lambda: self.turns, what="the first turn")
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.join()


def test_the_fleet_is_never_without_rights(settings: FleetSettings) -> None:
    """The rights are taken away and given again in one transaction: nobody sees between."""
    with Hammer(settings) as hammer:
        for _ in range(5):
            before = hammer.turns
            bring_up_database(settings)
            until(lambda before=before: hammer.turns > before, what="a turn after it")  # type: ignore[misc]
    assert hammer.refused == []


def test_rights_that_lack_for_a_moment_are_noticed(settings: FleetSettings) -> None:
    """Else the test above would show nothing."""
    with (
        Hammer(settings) as hammer,
        psycopg.connect(settings.operator_url.replace(" ", "%20"), autocommit=True) as operator,
    ):
        operator.execute("REVOKE ALL ON ALL TABLES IN SCHEMA argosy FROM argosy_fleet")
        until(lambda: hammer.refused, what="a refusal")
        bring_up_database(settings)
        before = hammer.turns
        until(lambda: hammer.turns > before, what="a turn with its rights again")
