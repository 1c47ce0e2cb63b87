"""The load: what agents ask for, at random but by the seed. A kind of load is a function.

A kind asks for something by `Load.ask`, and may go on from the answer, or after a while.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from argosy.auth import TOKEN_HEADER
from argosy.errors import Error
from argosy.reference import FileReference
from tasks import transfer
from tests.deployment import AgentInTest
from tests.faults.harness.answers import Answers
from tests.faults.harness.asked import Answer, Asked
from tests.faults.harness.cargo import Cargo, Source, sha256_of
from tests.faults.harness.journal import Journal
from tests.faults.harness.stored import content_of
from tests.faults.harness.world import World

Kind = Callable[["Load", Random], None]
KINDS: dict[str, tuple[int, Kind]] = {}
"""By name: how often, compared with the others, and the function."""

MOST_OPEN = 30
"""Requests without an answer; while there are more, nothing new is asked."""
MOST_STORED = 4_000_000_000
"""Bytes in Storage above which the oldest files are deleted, or in the spool removed."""


def load(weight: int) -> Callable[[Kind], Kind]:
    """Register a kind of load."""

    def register(kind: Kind) -> Kind:
        KINDS[kind.__name__] = (weight, kind)
        return kind

    return register


class Load:
    """What was asked, and what is known of it. For one thread."""

    def __init__(self, world: World, journal: Journal, seed: int) -> None:
        self.world, self.journal = world, journal
        self.cargo = Cargo(world.spool / "cargo", seed)
        self.agents = [world.add_agent() for _ in range(3)]
        self.asked: dict[str, Asked] = {}
        self.files: list[tuple[FileReference, Source, AgentInTest]] = []
        """Stored files that nobody has asked to delete."""
        self.arrived: list[tuple[Asked, int]] = []
        """Downloads that lie in the spool, and their sizes."""
        self.broken: list[str] = []
        """What was seen to be wrong on the way."""
        self.gone_early: list[str] = []
        """Files that a sweep took although a message named them."""
        self._answers = Answers(world)
        self._dice = Random(f"{seed}/load")
        self._names = [name for name, (weight, _) in KINDS.items() for _ in range(weight)]
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    # The clock's hand

    @property
    def open(self) -> list[Asked]:
        """What has no answer yet, and should have one."""
        return [one for one in self.asked.values() if one.answer is None and one.confirmed]

    def step(self) -> None:
        """Ask for the next thing, unless enough is on its way."""
        if len(self.open) < MOST_OPEN:
            dice = Random(self._dice.random())  # whatever a kind takes, the next one gets the same
            KINDS[dice.choice(self._names)][1](self, dice)

    def look(self) -> None:
        """Read new answers, and do what is due."""
        while self._later and self._later[0][0] < time.monotonic():
            heapq.heappop(self._later)[2]()
        waiting = [one.id for one in self.asked.values() if one.answer is None]
        try:
            answers = self._answers.of(waiting)
        except RedisError:
            return
        for task_id, answer in answers.items():
            self._hear(self.asked[task_id], answer)
        self._make_room()

    def in_a_while(self, seconds: float, act: Callable[[], None]) -> None:
        """Do something later."""
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), act))

    # Asking

    def ask(
        self,
        dice: Random,
        load_name: str,
        task: str,
        *arguments: Any,
        agent: AgentInTest | None = None,
        source: Source | None = None,
        sources: tuple[Source, ...] = (),
        about: str = "",
        and_then: Callable[[Answer], None] | None = None,
        chained: tuple[str, ...] = (),
        **options: Any,
    ) -> Asked:
        """Send a request; what is `chained` follows it, and is asked by it."""
        agent = agent or dice.choice(self.agents)
        one = Asked(str(uuid4()), load_name, task, agent, arguments, options, source=source)
        one.sources, one.about = sources, about
        line = [one]
        for name in chained:
            line.append(Asked(str(uuid4()), load_name, name, agent, (), {}, source=source))
            line[-1].after = line[-2].id
        for each in line:
            self.asked[each.id] = each
        if and_then:
            line[-1].and_then.append(and_then)
        self.send(one, *line[1:])
        return line[-1]

    def send(self, one: Asked, *chain: Asked) -> None:
        """Hand the message to the broker, and note whether it has it."""
        first = self._signed(one)
        for link in chain:
            first |= _signature(link)
        self.journal.note(
            "asked", id=one.id, load=one.load, task=one.task, then=[link.id for link in chain]
        )
        try:
            policy = {"max_retries": 2, "interval_start": 0.2}
            first.apply_async(retry=True, retry_policy=policy)
        except (OSError, KombuError, RedisError) as error:
            self.journal.note("not confirmed", id=one.id, error=type(error).__name__)
            return
        one.confirmed = True
        self.journal.note("confirmed", id=one.id)

    def send_again(self, one: Asked) -> None:
        """Hand the broker the same message once more, if it takes it; from any thread."""
        with contextlib.suppress(OSError, KombuError, RedisError):
            self._signed(one).apply_async(retry=False)

    def _signed(self, one: Asked) -> Any:
        token = self.world.mint.token_for(one.agent.id)
        return _signature(one).set(headers={TOKEN_HEADER: token})

    # Hearing

    def _hear(self, one: Asked, answer: Answer) -> None:
        one.answer = answer
        file = answer.file.sha256 if answer.file else ""
        self.journal.note("answered", id=one.id, load=one.load, how=answer.brief, sha256=file)
        for link in self.asked.values():
            if link.after == one.id:
                link.confirmed = answer.ok  # the fleet sends it, or not
        if answer.ok and one.source:
            self._receive(one, answer, one.source)
        for told in one.and_then:
            told(answer)

    def _receive(self, one: Asked, answer: Answer, source: Source) -> None:
        if answer.file and one.makes_a_file:
            self.files.append((answer.file, source, one.agent))
        if one.task == "transfer.download":
            path = one.arguments[1]
            if not Path(path).exists() or sha256_of(Path(path)) != source.sha256:
                self.broken.append(f"download {one.id}: {path} is not what was stored")
            self.arrived.append((one, source.size))

    def _make_room(self) -> None:
        while sum(size for _, size in self.arrived) > MOST_STORED // 4:
            Path(self.arrived.pop(0)[0].arguments[1]).unlink(missing_ok=True)
        if sum(source.size for _, source, _ in self.files) > MOST_STORED:
            reference, source, agent = self.files.pop(0)
            try:
                said = content_of(self.world, agent, reference)
            except Error:
                self.files.insert(0, (reference, source, agent))
                return
            if said != source.sha256:
                self.broken.append(f"{reference.path} is not what was sent")
            self.delete(Random(0), reference, agent)

    def unpause(self, one: Asked) -> None:
        """Have a transfer go on."""
        control(self, Random(0), one, "transfer.unpause")

    def delete(self, dice: Random, reference: FileReference, agent: AgentInTest) -> None:
        """Have a stored file removed."""
        self.files = [known for known in self.files if known[0].path != reference.path]
        self.ask(
            dice,
            "delete",
            "transfer.delete",
            reference.document(),
            agent=agent,
            about=reference.path,
        )


def _signature(one: Asked) -> Any:
    task = getattr(transfer, one.task.partition(".")[2])
    return task.signature(one.arguments, one.options, task_id=one.id)


# The kinds


def _upload(self: Load, dice: Random, name: str, source: Source, **more: Any) -> Asked:
    return self.ask(dice, name, "transfer.upload", str(source.path), source=source, **more)


@load(10)
def small_upload(self: Load, dice: Random) -> None:
    _upload(self, dice, "small_upload", dice.choice(self.cargo.small))


@load(4)
def middling_upload(self: Load, dice: Random) -> None:
    """Around the size from which files go in parts."""
    _upload(self, dice, "middling_upload", dice.choice(self.cargo.middling))


@load(8)
def large_upload(self: Load, dice: Random) -> None:
    _upload(self, dice, "large_upload", dice.choice(self.cargo.large))


@load(4)
def hurried_upload(self: Load, dice: Random) -> None:
    """Of another class than the others'."""
    source = dice.choice([*self.cargo.small, *self.cargo.large])
    _upload(self, dice, "hurried_upload", source, priority=dice.choice(("urgent", "bulk")))


@load(4)
def compressed_upload(self: Load, dice: Random) -> None:
    how = dice.choice(("zstd", "gzip", "auto"))
    source = dice.choice(self.cargo.texts)
    _upload(self, dice, "compressed_upload", source, compress=how)


@load(2)
def processed_upload(self: Load, dice: Random) -> None:
    """With what its type calls for: facts, thumbnails."""
    source = dice.choice(self.cargo.pictures)
    _upload(self, dice, "processed_upload", source, process="auto")


@load(3)
def chain(self: Load, dice: Random) -> None:
    step = dice.choice(("transfer.inspect", "transfer.thumbnail"))
    source = dice.choice(self.cargo.pictures)
    _upload(self, dice, "chain", source, chained=(step,))


@load(10)
def download(self: Load, dice: Random) -> None:
    _download(self, dice, "download", "spool/back")


@load(3)
def cramped_download(self: Load, dice: Random) -> None:
    """To a small disk, which may be full."""
    _download(self, dice, "cramped_download", "cramped")


def _download(self: Load, dice: Random, name: str, folder: str) -> None:
    if not self.files:
        return small_upload(self, dice)
    reference, source, agent = dice.choice(self.files)
    place = self.world.data / folder / f"{uuid4()}.bin"
    self.ask(
        dice,
        name,
        "transfer.download",
        reference.document(),
        str(place),
        agent=agent,
        source=source,
    )
    return None


@load(4)
def copy(self: Load, dice: Random) -> None:
    if not self.files:
        return small_upload(self, dice)
    reference, source, agent = dice.choice(self.files)
    self.ask(dice, "copy", "transfer.copy", reference.document(), agent=agent, source=source)
    return None


@load(3)
def delete(self: Load, dice: Random) -> None:
    if self.files:
        reference, _, agent = dice.choice(self.files)
        self.delete(dice, reference, agent)


@load(2)
def missing_upload(self: Load, dice: Random) -> None:
    """Of a file that is not there: it fails, with that as the reason."""
    self.ask(dice, "missing_upload", "transfer.upload", str(self.world.spool / "nowhere"))


@load(3)
def asked_twice(self: Load, dice: Random) -> None:
    """Two requests with one idempotency key are one transfer."""
    source = dice.choice([*self.cargo.small, *self.cargo.large[:3]])
    agent, key = dice.choice(self.agents), str(uuid4())
    for _ in range(2):
        _upload(self, dice, "asked_twice", source, agent=agent, idempotency_key=key)


@load(4)
def cancelled(self: Load, dice: Random) -> None:
    one = _upload(self, dice, "cancelled", dice.choice(self.cargo.large))
    self.in_a_while(
        dice.uniform(0, 4),
        lambda: control(self, dice, one, "transfer.cancel"),
    )


@load(4)
def paused(self: Load, dice: Random) -> None:
    """And told to go on after some seconds."""
    one = _upload(self, dice, "paused", dice.choice(self.cargo.large))
    begin, rest = dice.uniform(0, 3), dice.uniform(1, 6)
    self.in_a_while(begin, lambda: control(self, dice, one, "transfer.pause"))
    self.in_a_while(begin + rest, lambda: control(self, dice, one, "transfer.unpause"))


def control(self: Load, dice: Random, one: Asked, task: str) -> None:
    """Have a transfer steered, by its own agent."""
    self.ask(dice, task.partition(".")[2], task, one.id, agent=one.agent, about=one.id)


@load(2)
def pinned(self: Load, dice: Random) -> None:
    """A message names a file; once that is known, the message is acknowledged."""
    if not self.files:
        return
    reference, _, agent = dice.choice(self.files)
    message = str(uuid4())

    def unpin(answer: Answer) -> None:
        if answer.ok:
            self.ask(dice, "unpinned", "transfer.unpin", message, agent=agent)

    document = reference.document()
    self.ask(dice, "pinned", "transfer.pin", message, [document], agent=agent, and_then=unpin)
