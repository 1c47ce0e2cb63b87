"""A process of its own for work that takes memory: ours stays as small as an agent's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def apart() -> Iterator[ProcessPoolExecutor]:
    """One process, new and with one thread that works; it ends with the context."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process
