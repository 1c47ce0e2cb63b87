"""Agents share a busy fleet: one with many files does not hold up another's single one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from argosy import FileReference
from tasks.messages import REQUESTS
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, deployed, until

SLOTS = 4
MANY = 160
WORKERS = {"control": "--control", "bytes": "--no-control"}

_ADMITTED_MEANWHILE = """
SELECT count(*) AS number FROM argosy.transfers other, argosy.transfers one
WHERE one.id = :one AND other.agent_id = :other
AND other.admitted_at BETWEEN one.created_at AND one.ended_at
"""
_MOST_AT_ONCE = """
SELECT max(number) AS most FROM (
    SELECT (SELECT count(*) FROM argosy.transfers b
        WHERE b.agent_id = a.agent_id AND b.admitted_at <= a.admitted_at
        AND b.ended_at > a.admitted_at) AS number
    FROM argosy.transfers a WHERE a.agent_id = :agent) found
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A fleet of few slots, with a worker that only takes requests."""
    slots = {"ARGOSY_TRANSFERS_AT_ONCE": str(SLOTS)}
    with deployed(tmp_path_factory.mktemp("busy"), slots, workers=WORKERS) as made:
        made.app.set_current()
        yield made


@pytest.fixture
def many(busy: Deployment) -> Iterator[Sender]:
    """An agent with many files that wait."""
    busy.app.set_current()
    yield Sender(busy.add_agent())
    busy.clear_spool()


def _count(busy: Deployment, sender: Sender, condition: str) -> int:
    sql = f"SELECT count(*) AS number FROM argosy.transfers WHERE agent_id = :id AND {condition}"
    return int(busy.query(sql, id=sender.agent.id)[0].number)


def _send_many(busy: Deployment, sender: Sender, path: Path, **options: Any) -> list[Any]:
    sent = [sender.upload(path, **options) for _ in range(MANY)]
    until(lambda: _count(busy, sender, "true") == MANY, what="every request written down")
    return sent


def _get_all(sent: list[Any]) -> None:
    for one in sent:
        FileReference.parse(one.get(timeout=RESULT_SECONDS))


def test_a_single_file_does_not_wait_for_anothers_many(busy: Deployment, many: Sender) -> None:
    path = busy.make_file("one.bin", MB)
    sent = _send_many(busy, many, path)
    single = Sender(busy.add_agent())
    one = single.upload(path)
    one.get(timeout=RESULT_SECONDS)
    waiting = _count(busy, many, "admitted_at IS NULL AND state = 'queued'")
    assert waiting > SLOTS, "the many were done too soon to be in anybody's way"
    [row] = busy.query(_ADMITTED_MEANWHILE, one=one.id, other=many.agent.id)
    assert row.number <= 3 * SLOTS
    _get_all(sent)


def test_an_urgent_file_goes_before_what_its_agent_asked_for_earlier(
    busy: Deployment, many: Sender
) -> None:
    path = busy.make_file("bulk.bin", MB)
    sent = _send_many(busy, many, path, priority="bulk")
    urgent = many.upload(path, priority="urgent")
    urgent.get(timeout=RESULT_SECONDS)
    assert _count(busy, many, "priority = 'bulk' AND admitted_at IS NULL") > SLOTS
    _get_all(sent)


def test_an_agents_own_number_at_once_holds(busy: Deployment, many: Sender) -> None:
    def limit(session: Any) -> None:
        session.execute(
            text("UPDATE argosy.agents SET max_transfers = 1 WHERE id = :id"),
            {"id": many.agent.id},
        )

    busy.transact(limit)
    _get_all([many.upload(busy.make_file(f"{number}.bin", MB)) for number in range(12)])
    assert busy.query(_MOST_AT_ONCE, agent=many.agent.id)[0].most == 1


def test_what_waits_can_be_cancelled_and_explained(busy: Deployment, many: Sender) -> None:
    from tasks import transfer

    sent = _send_many(busy, many, busy.make_file("waits.bin", 8 * MB), priority="bulk")
    waits = transfer.status.apply_async((sent[-1].id,), headers=many.headers)
    told = waits.get(timeout=RESULT_SECONDS)
    assert told["state"] == "queued"
    assert told["waits"][0].startswith("it waits for its turn: ")
    for one in sent:
        transfer.cancel.apply_async((one.id,), headers=many.headers)
    until(
        lambda: _count(busy, many, "state NOT IN ('completed', 'cancelled')") == 0,
        what="the end of all",
    )
    assert _count(busy, many, "state = 'cancelled'") > 0


REQUESTS_AT_ONCE = 300
_READ_BEFORE = """
SELECT count(*) AS number FROM argosy.transfers other, argosy.transfers one
WHERE one.id = :one AND other.agent_id = :other AND other.created_at < one.created_at
"""


def test_a_request_does_not_wait_behind_anothers_many(busy: Deployment, many: Sender) -> None:
    path = busy.make_file("one.bin", 1000)
    single = Sender(busy.add_agent())
    until(
        lambda: len(busy.app.control.cancel_consumer(REQUESTS, reply=True) or ()) == len(WORKERS),
        what="both workers to have heard it",
    )
    sent = [many.upload(path) for _ in range(REQUESTS_AT_ONCE)]
    quick = [single.upload(path), many.upload(path, priority="urgent")]
    assert not _count(busy, many, "true"), "somebody has read them before all were there"
    busy.app.control.add_consumer(REQUESTS, reply=True)
    _get_all([*quick, *sent])
    for one in quick:
        [row] = busy.query(_READ_BEFORE, one=one.id, other=many.agent.id)
        assert row.number < REQUESTS_AT_ONCE // 2
