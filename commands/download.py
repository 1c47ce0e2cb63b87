"""`argosy download`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from argosy.options import DownloadOptions
from argosy.reference import FileReference
from commands import refs
from commands.account import client
from commands.board import Board, board, quiet_option
from commands.kinds import ref_argument
from commands.output import as_json as dumped
from commands.output import json_option, shown

if TYPE_CHECKING:
    from argosy.client import Client
    from argosy.progress import Subscriber


@click.command()
@ref_argument
@click.argument(
    "dest", type=click.Path(allow_dash=True), help="New file, folder, or - (standard output)."
)
@click.option("--no-cache", is_flag=True, help="Neither take it from the cache nor put it there.")
@quiet_option
@json_option
def download(*, ref: str, dest: str, no_cache: bool, quiet: bool, as_json: bool) -> None:
    """Download a file.

    REF is bucket/path, the id of a transfer of your own, a file with a reference's
    JSON, or - for that on standard input. In a folder it gets its own name. DEST
    appears once every byte is there and verified, and its path is printed; nothing
    is overwritten. What is killed goes on where it was when it is run again.

    Example: argosy download agent-transfers/6f.../9a.../report.bin copy.bin
    """
    if dest == "-" and as_json:
        raise click.UsageError("--json and - would share standard output.")
    with client() as agent:
        found = _reference(agent, refs.one(agent, ref))
        with board(1, found.size, quiet=quiet) as shows:
            follower = shows.follow(found.name, found.size)
            if dest == "-":
                _write_out(agent, found, follower)
                return
            options = DownloadOptions(cache=not no_cache, subscribers=(follower,))
            path = agent.download_file(found, dest, options=options)
            _tell(shows, path, found, as_json=as_json)


def _reference(agent: Client, found: refs.Found) -> FileReference:
    if isinstance(found, FileReference):
        return found
    return agent.get_file_metadata(found).reference()


def _write_out(agent: Client, found: FileReference, follower: Subscriber) -> None:
    done, began = 0, time.monotonic()
    follower.on_queued(str(found.id), found.name, found.size)
    for block in agent.iter_bytes(found):
        sys.stdout.buffer.write(block)
        done += len(block)
        rate = done / max(time.monotonic() - began, 1e-6)
        follower.on_progress(done, found.size, rate, (found.size - done) / rate)
    sys.stdout.buffer.flush()
    follower.on_done(found)


def _tell(shows: Board, path: Path, found: FileReference, *, as_json: bool) -> None:
    if as_json:
        shows.say(dumped({"path": str(path), "reference": found.document()}))
    else:
        shows.say(shown(str(path)))
