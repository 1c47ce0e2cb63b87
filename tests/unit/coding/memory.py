"""Memory that a block of code takes at its peak, in whatever language it was allocated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1024 * 1024


@contextmanager
def little_memory(most: int = 32 * MIB) -> Iterator[None]:
    """Fails when the process has grown by more bytes than `most`, if only for a moment."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _kept("VmRSS")
    yield
    grown = _kept("VmHWM") - before
    assert grown < most


def _kept(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024
