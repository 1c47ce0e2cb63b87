"""The harness can fail: with one rule of the design switched off it reports a violation.

The same scenario with the rule in force reports none.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from models import Priority
from tasks.messages import CHUNKS
from tests.deployment import remote, until
from tests.faults.harness import checks
from tests.faults.harness.asked import Asked
from tests.faults.harness.cargo import Source
from tests.faults.harness.checks import EXPLAINED, Evidence
from tests.faults.harness.ends import end_of, look_at_kept
from tests.faults.harness.http_proxy import CORRUPTED, SPOILED, Exchange, Trouble
from tests.faults.harness.journal import Journal
from tests.faults.harness.load import Load
from tests.faults.harness.settle import settle
from tests.faults.harness.world import World, world
from tests.faults.mutant import NOTHING

DICE = Random(0)
AMISS_SECONDS = 20
"""For a world in which something is amiss: longer than any wait of a row for its message."""
SPOILT = frozenset({"checksum_mismatch"})
"""How a download rightly fails whose bytes were spoiled on their way."""

pytestmark = pytest.mark.skipif(remote(), reason="these tests break the servers they run on")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Servers; each scenario has workers of its own."""
    with world(tmp_path_factory.mktemp("stage"), {"ARGOSY_LEASE_SECONDS": "3"}) as made:
        yield made


# Scenarios


def stale_claim(load: Load) -> None:
    """A child stands still with its part sent; when it goes on, the part is another's to store."""
    storage = load.world.storage
    storage.withholds = lambda exchange: exchange.part == 1
    one = _upload(load, load.cargo.middling[-1])  # of one part
    child = _holder_of_waiting(load, one)
    os.kill(child, signal.SIGSTOP)
    until(lambda: len(storage.waiting) == 2, what="the part sent by another child")
    second = storage.waiting[1]
    storage.withholds = lambda exchange: exchange is second
    os.kill(child, signal.SIGCONT)
    until(lambda: _said(load, '"chunk.stored"', '"chunk.not_moved"'), what="the stale child's word")
    storage.withholds = lambda _exchange: False


def corrupted_part(load: Load) -> None:
    """A bit of a part is turned on its way, once, and a bit of a small file."""
    for source in (load.cargo.large[0], load.cargo.small[-1]):
        first = itertools.count()
        load.world.storage.trouble = Trouble(
            CORRUPTED, 1, DICE, lambda _exchange, first=first: next(first) == 0
        )
        _finish(load, _upload(load, source))
    load.world.storage.trouble = None


def lost_messages(load: Load) -> None:
    """The worker dies, and the messages of all chunks are lost with the broker's queue."""
    storage, worker = load.world.storage, load.world.server("mutant")
    storage.withholds = lambda exchange: exchange.part is not None
    one = _upload(load, load.cargo.large[2])
    _holder_of_waiting(load, one)
    worker.kill()
    queue = CHUNKS[Priority.NORMAL]
    until(lambda: load.world.messages_in(queue), what="messages that came back")
    load.world.purge(queue)
    storage.withholds = lambda _exchange: False
    worker.start()


def cancelled_on_its_way(load: Load) -> None:
    """A transfer is cancelled while its parts are sent."""
    storage = load.world.storage
    storage.withholds = lambda exchange: exchange.part == 2
    one = _upload(load, load.cargo.large[3])
    _holder_of_waiting(load, one)
    _finish(load, load.ask(DICE, "cancel", "transfer.cancel", one.id, agent=one.agent))
    storage.withholds = lambda _exchange: False


def late_object(load: Load) -> None:
    """A small file reaches Storage when its transfer has been cancelled and cleaned up."""
    storage = load.world.storage
    storage.holds = lambda exchange: exchange.is_upload
    one = _upload(load, load.cargo.small[-2])  # what the sockets hold
    child = _holder_of_waiting(load, one)
    os.kill(child, signal.SIGSTOP)
    _finish(load, load.ask(DICE, "cancel", "transfer.cancel", one.id, agent=one.agent))
    until(lambda: load.world.transfer(one.id).cleaned_at, what="the cleaning up")
    storage.holds = lambda _exchange: False
    place = load.world.transfer(one.id).object_name
    until(lambda: place in load.world.objects(one.agent), what="the object")
    os.kill(child, signal.SIGCONT)


def spoiled_download(load: Load) -> None:
    """A bit of a file is turned on its way down, once."""
    _finish(load, _upload(load, load.cargo.small[-1]))
    reference, source, agent = load.files[-1]
    load.world.storage.trouble = Trouble(SPOILED, 1, DICE, _is_of(reference.path))
    place = str(load.world.destinations / f"{uuid4()}.bin")
    named = (reference.document(), place)
    _finish(
        load, load.ask(DICE, "download", "transfer.download", *named, agent=agent, source=source)
    )
    load.world.storage.trouble = None


def unrecorded_result(load: Load) -> None:
    """Whoever would record a result loses its connection to Valkey, again and again."""
    storage, valkey = load.world.storage, load.world.proxies["valkey"]
    storage.withholds = lambda exchange: exchange.is_upload
    one = _upload(load, load.cargo.small[2])
    _holder_of_waiting(load, one)
    valkey.is_silent = True
    storage.withholds = lambda _exchange: False

    def lost() -> bool:
        load.world.crossing.call(valkey.cut_silenced)
        return _said(load, "result.not_recorded", "Exception raised outside body")

    until(lost, what="a result that is not recorded")
    valkey.is_silent = False
    _finish(load, one)


def swept_although_named(load: Load) -> None:
    """A message names a file whose time ends, and two sweeps pass."""
    _finish(load, _upload(load, load.cargo.small[-1]))
    reference, _, agent = load.files.pop()
    message = str(uuid4())
    _finish(
        load,
        load.ask(DICE, "pin", "transfer.pin", message, [reference.document()], agent=agent),
    )
    end_of(load, reference)
    before = _sweeps(load)
    until(lambda: _sweeps(load) >= before + 2, what="two sweeps")
    assert look_at_kept(load, reference)
    _finish(load, load.ask(DICE, "unpin", "transfer.unpin", message, agent=agent))


def _sweeps(load: Load) -> int:
    """Rounds that have come to their end."""
    ended = "SELECT id FROM argosy.rounds WHERE name = 'sweep' AND ended_at IS NOT NULL"
    return len(load.world.query(ended))


def _is_of(path: str) -> Callable[[Exchange], bool]:
    return lambda exchange: path in exchange.target


def _upload(load: Load, source: Source) -> Asked:
    return load.ask(DICE, "upload", "transfer.upload", str(source.path), source=source)


def _finish(load: Load, one: Asked) -> None:
    def answered() -> bool:
        load.look()
        return one.answer is not None

    until(answered, what=f"the answer to {one.load}")


def _holder_of_waiting(load: Load, one: Asked) -> int:
    """The process whose request waits in the proxy."""

    def its_own() -> list[Exchange]:
        return [each for each in load.world.storage.waiting if one.id in each.target]

    until(its_own, what="a request that waits")
    number = its_own()[0].part or 1
    [chunk] = [chunk for chunk in load.world.chunks(one.id) if chunk.number == number]
    return int(chunk.worker.rpartition("/")[2])


def _all_answered(load: Load) -> bool:
    load.look()
    return not load.open


def _said(load: Load, *events: str) -> bool:
    """Whether the worker has logged any of them."""
    said = load.world.server("mutant").log_path.read_text()
    return any(event in said for event in events)


# Rules


@dataclass(frozen=True)
class Case:
    """A scenario in which a rule matters, and the check that misses it."""

    scenario: Callable[[Load], None]
    noticed_by: str


CASES = {
    "epoch": Case(stale_claim, "a stale claim changed nothing"),
    "etag": Case(corrupted_part, "stored bytes are those that were sent"),
    "resume": Case(lost_messages, "nothing is stuck"),
    "abort": Case(cancelled_on_its_way, "no unfinished uploads"),
    "leave": Case(late_object, "no orphan objects"),
    "verify": Case(spoiled_download, "downloads are whole"),
    "pin": Case(swept_although_named, "no file went while a message named it"),
    "results": Case(unrecorded_result, "nothing acknowledged was taken back"),
}


@contextmanager
def fleet_without(rule: str, stage: World) -> Iterator[None]:
    """One worker and beat, in a world that knows of nothing yet."""
    stage.forget()
    (stage.data / "logs" / "mutant.log").unlink(missing_ok=True)
    worker, beat = stage.start_mutant(rule), stage.start_beat()
    try:
        yield
    finally:
        stage.storage.forget()
        stage.proxies["valkey"].is_silent = False
        worker.kill()
        beat.kill()


@pytest.mark.parametrize("rule", CASES)
def test_without_the_rule_it_is_noticed(stage: World, tmp_path: Path, rule: str) -> None:
    case = CASES[rule]
    with fleet_without(rule, stage):
        load = Load(stage, Journal(tmp_path / "journal.jsonl"), seed=1)
        case.scenario(load)
        found = checks.violations(Evidence(stage, load, settle(load, AMISS_SECONDS)))
    assert found[case.noticed_by]


def test_with_the_rules_nothing_is_wrong(stage: World, tmp_path: Path) -> None:
    with fleet_without(NOTHING, stage):
        load = Load(stage, Journal(tmp_path / "journal.jsonl"), seed=1)
        for case in CASES.values():
            case.scenario(load)
            stage.storage.forget()
            until(lambda: _all_answered(load), what="every answer")
        found = checks.violations(Evidence(stage, load, settle(load), EXPLAINED | SPOILT))
    assert not {name: lines for name, lines in found.items() if lines}
