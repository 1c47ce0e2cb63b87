"""Doing several slow things at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed


def together(
    calls: Sequence[Callable[[], None]], *, otherwise: Callable[[], None] = lambda: None
) -> None:
    """Make all calls, each in a thread; at the first error `otherwise`, then wait and raise."""
    with ThreadPoolExecutor(max(1, len(calls))) as pool:
        try:
            for done in as_completed([pool.submit(call) for call in calls]):
                done.result()
        except BaseException:
            otherwise()
            raise
