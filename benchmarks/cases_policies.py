"""What row-level security costs, among a million objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import perf_counter

import httpx
import psycopg

from benchmarks import policy_rows
from benchmarks.cargo import BenchmarkFailed
from benchmarks.deployment import STORAGE, Deployment
from benchmarks.measure import Block, Sample, Series, timed_alone
from benchmarks.policy_project import CONTENT, Project
from benchmarks.policy_rows import BUCKET, PAGE

GROUP = "policies"
CHECKS = 5_000
TIMES = 5
REQUESTS = 200
PAGES = 20

_LIST = (
    "SELECT id, name, metadata, updated_at, created_at, last_accessed_at FROM storage.objects"
    ' WHERE bucket_id = %s AND starts_with(name, %s) ORDER BY name COLLATE "C" LIMIT %s'
)
_DECIDED = "SELECT count(*) FROM benchmark_names WHERE argosy.can_read(%s, name)"
_UNDECIDED = "SELECT count(*) FROM benchmark_names WHERE name <> %s"


def block(deployment: Deployment, objects: int) -> Block:
    """Decisions and pages inside of PostgreSQL, then the same over HTTP."""
    project = Project(deployment.stack, objects)
    cases = (_decisions, _pages, _requests)
    return Block(GROUP, project.running, [partial(case, project) for case in cases])


def _decisions(project: Project) -> Iterator[Sample]:
    """One check, of many that a statement makes; what it does besides is taken off."""
    with psycopg.connect(project.rows.url) as connection:
        for way, name in project.rows.objects.items():
            with _names(connection, project.rows.sample.agent, name):
                _seconds(connection, _DECIDED, BUCKET)
                for _ in range(TIMES):
                    decided = _seconds(connection, _DECIDED, BUCKET)
                    undecided = _seconds(connection, _UNDECIDED, "")
                    yield Sample(_series("read check", way), (decided - undecided) / CHECKS)


@contextmanager
def _names(connection: psycopg.Connection, agent: str, name: str) -> Iterator[None]:
    """So many names to decide on, and be the agent who asks."""
    connection.execute(
        "CREATE TEMP TABLE benchmark_names AS SELECT %s::text AS name FROM generate_series(1, %s)",
        (name, CHECKS),
    )
    connection.execute("GRANT SELECT ON benchmark_names TO authenticated")
    policy_rows.become(connection, agent)
    yield
    connection.rollback()


def _seconds(connection: psycopg.Connection, query: str, value: str) -> float:
    began = perf_counter()
    connection.execute(query.encode(), (value,))
    return perf_counter() - began


def _pages(project: Project) -> Iterator[Sample]:
    """As Storage asks PostgreSQL for them."""
    sample = project.rows.sample
    own = sample.pages["own folder"]
    asked = [
        ("own folder", own, sample.agent),
        ("granted folder", sample.pages["granted folder"], sample.agent),
        ("by an admin", own, sample.admin),
        ("without policies", own, None),
    ]
    with psycopg.connect(project.rows.url) as connection:
        for who, folder, agent in asked:
            if agent:
                policy_rows.become(connection, agent)
            for _ in range(PAGES):
                yield _page(connection, _series(f"page of {PAGE:,}", who), folder)
            connection.rollback()


def _page(connection: psycopg.Connection, series: Series, folder: str) -> Sample:
    query, values = _LIST.encode(), (BUCKET, folder, PAGE)
    sample, rows = timed_alone(series, lambda: connection.execute(query, values).fetchall())
    _must_be_full(rows)
    return sample


def _requests(project: Project) -> Iterator[Sample]:
    with httpx.Client(base_url=project.url, timeout=30) as http:
        for who, token in project.tokens.items():
            read, read_s3, page = _readers(project, http, token)
            for _ in range(REQUESTS):
                yield _read(_series("HTTP: 10 bytes, REST", who), read)
                yield _read(_series("HTTP: 10 bytes, S3", who), read_s3)
            for _ in range(PAGES):
                sample, answer = timed_alone(_series(f"HTTP: page of {PAGE:,}, REST", who), page)
                _must_be_full(answer.json()["objects"])
                yield sample


def _read(series: Series, read: Callable[[], httpx.Response]) -> Sample:
    sample, answer = timed_alone(series, read)
    if answer.content != CONTENT:
        raise BenchmarkFailed(f"{series.action}, {series.subject}: {answer.text[:200]}")
    return sample


def _readers(
    project: Project, http: httpx.Client, token: str
) -> tuple[Callable[[], httpx.Response], ...]:
    """REST, S3, and a page."""
    name, headers = project.rows.stored, {"Authorization": f"Bearer {token}"}
    asked = {"prefix": project.rows.sample.pages["own folder"], "limit": PAGE}
    rest, s3 = "/storage/v1/object", f"/storage/v1/s3/{BUCKET}/{name}"
    signature = project.signature(token)
    return (
        lambda: http.get(f"{rest}/authenticated/{BUCKET}/{name}", headers=headers),
        lambda: http.get(s3, auth=signature),
        lambda: http.post(f"{rest}/list-v2/{BUCKET}", json=asked, headers=headers),
    )


def _series(action: str, subject: str) -> Series:
    return Series(GROUP, subject, action, 0, STORAGE)


def _must_be_full(page: Sequence[object]) -> None:
    if len(page) != PAGE:
        raise BenchmarkFailed(f"a page has {len(page)} objects instead of {PAGE}")
