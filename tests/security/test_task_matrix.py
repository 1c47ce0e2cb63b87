"""The matrix once more, through the tasks: the fleet does for an agent what the agent may do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from argosy.auth import TOKEN_HEADER
from argosy.errors import BY_CODE
from argosy.reference import FileReference
from tests.conftest import RESULT_SECONDS
from tests.deployment import Deployment
from tests.security.matrix import ALLOWED, TASK_CELLS, TASK_OPERATIONS, TaskCell
from tests.security.world import NEW, Place, World, world_in

pytestmark = pytest.mark.matrix


class Shared(World):
    """Where a friend may read every object, and can lose that again."""

    def fill(self) -> None:
        self.friend = self.deployment.add_agent("reader")
        self.scopes = {place: key for key, place in self.places.items()}
        super().fill()
        for place in self.places.values():
            self._share(place)

    def grants(self) -> set[tuple[str, str, str, str]]:
        """All grants of this world: where, to whom, what."""
        rows = self.sql(
            "SELECT bucket, path, coalesce(agent_id::text, role), access FROM argosy.grants"
            " WHERE starts_with(bucket, 'matrix-')"
        )
        return set(rows)

    def restore(self, caller: str, *places: Place) -> None:
        for place in places:
            query = "DELETE FROM argosy.grants WHERE bucket = %s AND starts_with(path, %s)"
            self.sql(query, place.bucket, place.folder)
            self._grant(*self.scopes[place], place)
            self._share(place)
        super().restore(caller, *places)

    def _share(self, place: Place) -> None:
        query = (
            "INSERT INTO argosy.grants (bucket, path, agent_id, access, granted_by)"
            " VALUES (%s, %s, %s, 'read', %s)"
        )
        self.sql(query, place.bucket, place.kept, self.friend.id, self.owner.id)


@dataclass(frozen=True)
class Request:
    """What one caller asks the fleet about one place."""

    world: Shared
    caller: str
    here: Place
    spool: Path

    @property
    def reference(self) -> dict[str, Any]:
        """To the object that is there, right in every field, whoever may know that."""
        content = self.here.content
        return FileReference(
            id=uuid4(),
            bucket=self.here.bucket,
            path=self.here.kept,
            name="kept.bin",
            size=len(content),
            content_type="application/octet-stream",
            sha256=hashlib.sha256(content).hexdigest(),
            md5=self.here.etag,
            owner=self.world.owner.id,
            created_at=datetime.now(UTC),
            chunk_size=0,
            chunk_count=1,
        ).document()

    @property
    def place(self) -> dict[str, str]:
        return {"bucket": self.here.bucket, "path": self.here.kept}

    @property
    def folder(self) -> dict[str, str]:
        return {"bucket": self.here.bucket, "path": self.here.folder}

    @property
    def source(self) -> Path:
        return self.spool / "source.bin"

    @property
    def destination(self) -> Path:
        return self.spool / "destination.bin"


Asked = dict[str, Callable[[Request], tuple[str, list[Any]]]]
ASKED: Asked = {
    "upload": lambda r: ("upload", [str(r.source), r.here.bucket]),
    "upload many": lambda r: ("upload_many", [[str(r.source)], r.here.bucket]),
    "download": lambda r: ("download", [r.reference, str(r.destination)]),
    "share": lambda r: ("share", [r.reference, [r.world.friend.name], "write"]),
    "share a folder": lambda r: ("share", [r.folder, ["role:reader"]]),
    "unshare": lambda r: ("unshare", [r.place, [r.world.friend.name]]),
    "delete": lambda r: ("delete", [r.reference]),
    "pin": lambda r: ("pin", [str(uuid4()), [r.reference], r.world.friend.name]),
    "copy": lambda r: ("copy", [r.reference]),
}
"""The task of each operation, and what it is called with."""


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[Shared]:
    with world_in(deployment, Shared) as made:
        yield made


@pytest.fixture
def request_(world: Shared, cell: TaskCell, spool: Path) -> Request:
    made = Request(world, cell.caller, world.places[cell.caller, cell.scope], spool)
    made.source.write_bytes(NEW)
    return made


def test_every_task_is_asked() -> None:
    assert set(ASKED) == set(TASK_OPERATIONS)


@pytest.mark.parametrize("cell", TASK_CELLS, ids=str)
def test_cell(cell: TaskCell, request_: Request) -> None:
    if cell.outcome == ALLOWED:
        _is_allowed(request_, cell)
    else:
        _is_refused(request_, cell)


def _send(r: Request, cell: TaskCell) -> Any:
    """As any Celery client would, with the caller's token or none."""
    task, arguments = ASKED[cell.operation.name](r)
    token = r.world.tokens[r.caller]
    sent = r.world.deployment.app.send_task(
        f"transfer.{task}",
        arguments,
        exchange="argosy.requests",
        routing_key="argosy.requests",
        headers={TOKEN_HEADER: token} if token else {},
    )
    return sent.get(timeout=RESULT_SECONDS)


def _is_refused(r: Request, cell: TaskCell) -> None:
    grants = r.world.grants()
    with pytest.raises(BY_CODE[cell.outcome]) as caught:
        _send(r, cell)
    assert caught.value.code == cell.outcome
    assert r.here.content.decode() not in str(caught.value)
    assert not r.world.has_changed()
    assert r.world.grants() == grants
    assert r.world.bytes_of(r.here.bucket, r.here.kept) == r.here.content
    assert [path.name for path in r.spool.iterdir()] == ["source.bin"]


def _is_allowed(r: Request, cell: TaskCell) -> None:
    grants = r.world.grants()
    try:
        result = _send(r, cell)
        gone, made = grants - r.world.grants(), r.world.grants() - grants
        DONE[cell.operation.name](r, result)
        assert (gone, made) == _regranted(r, cell, grants)
    finally:
        r.world.restore(cell.caller, r.here)


def _regranted(r: Request, cell: TaskCell, before: set[Any]) -> tuple[set[Any], set[Any]]:
    """The grants that must be gone, and those that must be new."""
    bucket, kept, friend = r.here.bucket, r.here.kept, str(r.world.friend.id)
    on_kept = {grant for grant in before if grant[:2] == (bucket, kept)}
    return {
        "share": (set(), {(bucket, kept, friend, "write")}),
        "share a folder": (set(), {(bucket, r.here.folder, "reader", "read")} - before),
        "unshare": ({(bucket, kept, friend, "read")}, set()),
        "delete": (on_kept, set()),
    }.get(cell.operation.name, (set(), set()))


def _is_uploaded(r: Request, result: dict[str, Any]) -> None:
    reference = FileReference.parse(result)
    assert reference.bucket == r.here.bucket
    assert reference.path.startswith(f"{r.world.id_of(r.caller)}/")
    assert r.world.bytes_of(reference.bucket, reference.path) == NEW
    r.world.service.rest("DELETE", f"object/{reference.bucket}/{reference.path}").raise_for_status()


def _is_copied(r: Request, result: dict[str, Any]) -> None:
    reference = FileReference.parse(result)
    assert reference.path.startswith(f"{r.world.id_of(r.caller)}/")
    assert r.world.bytes_of(reference.bucket, reference.path) == r.here.content
    r.world.service.rest("DELETE", f"object/{reference.bucket}/{reference.path}").raise_for_status()


def _is_downloaded(r: Request, result: str) -> None:
    assert result == str(r.destination)
    assert r.destination.read_bytes() == r.here.content


def _is_as_before(r: Request, result: Any) -> None:
    assert not r.world.has_changed()


def _is_deleted(r: Request, result: None) -> None:
    assert r.world.bytes_of(r.here.bucket, r.here.kept) is None


DONE: dict[str, Callable[[Request, Any], None]] = {
    "upload": _is_uploaded,
    "upload many": lambda r, result: _is_uploaded(r, *result),
    "download": _is_downloaded,
    "share": _is_as_before,
    "share a folder": _is_as_before,
    "unshare": _is_as_before,
    "delete": _is_deleted,
    "pin": _is_as_before,
    "copy": _is_copied,
}
"""What is there afterwards, besides grants."""
