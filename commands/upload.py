"""`argosy upload`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from argosy.options import Compress, Priority, UploadOptions
from argosy.reference import FileReference
from commands import mistakes
from commands.account import client
from commands.board import Board, board, quiet_option
from commands.exits import Exit, exit_of_all
from commands.kinds import Pair
from commands.output import as_json as dumped
from commands.output import json_option, note, shown
from commands.together import together

if TYPE_CHECKING:
    from uuid import UUID

    from argosy.client import Client


@dataclass(frozen=True)
class _Upload:
    """What is common to the files of one command."""

    client: Client
    board: Board
    options: UploadOptions
    metadata: dict[str, str]
    as_json: bool

    def now(self, file: str) -> FileReference:
        """In this process; `-` is standard input."""
        options = self._followed(file)
        if file == "-":
            name = options.name or "stdin"
            source = sys.stdin.buffer
            return self.client.upload_stream(source, name, self.metadata, options=options)
        return self.client.upload_file(file, self.metadata, options=options)

    def later(self, file: str) -> UUID:
        """By the fleet."""
        return self.client.upload_later(file, self.metadata, options=self.options)

    def later_and_wait(self, file: str) -> FileReference:
        """By the fleet, until it is done."""
        transfer = self.later(file)
        told = _told(file, transfer, as_json=self.as_json)
        note(told if self.as_json else f"{file}: transfer {told}")
        followers = self._followed(file).subscribers
        return FileReference.parse(self.client.wait(transfer, subscribers=followers))  # type: ignore[arg-type]

    def _followed(self, file: str) -> UploadOptions:
        follower = self.board.follow(self.options.name or Path(file).name, _size(file))
        return replace(self.options, subscribers=(follower,))


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(allow_dash=True),
    help="Files of this machine; - is standard input, which needs --name.",
)
@click.option("--bucket", help="Bucket to store them in; ARGOSY_BUCKET by default.")
@click.option("--name", help="Name for people, in any script; the file's own by default.")
@click.option("--content-type", help="Media type; found out by default.")
@click.option(
    "--share-with",
    multiple=True,
    metavar="NAME",
    help="Agent, or role:reader and its like, that may read them. May be repeated.",
)
@click.option(
    "--metadata",
    multiple=True,
    type=Pair(),
    metavar="NAME=VALUE",
    help="Something of your own about them. May be repeated.",
)
@click.option(
    "--compress",
    type=click.Choice(get_args(Compress)),
    help="Store them compressed: auto is zstd where it pays. A download gives the file itself.",
)
@click.option("--later", is_flag=True, help="Have the fleet upload them, out of its spool.")
@click.option(
    "--wait", is_flag=True, help="With --later: wait for the fleet. Else it waits anyway."
)
@click.option(
    "--process",
    type=click.Choice(["auto"]),
    help="With --later: have the fleet do with each what its type calls for.",
)
@click.option(
    "--priority",
    type=click.Choice(get_args(Priority)),
    help="With --later: which of your transfers have their turn first.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at once."
)
@quiet_option
@json_option
def upload(
    *,
    files: tuple[str, ...],
    bucket: str | None,
    name: str | None,
    content_type: str | None,
    share_with: tuple[str, ...],
    metadata: tuple[tuple[str, str], ...],
    compress: Compress | None,
    later: bool,
    wait: bool,
    process: Literal["auto"] | None,
    priority: Priority | None,
    jobs: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Upload files.

    Prints bucket/path of each file, which names it everywhere else; with --json its
    reference. With --later it prints the transfer's id instead, unless it waits.
    What was killed goes on where it was when it is run again, but for what is compressed.

    Example: argosy upload report.bin data.csv --share-with weather
    """
    _check(files, name, later=later)
    if process and not later:
        raise click.UsageError("--process is the fleet's work: add --later.")
    if priority and not later:
        raise click.UsageError("--priority is for the fleet's work: add --later.")
    options = UploadOptions(
        bucket=bucket,
        name=name,
        content_type=content_type,
        share_with=share_with,
        compress=compress,
        process=process,
        priority=priority,
    )
    with (
        client() as agent,
        board(len(files), _total(files), quiet=quiet or (later and not wait)) as shows,
    ):
        job = _Upload(agent, shows, options, dict(metadata), as_json)
        codes = _run(_way(job, later=later, wait=wait), files, jobs, shows, as_json=as_json)
    if code := exit_of_all(codes):
        raise click.exceptions.Exit(code)


def _check(files: Sequence[str], name: str | None, *, later: bool) -> None:
    if "-" in files:
        if len(files) > 1 or later:
            raise click.UsageError("- (standard input) is uploaded alone, and not --later.")
        if not name:
            raise click.UsageError("- (standard input) needs a name: add --name.")
    if name and len(files) > 1:
        raise click.UsageError("--name is for one file.")


def _way(job: _Upload, *, later: bool, wait: bool) -> Callable[[str], FileReference | UUID]:
    if not later:
        return job.now
    return job.later_and_wait if wait else job.later


def _run(
    work: Callable[[str], FileReference | UUID],
    files: Sequence[str],
    jobs: int,
    shows: Board,
    *,
    as_json: bool,
) -> list[int]:
    """Do them all, tell of each as it ends, and return what each one's exit code would be."""
    import celery  # noqa: F401  here, since two threads that import it at once may fail

    with together(work, files, min(jobs, len(files))) as ended:
        return [_tell(file, future, shows, as_json=as_json) for file, future in ended]


def _tell(file: str, future: Future[FileReference | UUID], shows: Board, *, as_json: bool) -> int:
    error = future.exception()
    if error is None:
        shows.say(_told(file, future.result(), as_json=as_json))
        return Exit.DONE
    mistake = mistakes.explain(error)
    if mistake is None:
        raise error
    mistake.tell(as_json=as_json, about=file)
    return mistake.exit_code


def _told(file: str, result: FileReference | UUID, *, as_json: bool) -> str:
    if isinstance(result, FileReference):
        return dumped(result.document()) if as_json else shown(f"{result.bucket}/{result.path}")
    return dumped({"file": file, "transfer": str(result)}) if as_json else str(result)


def _size(file: str) -> int | None:
    try:
        return Path(file).stat().st_size if file != "-" else None
    except (OSError, ValueError):
        return None  # the upload says why


def _total(files: Sequence[str]) -> int | None:
    return sum(_size(file) or 0 for file in files)
