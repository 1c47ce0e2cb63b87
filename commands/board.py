"""Progress, where people see it: bars in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from argosy.errors import Error
from argosy.progress import Subscriber
from commands.output import note, shown, size

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

LINE_SECONDS = 10.0
"""Between two lines about one file, where there is no terminal."""

quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")


class Board:
    """Shows nothing; what is said goes to standard output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""

    def follow(self, name: str, total: int | None) -> Subscriber:  # noqa: ARG002
        """What hears of one transfer; `total` in bytes, None where nobody knows."""
        return Subscriber()

    def say(self, text: str) -> None:
        """A line of the command's output, whole and at once."""
        click.echo(text)


class Lines(Board):
    """A line on standard error now and then."""

    def follow(self, name: str, total: int | None) -> Subscriber:
        """See Board."""
        return _Line(name, total)


class _Line(Subscriber):
    def __init__(self, name: str, total: int | None) -> None:
        self._name, self._total = name, total
        self._told_at = time.monotonic()

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        now = time.monotonic()
        if now - self._told_at < LINE_SECONDS:
            return
        self._told_at = now
        total = bytes_total if bytes_total is not None else self._total
        of_all = f" of {size(total)}" if total is not None else ""
        left = f", {eta:.0f} s left" if eta is not None else ""
        note(f"{self._name}: {size(bytes_done)}{of_all}, {size(rate)}/s{left}")


class Bars(Board):
    """A bar for each file that is on its way, and one for all where there are several."""

    def __init__(self, files: int, total: int | None) -> None:
        self._progress = _progress()
        self._lock = threading.Lock()
        self._all: TaskID | None = None
        if files > 1:
            self._all = self._progress.add_task("All", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def follow(self, name: str, total: int | None) -> Subscriber:
        """See Board."""
        return _Bar(self, self._progress, name, total)

    def say(self, text: str) -> None:
        """Above the bars where both are one terminal; else straight to the output."""
        if sys.stdout.isatty():
            self._progress.console.print(text, markup=False, soft_wrap=True, highlight=False)
        else:
            click.echo(text)

    def add(self, count: int, total: int = 0) -> None:
        """So many bytes more of all have arrived; `total` changes how many there are."""
        if self._all is None:
            return
        with self._lock:
            whole = next(task for task in self._progress.tasks if task.id == self._all)
            if total and whole.total is not None:
                self._progress.update(self._all, total=whole.total + total)
        self._progress.update(self._all, advance=count)


class _Bar(Subscriber):
    """One file's bar: there while it is on its way."""

    def __init__(self, board: Bars, progress: Progress, name: str, total: int | None) -> None:
        self._board, self._progress = board, progress
        self._name, self._total = shown(name), total
        self._bar: TaskID | None = None
        self._seen = 0

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        del transfer_id, name
        total = bytes_total if bytes_total is not None else self._total
        self._bar = self._progress.add_task(self._name, total=total)

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        del rate, eta
        if self._bar is not None:
            total = bytes_total if bytes_total is not None else self._total
            self._progress.update(self._bar, completed=bytes_done, total=total)
        self._board.add(bytes_done - self._seen)
        self._seen = bytes_done

    def on_done(self, result: Any) -> None:
        del result
        self._end()

    def on_error(self, error: Error) -> None:
        del error
        self._board.add(-self._seen, total=-(self._total or 0))
        self._end()

    def _end(self) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None


def board(files: int, total: int | None, *, quiet: bool) -> Board:
    """The board for so many files of so many bytes in all."""
    if quiet:
        return Board()
    return Bars(files, total) if _is_screen() else Lines()


def _is_screen() -> bool:
    """Whether standard error is a terminal on which a line can be written again."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.is_terminal and not console.is_dumb_terminal


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, highlight=False)
    return Progress(
        *_parts(console.width),
        console=console,
        refresh_per_second=5,
        transient=True,
        redirect_stdout=False,  # the output is not the screen's
        redirect_stderr=False,
        expand=True,
    )


def _parts(width: int) -> list[ProgressColumn]:
    """What fits: in a narrow terminal the name and the percentage."""
    from rich import progress
    from rich.table import Column

    name = Column(ratio=2, no_wrap=True, overflow="ellipsis")
    parts: list[ProgressColumn] = [
        progress.TextColumn("{task.description}", markup=False, table_column=name)
    ]
    if width >= 40:
        parts.append(progress.BarColumn(bar_width=None, table_column=Column(ratio=3)))
    parts.append(progress.TaskProgressColumn())
    if width >= 70:
        parts += [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    if width >= 50:
        parts.append(progress.TimeRemainingColumn(compact=True))
    return parts
