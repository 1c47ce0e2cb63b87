"""What the demo shows: bars or lines while files move, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from local.demo.cargo import Item
from local.demo.voyage import Carried, Shown

_FULL_WIDTH = 190
_UNLIMITED_WIDTH = 220
_STEP = 10  # percent, between two lines


def console() -> Console:
    """A console; wide enough for the table where no terminal says how wide it is."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_UNLIMITED_WIDTH)


class Follower:
    """Shows a leg of the voyage, as the output allows."""

    def __init__(self, output: Console) -> None:
        self._output = output

    @contextmanager
    def __call__(self, way: str, items: Sequence[Item]) -> Iterator[Shown]:
        """Show these files moving."""
        if not self._output.is_terminal:
            yield _Lines(self._output, way, items)
            return
        columns = (
            TextColumn(f"[bold]{way:>4}[/]  {{task.description}}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._output) as progress:
            yield _Bars(progress, items)


class _Bars:
    """A bar for each file."""

    def __init__(self, progress: Progress, items: Sequence[Item]) -> None:
        self._progress = progress
        self._sizes = {item.name: item.size for item in items}
        self._bars = {item.name: progress.add_task(item.name, total=item.size) for item in items}

    def progress(self, name: str, done: int) -> None:
        self._progress.update(self._bars[name], completed=done)

    def done(self, name: str) -> None:
        self.progress(name, self._sizes[name])


class _Lines:
    """A line for each tenth of a file."""

    def __init__(self, output: Console, way: str, items: Sequence[Item]) -> None:
        self._output = output
        self._way = way
        self._sizes = {item.name: item.size for item in items}
        self._said = dict.fromkeys(self._sizes, 0)

    def progress(self, name: str, done: int) -> None:
        percent = 100 * done // max(self._sizes[name], 1)
        if percent >= self._said[name] + _STEP:
            self._said[name] = percent - percent % _STEP
            self._say(name, f"{percent} % of {megabytes(self._sizes[name])}")

    def done(self, name: str) -> None:
        self._say(name, "done")

    def _say(self, name: str, what: str) -> None:
        self._output.print(f"  {self._way:>4}  {name}: {what}", markup=False)


def megabytes(size: int) -> str:
    """A size for people: millions of bytes where there are any."""
    if size >= 1_000_000:
        return f"{size / 1e6:,.1f} MB"
    return f"{size / 1e3:,.1f} kB" if size >= 1000 else f"{size} B"


def table(output: Console, carried: Sequence[Carried]) -> None:
    """Print what was carried, how fast, and where it is."""
    wide = output.width >= _FULL_WIDTH
    bucket = carried[0].reference.bucket
    made = Table(
        title=f"Carried through bucket {bucket}; the same, bit for bit",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    made.add_column("file", overflow="fold")
    for name in ("size", "chunks", "s up", "MB/s up", "s down", "MB/s down"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("sha256", no_wrap=True)
    if wide:
        made.add_column("object path", overflow="fold")
    for one in carried:
        made.add_row(*_cells(one), *([one.reference.path] if wide else []))
    output.print(made)
    if not wide:
        for one in carried:
            output.print(f"  {one.reference.path}", markup=False, soft_wrap=True)


def _cells(one: Carried) -> list[str]:
    size, seconds = one.item.size, (one.seconds_up, one.seconds_down)
    figures = [text for s in seconds for text in (f"{s:.2f}", f"{size / s / 1e6:,.1f}")]
    chunks = str(one.reference.chunk_count)
    return [one.item.name, megabytes(size), chunks, *figures, f"{one.item.sha256[:8]}…"]
