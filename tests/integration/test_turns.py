"""Whose turn it is: slots are shared fairly, nobody starves, and no turn is given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, text

from models import Agent, Priority, State, Transfer
from models.transitions import advance
from models.turns import HANDICAPS, Slots, admit, has_room, waits_behind
from tests.integration.test_ledger import Ledger, engine  # noqa: F401  a fixture

MB = 1_000_000
SLOTS = Slots(16)


class Harbour:
    """Agents and their transfers in a database of which nobody else gives turns."""

    def __init__(self, engine: Engine) -> None:  # noqa: F811
        self.ledger = Ledger(engine)
        self.ledger.do(lambda session: session.execute(text("TRUNCATE argosy.transfers CASCADE")))

    def agent(self, **columns: Any) -> UUID:
        made = uuid4()
        self.ledger.do(lambda session: session.add(Agent(id=made, name=made.hex, **columns)))
        return made

    def wait(
        self, agent: UUID, count: int = 1, priority: Priority = Priority.NORMAL, ago: float = 0
    ) -> list[UUID]:
        """So many transfers of an agent that wait, asked for `ago` seconds ago, in their order."""
        asked = datetime.now(UTC) - timedelta(seconds=ago)
        made = []
        for number in range(count):
            turn_at = asked + HANDICAPS[priority] + timedelta(milliseconds=number)
            made.append(
                self.ledger.transfer(
                    State.QUEUED, agent_id=agent, priority=priority, turn_at=turn_at
                )
            )
        return made

    def admit(self, slots: Slots = SLOTS, most: int = 100) -> Sequence[UUID]:
        return self.ledger.do(
            lambda session: admit(session, slots, republish_seconds=60, most=most)
        )

    def end(self, transfer_id: UUID) -> None:
        def work(session: Any) -> None:
            assert advance(session, session.get_one(Transfer, transfer_id), State.CANCELLED)

        self.ledger.do(work)

    def has_room(self, agent: UUID, slots: Slots = SLOTS) -> bool:
        return self.ledger.do(
            lambda session: has_room(session, session.get_one(Agent, agent), slots)
        )

    def running(self) -> Counter[UUID]:
        rows = self.ledger.do(
            lambda session: session.execute(
                text(
                    "SELECT agent_id FROM argosy.transfers WHERE admitted_at IS NOT NULL "
                    "AND state = 'queued'"
                )
            ).all()
        )
        return Counter(row.agent_id for row in rows)


@pytest.fixture
def harbour(engine: Engine) -> Harbour:  # noqa: F811
    return Harbour(engine)


def test_an_agent_that_is_alone_gets_half_and_leaves_half(harbour: Harbour) -> None:
    one, other = harbour.agent(), harbour.agent()
    harbour.wait(one, 40)
    assert len(harbour.admit()) == 8
    assert not harbour.has_room(one)
    assert harbour.has_room(other)


def test_whoever_comes_later_does_not_wait_for_those_before(harbour: Harbour) -> None:
    one, other = harbour.agent(), harbour.agent()
    harbour.wait(one, 200, ago=1000)
    harbour.admit()
    [late] = harbour.wait(other)
    assert harbour.admit() == [late]


def test_several_share_alike(harbour: Harbour) -> None:
    agents = [harbour.agent() for _ in range(3)]
    for agent in agents:
        harbour.wait(agent, 30)
    harbour.admit()
    assert set(harbour.running().values()) == {4}  # 16 / (3 + 1)


def test_a_weight_is_a_multiple_of_the_share(harbour: Harbour) -> None:
    light, heavy = harbour.agent(), harbour.agent(weight=3)
    for agent in (light, heavy):
        harbour.wait(agent, 60)
    slots = Slots(100)
    harbour.admit(slots)
    running = harbour.running()
    assert 2.5 <= running[heavy] / running[light] <= 3.5


def test_more_agents_than_slots_all_get_their_turn(harbour: Harbour) -> None:
    agents = [harbour.agent() for _ in range(40)]
    for agent in agents:
        harbour.wait(agent, 3)
    seen: Counter[UUID] = Counter()
    for _ in range(400):
        given = harbour.admit()
        owners = {one: harbour.ledger.row(one).agent_id for one in given}
        seen.update(owners.values())
        if not given:
            break
        for one in given:
            harbour.end(one)
    assert seen == dict.fromkeys(agents, 3)


def test_a_turn_that_ends_is_given_to_who_holds_least(harbour: Harbour) -> None:
    one, other = harbour.agent(), harbour.agent()
    harbour.wait(one, 50)
    given = harbour.admit()
    harbour.wait(other, 50)
    for _ in range(20):
        harbour.end(given[0])
        given = [*given[1:], *harbour.admit()]
    running = harbour.running()
    assert abs(running[one] - running[other]) <= 1


def test_an_agents_own_limit_holds(harbour: Harbour) -> None:
    few, usual = harbour.agent(max_transfers=2), harbour.agent()
    harbour.wait(few, 10)
    harbour.wait(usual, 10)
    harbour.admit(Slots(16, of_agent=3))
    assert harbour.running() == {few: 2, usual: 3}
    assert not harbour.has_room(few, Slots(16, of_agent=3))


def test_an_agent_with_a_rate_holds_what_moves_at_it(harbour: Harbour) -> None:
    slow, faster = harbour.agent(bytes_per_second=3 * MB), harbour.agent(bytes_per_second=13 * MB)
    told, usual = harbour.agent(bytes_per_second=3 * MB, max_transfers=5), harbour.agent()
    agents = (slow, faster, told, usual)
    for agent in agents:
        harbour.wait(agent, 10)
    slots = Slots(1000, rate=5 * MB)
    harbour.admit(slots)
    assert harbour.running() == {slow: 1, faster: 4, told: 5, usual: 2}
    assert not any(harbour.has_room(agent, slots) for agent in agents)


@pytest.mark.parametrize(
    ("first", "then"),
    [(Priority.URGENT, Priority.NORMAL), (Priority.NORMAL, Priority.BULK)],
)
def test_the_more_urgent_of_one_agent_goes_first(
    harbour: Harbour, first: Priority, then: Priority
) -> None:
    agent = harbour.agent()
    later = harbour.wait(agent, 1, then, ago=30)
    urgent = harbour.wait(agent, 1, first)
    assert [*harbour.admit(most=1), *harbour.admit(most=1)] == [*urgent, *later]


def test_what_waited_long_goes_before_what_is_more_urgent(harbour: Harbour) -> None:
    agent = harbour.agent()
    bulk = harbour.wait(agent, 1, Priority.BULK, ago=601)
    urgent = harbour.wait(agent, 1, Priority.URGENT)
    assert [*harbour.admit(most=1), *harbour.admit(most=1)] == [*bulk, *urgent]


def test_who_has_others_that_wait_waits_behind_them(harbour: Harbour) -> None:
    agent = harbour.agent()
    [first] = harbour.wait(agent)
    assert not harbour.has_room(agent)
    row = harbour.ledger.row(first)
    assert not harbour.ledger.do(lambda session: waits_behind(session, row))
    [second] = harbour.wait(agent)
    row = harbour.ledger.row(second)
    assert harbour.ledger.do(lambda session: waits_behind(session, row))


def test_two_that_give_turns_at_once_give_each_once_and_no_slot_too_many(
    harbour: Harbour,
) -> None:
    agents = [harbour.agent() for _ in range(4)]
    for agent in agents:
        harbour.wait(agent, 20)
    given = harbour.ledger.at_once(
        *[lambda session: list(admit(session, SLOTS, republish_seconds=60))] * 4
    )
    every = [one for found in given for one in found]
    assert len(every) == len(set(every))
    assert sum(harbour.running().values()) == len(every) <= SLOTS.all


def test_what_is_held_takes_no_slot_and_gets_no_turn(harbour: Harbour) -> None:
    agent = harbour.agent()
    [held] = harbour.wait(agent)

    def hold(session: Any) -> None:
        assert advance(session, session.get_one(Transfer, held), State.PAUSED)

    harbour.ledger.do(hold)
    assert harbour.admit() == []


def test_a_turn_costs_the_same_however_many_wait(harbour: Harbour) -> None:
    """By its indexes alone: it reads some rows of each agent, and not those that wait."""
    agents = [harbour.agent() for _ in range(20)]
    harbour.ledger.do(
        lambda session: session.execute(
            text(
                "INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket, "
                "object_name, name, content_type, path) SELECT gen_random_uuid(), 'upload', "
                "CASE WHEN n % 2 = 0 THEN 'queued' ELSE 'completed' END, (:agents)[1 + n % 20], "
                "'0', 'b', 'o', 'n', 't', '/p' FROM generate_series(1, 100000) n"
            ),
            {"agents": agents},
        )
    )
    harbour.ledger.do(lambda session: session.execute(text("ANALYZE argosy.transfers")))

    def read(session: Any) -> int:
        count = text(
            "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables "
            "WHERE relid = 'argosy.transfers'::regclass"
        )
        before = session.scalar(count) or 0
        assert len(admit(session, SLOTS, republish_seconds=60, most=1)) == 1
        return int(session.scalar(count)) - before

    assert harbour.ledger.do(read) < 500
