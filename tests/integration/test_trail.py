"""SHA-256 of a download behind its chunks: right, or not said at all.

The ledger, the spool and the fleet's code are real, in one process. While the pass rests, the
test does what other workers would do: a step each time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from argosy.errors import ChecksumMismatch, DestinationUnwritable, InternalError
from argosy.files import write_at
from models import Chunk, State, Transfer
from models.chunk_claims import release_chunk
from models.ledger import lay_out
from models.prefix import FIRST, digest_of, entry_of
from models.window import open_window
from tasks import trail
from tasks.assemble import _verify_file
from tasks.chunk import enter, take_chunk
from tasks.lease import Lease, LeaseLost
from tasks.spool import Partial
from tests.integration.test_ledger_machine import world
from tests.steered.world import LARGE, PART, World, content_of

__all__ = ["world"]  # a fixture of theirs

CONTENT = content_of(LARGE)
PARTS = LARGE // PART + 1
Step = Callable[[], object]


class Steps(Lease):
    """A lease whose every rest is a step of the test; it counts the blocks that were read."""

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        super().__init__(lambda: True, 1000)
        self._steps = iter(steps)
        self.rested: list[float] = []
        self.blocks = 0

    def rest(self, seconds: float) -> None:
        self.rested.append(seconds)
        next(self._steps, lambda: None)()

    def check(self, _moved: int = 0) -> None:
        self.blocks += 1
        super().check()


class Download:
    """A download of five chunks that is on its way, and what its workers do."""

    def __init__(self, world: World) -> None:
        self.id = uuid4()
        self._world = world
        self.path = world.spool / self.id.hex
        world.look(self._enter)
        self.partial = Partial(world.fleet.spool, str(self.path), str(self.id))
        self.partial.create(LARGE)
        self.own = self.take(FIRST)
        self.write(FIRST)

    def _enter(self, session: Any) -> None:
        row = Transfer(
            id=self.id,
            kind="download",
            state=State.MOVING,
            agent_id=self._world.agent,
            request_sha256="0",
            bucket="b",
            object_name="o",
            name="n",
            content_type="t",
            path=str(self.path),
            size=LARGE,
            sha256=sha256(CONTENT).hexdigest(),
            part_size=PART,
            part_count=PARTS,
            chunks_left=PARTS,
        )
        session.add(row)
        session.flush()
        lay_out(session, self.id, LARGE, PART, digest=False)
        open_window(session, self.id, PARTS, 1000)

    @property
    def row(self) -> Transfer:
        return self._world.fleet.transact(lambda session: session.get_one(Transfer, self.id))

    def take(self, number: int, *, takeover: bool = False) -> Chunk:
        taken = take_chunk(self.id, number, "w", takeover=takeover)
        assert taken
        return taken[1]

    def write(self, number: int, content: bytes = CONTENT) -> None:
        start = (number - 1) * PART
        with self.partial.open() as fd:
            write_at(fd, content[start : start + PART], start)

    def store(self, held: Chunk) -> None:
        self.write(held.number)
        enter(held, "etag")

    def arrive(self, *numbers: int) -> None:
        for number in numbers:
            self.store(self.take(number))

    def put_back(self, held: Chunk) -> None:
        self._world.fleet.transact(
            lambda session: release_chunk(
                session, held, InternalError("no"), retry_in=0, blameless=True
            )
        )

    def trail(self, lease: Lease) -> str | None:
        with self.partial.open() as fd:
            return trail.trail(self.row, self.own, fd, lease)

    def end(self, entry: str | None) -> None:
        """The first chunk is entered, the last of all."""
        enter(self.own, entry)
        assert self.row.state == State.ASSEMBLING

    def known(self) -> str | None:
        return self._world.fleet.transact(lambda session: digest_of(session, self.id))

    def verify(self) -> int:
        """Verify the file; returns how many blocks were read for it."""
        lease = Steps()
        _verify_file(self.row, lease)
        return lease.blocks


@pytest.fixture
def download(world: World) -> Iterator[Download]:
    yield Download(world)
    world.end()


SHA256 = sha256(CONTENT).hexdigest()


def test_it_follows_what_arrives_in_any_order(download: Download) -> None:
    third = download.take(3)
    lease = Steps(
        [
            lambda: download.arrive(2),
            lambda: download.arrive(5),
            lambda: download.store(third),  # and for a moment nobody holds one
            lambda: download.arrive(4),
        ]
    )
    found = download.trail(lease)
    assert found == entry_of(SHA256)
    download.end(found)
    assert download.known() == SHA256
    assert download.verify() == 0


def test_where_nobody_moves_anything_it_is_left_at_once(download: Download) -> None:
    download.arrive(2, 3)
    lease = Steps()
    assert download.trail(lease) is None
    assert lease.rested == [trail.HANDOVER_SECONDS]
    assert lease.blocks == 0
    download.arrive(4, 5)
    download.end("etag")
    assert download.known() is None
    assert download.verify() > 0


def test_a_slow_network_is_not_waited_for(download: Download) -> None:
    download.take(2)
    lease = Steps()
    assert download.trail(lease) is None
    most = trail.PATIENCE_SECONDS + 2 * trail.LOOK_SECONDS
    assert trail.PATIENCE_SECONDS < sum(lease.rested) < most


@pytest.mark.parametrize("number", [2, PARTS])
def test_no_other_chunk_does_it(download: Download, number: int) -> None:
    download.arrive(*range(2, number))
    download.own = download.take(number)
    lease = Steps()
    assert download.trail(lease) is None
    assert not lease.rested


def test_nor_does_whoever_has_taken_the_first_one_over(download: Download) -> None:
    download.take(2)
    download.own = download.take(FIRST, takeover=True)
    lease = Steps()
    assert download.trail(lease) is None
    assert not lease.rested


def test_a_pass_that_lost_its_claim_enters_nothing(download: Download) -> None:
    download.arrive(*range(2, PARTS + 1))
    found = download.trail(Steps())
    again = download.take(FIRST, takeover=True)
    with pytest.raises(LeaseLost):
        download.end(found)
    download.store(again)
    assert download.row.state == State.ASSEMBLING
    assert download.known() is None
    assert download.verify() > 0


def test_a_pass_whose_claim_is_lost_meanwhile_ends(download: Download) -> None:
    download.take(2)

    def lose() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        download.trail(Steps([lose]))


def test_a_chunk_that_was_taken_twice_ends_it(download: Download) -> None:
    first, second = download.take(2), download.take(3)
    lease = Steps(
        [
            lambda: download.store(first),
            lambda: (download.put_back(second), download.take(3), download.take(4)),
        ]
    )
    assert download.trail(lease) is None
    assert sum(lease.rested) < trail.PATIENCE_SECONDS


def test_what_was_taken_twice_is_read_again(download: Download) -> None:
    """Whoever lost a chunk writes into it after it was hashed."""
    stale = download.take(4)
    download.put_back(stale)
    download.arrive(*range(2, PARTS + 1))
    download.end(entry_of(SHA256))
    assert download.known() is None
    assert download.verify() > 0
    download.write(stale.number, bytes(LARGE))
    with pytest.raises(ChecksumMismatch):
        download.verify()


def test_a_digest_of_what_is_not_there_ends_nothing(download: Download) -> None:
    """A host may have read what it saw before another host wrote: the file itself decides."""
    download.arrive(*range(2, PARTS + 1))
    download.end(entry_of("0" * 64))
    assert download.verify() > 0


def test_what_was_hashed_is_on_the_disk(
    download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads it again, also after a power cut: so a disk that refuses is heard."""
    download.arrive(*range(2, PARTS + 1))

    def refuse(_fd: int) -> None:
        raise OSError(errno.EIO, "the disk has lost it")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DestinationUnwritable):
        download.trail(Steps())


def test_other_bytes_than_promised_are_refused(download: Download) -> None:
    download.arrive(*range(2, PARTS))
    last = download.take(PARTS)
    download.write(PARTS, bytes(LARGE))
    enter(last, "etag")
    found = download.trail(Steps())
    assert found not in (None, entry_of(SHA256))
    download.end(found)
    with pytest.raises(ChecksumMismatch):
        download.verify()


def test_what_others_could_see_is_read_again(download: Download) -> None:
    """A worker died once the file had its name: whoever knows the name may have written since."""
    _arrived(download)
    assert download.verify() == 0
    download.partial.publish()
    assert download.verify() > 0
    download.path.write_bytes(bytes(LARGE))
    with pytest.raises(ChecksumMismatch):
        download.verify()


def test_what_has_two_names_is_read_again_too(download: Download) -> None:
    """It died between giving the name and taking the other one away."""
    _arrived(download)
    download.path.hardlink_to(_partial(download))
    download.path.write_bytes(bytes(LARGE))
    with pytest.raises(ChecksumMismatch):
        download.verify()


def test_a_file_that_was_cut_is_refused(download: Download) -> None:
    _arrived(download)
    os.truncate(_partial(download), LARGE - 1)
    with pytest.raises(ChecksumMismatch):
        download.verify()


def _arrived(download: Download) -> None:
    download.arrive(*range(2, PARTS + 1))
    download.end(download.trail(Steps()))


def _partial(download: Download) -> Path:
    return download.path.with_name(f".argosy-{download.id}.part")
