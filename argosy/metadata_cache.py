"""What Storage has said of files, kept in memory for a moment."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Self
from weakref import WeakSet

from argosy.cache_stats import Stats, Tally
from argosy.info import FileInfo
from argosy.settings import AgentSettings

Place = tuple[str, str]

_all: WeakSet[MetadataCache] = WeakSet()


class MetadataCache:
    """The metadata of the `entries` files that were asked for last, each for `seconds`.

    Any thread may ask. Without entries or seconds it keeps nothing.
    """

    def __init__(
        self, entries: int, seconds: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries = entries if seconds else 0
        self._seconds = seconds
        self._clock = clock
        self._tally = Tally("metadata")
        self.renew()
        _all.add(self)

    @classmethod
    def of(cls, settings: AgentSettings) -> Self:
        """The cache that the settings ask for."""
        return cls(settings.metadata_entries, settings.metadata_seconds)

    @property
    def stats(self) -> Stats:
        """How often it helped."""
        return self._tally.stats

    def renew(self) -> None:
        """Begin empty, and with a lock that nobody holds: in a forked child."""
        self._lock = threading.Lock()
        self._forgotten = 0
        self._found: OrderedDict[Place, tuple[float, FileInfo]] = OrderedDict()

    def get(self, bucket: str, path: str, load: Callable[[], FileInfo]) -> FileInfo:
        """What is known of a file, or else what `load` says. Raises what `load` raises."""
        place = (bucket, path)
        with self._lock:
            known, forgotten = self._fresh(place), self._forgotten
        if known:
            self._tally.hit()
            return known
        self._tally.missed()
        asked_at = self._clock()
        found = load()
        with self._lock:
            if forgotten == self._forgotten:  # else it may be what was to be forgotten
                self._keep(place, asked_at, found)
        return found

    def forget(self, bucket: str, path: str) -> None:
        """A file is changed or gone."""
        with self._lock:
            self._forgotten += 1
            self._found.pop((bucket, path), None)

    def _fresh(self, place: Place) -> FileInfo | None:
        asked_at, found = self._found.get(place, (0.0, None))
        if found is None:
            return None
        if self._clock() - asked_at >= self._seconds:
            del self._found[place]
            return None
        self._found.move_to_end(place)
        return found

    def _keep(self, place: Place, asked_at: float, found: FileInfo) -> None:
        self._found[place] = (asked_at, found)
        self._found.move_to_end(place)
        while len(self._found) > self._entries:
            self._found.popitem(last=False)
            if self._entries:
                self._tally.evicted()


def _renew_all() -> None:
    for cache in _all:
        cache.renew()


os.register_at_fork(after_in_child=_renew_all)
