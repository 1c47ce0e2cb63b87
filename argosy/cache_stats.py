"""How well the caches do: figures of one cache, and metrics of the whole process."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from weakref import WeakSet

from prometheus_client import Counter, Gauge

_HITS = Counter("argosy_cache_hits", "What was asked for and there.", ["cache"])
_MISSES = Counter("argosy_cache_misses", "What was asked for and not there.", ["cache"])
_EVICTIONS = Counter("argosy_cache_evictions", "What had to go for something newer.", ["cache"])
_BYTES = Gauge(
    "argosy_cache_bytes",
    "Bytes of the cached files.",
    ["cache"],
    multiprocess_mode="mostrecent",
)


_all: WeakSet[Tally] = WeakSet()


@dataclass(frozen=True)
class Stats:
    """Figures since this cache was made; `bytes` is what everybody keeps in it by now."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    bytes: int = 0


class Tally:
    """Counts for one cache and for the process's metrics. Any thread may count."""

    def __init__(self, name: str) -> None:
        self.stats = Stats()
        self._hits = _HITS.labels(name)
        self._misses = _MISSES.labels(name)
        self._evictions = _EVICTIONS.labels(name)
        self._bytes = _BYTES.labels(name)
        self.renew()
        _all.add(self)

    def renew(self) -> None:
        """Forget who held the lock: that thread does not exist in a forked child."""
        self._lock = threading.Lock()

    def hit(self) -> None:
        """Something was there."""
        self._hits.inc()
        self._add(hits=1)

    def missed(self) -> None:
        """Something was not there."""
        self._misses.inc()
        self._add(misses=1)

    def evicted(self) -> None:
        """Something had to go."""
        self._evictions.inc()
        self._add(evictions=1)

    def holds(self, count: int) -> None:
        """So many bytes are kept."""
        self._bytes.set(count)

    def _add(self, *, hits: int = 0, misses: int = 0, evictions: int = 0) -> None:
        with self._lock:
            was = self.stats
            self.stats = replace(
                was,
                hits=was.hits + hits,
                misses=was.misses + misses,
                evictions=was.evictions + evictions,
            )


def _renew_all() -> None:
    for tally in _all:
        tally.renew()


os.register_at_fork(after_in_child=_renew_all)
