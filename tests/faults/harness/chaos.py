"""When which fault happens: planned from the seed, then done."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.faults.harness.faults import KINDS, Kind, Scene
from tests.faults.harness.load import Load

GAP_SECONDS = 4.0
"""Between the beginnings of two faults, on average."""
RECOVERY_SECONDS = 6.0
"""For which the same target is left alone afterwards."""


@dataclass(frozen=True)
class Planned:
    """One fault to come; `at` in seconds since the run began."""

    at: float
    kind: Kind
    target: str
    seconds: float
    seed: float


def plan(seed: int, seconds: float) -> list[Planned]:
    """The schedule of a run: the same for the same seed and time."""
    dice, deck = Random(f"{seed}/faults"), _deck(Random(f"{seed}/deck"))
    busy_until: dict[str, float] = {}
    planned: list[Planned] = []
    at = 4.0
    while at < seconds - 4:
        kind = next(deck)
        target = dice.choice(kind.targets)
        length = min(dice.uniform(*kind.seconds), seconds - at)
        if busy_until.get(target, 0) <= at:
            planned.append(Planned(at, kind, target, length, dice.random()))
            busy_until[target] = at + length + RECOVERY_SECONDS
            at += dice.expovariate(1 / GAP_SECONDS)
    return planned


def _deck(dice: Random) -> Iterator[Kind]:
    """Every kind as often as its weight says, shuffled, again and again."""
    cards = [kind for kind in KINDS.values() for _ in range(kind.weight)]
    first = list(KINDS.values())  # even a short run has most of them
    dice.shuffle(first)
    yield from first
    while True:
        dice.shuffle(cards)
        yield from cards


class Chaos:
    """Does what was planned, each fault in a thread of its own."""

    def __init__(self, load: Load, planned: list[Planned]) -> None:
        self._load, self._planned = load, planned
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._targets: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def look(self, seconds: float) -> None:
        """Begin what is due so many seconds after the start."""
        while self._planned and self._planned[0].at <= seconds:
            thread = threading.Thread(target=self._do, args=(self._planned.pop(0),))
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Nothing more is broken; what is, is mended."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._load.world.heal()

    def _do(self, planned: Planned) -> None:
        journal, kind, began = self._load.journal, planned.kind, time.monotonic()
        scene = Scene(self._load.world, self._load, planned.target, Random(planned.seed))
        facts = {"kind": kind.name, "target": planned.target}
        try:
            # One that takes long to come back is broken again only then.
            with self._targets[planned.target], kind.breaking(scene) as hit:
                journal.note("fault", **facts, hit=hit, seconds=round(planned.seconds, 1))
                self._over.wait(planned.seconds)
        except Exception as error:  # the fleet is to be judged, not the hammer: said, and mended
            journal.note("fault failed", **facts, error=f"{type(error).__name__}: {error}"[:300])
            return
        if planned.seconds:
            journal.note("mended", **facts, after=round(time.monotonic() - began, 1))
