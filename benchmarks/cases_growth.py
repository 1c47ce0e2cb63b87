"""Growth: what the fleet asks its database, with a thousand rows and with a million."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session

from argosy.settings import FleetSettings, environment_name
from benchmarks import growth_rows, growth_work
from benchmarks.growth_cost import Work, cost_of
from benchmarks.growth_rows import Sample as Rows
from benchmarks.measure import Block, Sample, Series
from local.stack import Stack
from local.supabase.schema import apply_schema
from worker.bootstrap import bring_up_database

GROUP = "growth"
BY_ROWS, BY_PARTS = "transfers", "parts"
FLAT, LINEAR = "flat", "linear"
"""How it may grow: not at all, or as its input does."""
PARTS = (10, 100, 1_000, 10_000)
_DATABASE = "benchmark_growth"


class Growth:
    """A database of its own on the stack's server, which grows from size to size."""

    def __init__(self, stack: Stack, sizes: Sequence[int]) -> None:
        """`sizes` are how many transfers have ended, the fewest first."""
        self._stack = stack
        self._sizes = sizes
        self._is_measured = False

    def block(self) -> Block:
        """All of it, in the first round alone: what PostgreSQL looks at does not vary."""
        return Block(GROUP, self._database, [self._measure])

    @contextmanager
    def _database(self) -> Iterator[None]:
        if self._is_measured:
            yield
            return
        with psycopg.connect(self._stack.postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}".encode())
            try:
                bring_up(self._stack, self._url)
                yield
            finally:
                connection.execute(f"DROP DATABASE {_DATABASE} WITH (FORCE)".encode())

    def _measure(self) -> Iterator[Sample]:
        if self._is_measured:
            return
        self._is_measured = True
        engine = create_engine(make_url(self._url).set(drivername="postgresql+psycopg"))
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                sample = growth_rows.begin(connection)
                for before, after in zip((0, *self._sizes), self._sizes, strict=False):
                    growth_rows.grow(connection, before, after)
                    yield from _by_rows(engine, sample, after)
                yield from _by_parts(engine, connection, sample)
        finally:
            engine.dispose()

    @property
    def _url(self) -> str:
        known = make_url(self._stack.postgres.url)
        return known.set(database=_DATABASE).render_as_string(hide_password=False)


def bring_up(stack: Stack, url: str) -> None:
    """Give a database, known by its address, the schema of a project that is ready."""
    known = stack.operator_environment
    names = {environment_name(field): field for field in FleetSettings.model_fields}
    settings = FleetSettings.model_validate(
        {field: known[name] for name, field in names.items() if name in known}
    )
    fleet_url = make_url(settings.database_url).set(database=make_url(url).database)
    apply_schema(url)
    changed = {
        "operator_database_url": url,
        "database_url": fleet_url.render_as_string(hide_password=False),
    }
    bring_up_database(settings.model_copy(update=changed))


def _by_rows(engine: Engine, sample: Rows, rows: int) -> Iterator[Sample]:
    yield from _samples(engine, growth_work.work_on_rows(sample), BY_ROWS, rows, FLAT)
    yield from _samples(engine, growth_work.work_on_all(sample), BY_ROWS, rows, LINEAR)


def _by_parts(engine: Engine, connection: psycopg.Connection, sample: Rows) -> Iterator[Sample]:
    for parts in PARTS:
        with Session(engine) as session, session.begin():
            transfer = growth_work.lay_out_transfer(session, sample.agent, parts)
        growth_rows.look(connection)
        work = growth_work.work_on_parts(transfer, parts)
        yield from _samples(engine, work, BY_PARTS, parts, FLAT)
        work = growth_work.work_on_all_parts(transfer, parts)
        yield from _samples(engine, work, BY_PARTS, parts, LINEAR)


def _samples(
    engine: Engine, work: Mapping[str, Work], by: str, count: int, may: str
) -> Iterator[Sample]:
    for what, do in work.items():
        series = Series(GROUP, what, by, 0, "PostgreSQL", items=count, of=may)
        cost = cost_of(engine, do)
        yield Sample(series, cost.seconds, pages=cost.pages, rows=cost.rows, whole=cost.whole)
