"""What an agent takes up, counted on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session

from alembic import command
from local.servers.postgres import Postgres
from local.supabase.schema import apply_schema
from models import Agent, Derivative, Kind, Making, State, Transfer
from models.database import make_sessions
from models.usage import alone_with, bytes_in_a_day, bytes_stored, room_in_a_day

ROOT = Path(__file__).resolve().parents[2]
Answer = TypeVar("Answer")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    try:
        apply_schema(server.url)
        made = create_engine(make_url(server.url).set(drivername="postgresql+psycopg"))
        with made.connect() as connection:
            config = Config(toml_file=str(ROOT / "pyproject.toml"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        yield made
        made.dispose()
    finally:
        server.stop()


class Books:
    """The transfers of one agent."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = make_sessions(engine)
        self.agent = uuid4()
        self.do(lambda session: session.add(Agent(id=self.agent, name=self.agent.hex)))

    def do(self, work: Callable[[Session], Answer]) -> Answer:
        with self._sessions.begin() as session:
            return work(session)

    def enter(self, state: State, size: int | None = 100, **columns: Any) -> UUID:
        """A transfer that was planned an hour ago, unless something else is said."""
        made = uuid4()
        known: dict[str, Any] = {
            "kind": Kind.UPLOAD,
            "chunks_left": 0,
            "started_at": datetime.now(UTC) - timedelta(hours=1),
            "object_name": f"{self.agent}/{made}/file",
        }
        same = {"request_sha256": "", "bucket": "b", "name": "n", "content_type": "t", "path": ""}
        row = Transfer(
            id=made, state=state, agent_id=self.agent, size=size, **same, **{**known, **columns}
        )
        self.do(lambda session: session.add(row))
        return made

    def derive(self, transfer_id: UUID, size: int | None, **columns: Any) -> None:
        known: dict[str, Any] = {"agent_id": self.agent, "state": Making.MADE}
        place = f"{self.agent}/{transfer_id}/derived/{uuid4()}"
        row = Derivative(
            transfer_id=transfer_id,
            kind="thumbnail",
            parameters=uuid4().hex,
            size=size,
            object_name=place if size is not None else None,
            **{**known, **columns},
        )
        self.do(lambda session: session.add(row))

    @property
    def stored(self) -> int:
        return self.do(lambda session: bytes_stored(session, self.agent))

    @property
    def day(self) -> int:
        return self.do(lambda session: bytes_in_a_day(session, self.agent))

    def room(self, too_many: int) -> datetime | None:
        return self.do(lambda session: room_in_a_day(session, self.agent, too_many))


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


COUNTED = {State.PLANNED, State.MOVING, State.ASSEMBLING, State.PAUSED, State.COMPLETED}


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("state", list(State))
def test_what_counts(books: Books, state: State, kind: Kind) -> None:
    books.enter(state, kind=kind, bytes_done=30)
    is_file = kind != Kind.DOWNLOAD
    assert books.stored == (100 if state in COUNTED and is_file else 0)
    moved = 0 if kind == Kind.BATCH else 30  # a batch's files have rows of their own
    in_part = {State.FAILED: moved, State.CANCELLED: moved, State.QUEUED: 0}
    assert books.day == in_part.get(state, 100)


def test_a_batch_counts_what_has_no_row_of_its_own_yet(books: Books) -> None:
    books.enter(State.MOVING, kind=Kind.BATCH, stored_size=60, bytes_done=40)
    books.enter(State.COMPLETED, 40)
    assert (books.stored, books.day) == (100, 100)


def test_what_was_never_planned(books: Books) -> None:
    """A copy knows its size from the beginning."""
    books.enter(State.PAUSED, kind=Kind.COPY, chunks_left=None)
    books.enter(State.QUEUED, kind=Kind.COPY, chunks_left=None, started_at=None)
    books.enter(State.FAILED, None, chunks_left=None)
    assert (books.stored, books.day) == (0, 0)


def test_a_compressed_file_counts_as_it_is_stored(books: Books) -> None:
    books.enter(State.MOVING, 100, encoding="zstd")
    books.enter(State.COMPLETED, 100, encoding="zstd", stored_size=20)
    assert (books.stored, books.day) == (120, 120)


def test_other_agents_do_not_count(books: Books, engine: Engine) -> None:
    other = Books(engine)
    file = other.enter(State.COMPLETED)
    other.derive(file, 10, agent_id=books.agent)  # made for us, beside a file of theirs
    assert (books.stored, books.day, other.stored) == (0, 0, 110)


def test_what_was_made_of_a_file_counts(books: Books) -> None:
    file = books.enter(State.COMPLETED)
    books.derive(file, 7)
    books.derive(file, None)  # an inspection has no object
    for state in (Making.DUE, Making.FAILED, Making.SKIPPED):
        books.derive(file, 1000, state=state)
    assert books.stored == 107
    assert books.day == 100


def test_a_day_has_24_hours(books: Books) -> None:
    now = datetime.now(UTC)
    for hours in (23.9, 24.1, 1000):
        books.enter(State.COMPLETED, started_at=now - timedelta(hours=hours))
    assert (books.stored, books.day) == (300, 100)


def test_when_there_is_room_again(books: Books) -> None:
    now = datetime.now(UTC)
    began = [now - timedelta(hours=hours) for hours in (20, 10, 5)]
    for at, state in zip(began, (State.EXPIRED, State.COMPLETED, State.MOVING), strict=True):
        books.enter(state, started_at=at, kind=Kind.DOWNLOAD)
    day = timedelta(hours=24)
    assert books.room(1) == books.room(100) == began[0] + day
    assert books.room(101) == began[1] + day
    assert books.room(300) == began[2] + day
    assert books.room(301) is None


def test_two_do_not_both_have_the_last_bytes(books: Books) -> None:
    """Each looks, and enters its own, in one transaction alone with the agent."""
    start = threading.Barrier(8)

    def plan(_: int) -> bool:
        def work(session: Session) -> bool:
            session.execute(text("SELECT 1"))
            start.wait()
            alone_with(session, books.agent)
            if bytes_stored(session, books.agent) + 100 > 300:
                return False
            columns = {"request_sha256": "", "bucket": "b", "object_name": "o", "name": "n"}
            row = Transfer(
                id=uuid4(),
                kind=Kind.UPLOAD,
                state=State.MOVING,
                agent_id=books.agent,
                size=100,
                content_type="t",
                path="",
                **columns,
            )
            session.add(row)
            return True

        return books.do(work)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(plan, range(8))) == 3
    assert books.stored == 300


def test_the_indexes_have_all_that_is_counted(books: Books, engine: Engine) -> None:
    """No row of an agent of many files need be read."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in (*FILL, "VACUUM (ANALYZE) argosy.transfers, argosy.derivatives"):
            known = {"agent": str(books.agent)} if ":agent" in statement else {}
            connection.execute(text(statement), known)
    assert (books.stored, books.day) == (MANY * 11, MANY * 10)
    [stored] = books.do(lambda session: _plans(session, bytes_stored, books.agent))
    assert "Index Only Scan using ix_transfers_usage" in stored
    assert "Index Only Scan using ix_derivatives_made" in stored
    [day] = books.do(lambda session: _plans(session, bytes_in_a_day, books.agent))
    assert "Index Only Scan using ix_transfers_usage" in day


MANY = 10_000
FILL = (
    f"""
    INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket,
        object_name, name, content_type, path, size, chunks_left, started_at)
    SELECT gen_random_uuid(), 'upload', 'completed', CAST(:agent AS uuid), repeat('a', 300), 'b',
        'o', 'n', 't', '/p', 10, 0, now() - interval '1 hour'
    FROM generate_series(1, {MANY})
    """,
    """
    INSERT INTO argosy.derivatives (transfer_id, kind, parameters, state, object_name, size)
    SELECT id, 'thumbnail', repeat('a', 300), 'made', :agent || '/' || id || '/derived/x', 1
    FROM argosy.transfers WHERE agent_id = CAST(:agent AS uuid)
    """,
)


def _plans(session: Session, count: Callable[[Session, UUID], int], agent: UUID) -> Sequence[str]:
    """How PostgreSQL finds what it sums up, where reading a whole table is out of the question."""
    for means in ("enable_seqscan", "enable_bitmapscan"):
        session.execute(text(f"SET LOCAL {means} = off"))
    seen: list[str] = []

    def explain(conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("EXPLAIN"):
            rows = conn.exec_driver_sql("EXPLAIN " + statement, parameters)
            seen.append("\n".join(row[0] for row in rows))

    event.listen(session.connection(), "before_cursor_execute", explain)
    count(session, agent)
    return seen
