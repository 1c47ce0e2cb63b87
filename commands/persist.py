"""`argosy persist`."""

from __future__ import annotations

import click

from argosy.options import UploadOptions
from commands import refs
from commands.account import client
from commands.board import board, quiet_option
from commands.kinds import ref_argument
from commands.output import as_json as dumped
from commands.output import json_option, shown


@click.command()
@ref_argument
@click.option("--name", help="Name of the copy, for people; the file's own by default.")
@quiet_option
@json_option
def persist(*, ref: str, name: str | None, quiet: bool, as_json: bool) -> None:
    """Keep a file.

    It is copied, inside Storage, to the bucket of files that are kept. REF is as for
    download. Prints bucket/path of the copy, which is your own; with --json its reference.

    Example: argosy persist agent-transfers/6f.../9a.../report.bin
    """
    with client() as agent:
        found = refs.one(agent, ref)
        with board(1, None, quiet=quiet) as shows:
            follower = shows.follow(refs.place(found).rpartition("/")[2], None)
            options = UploadOptions(name=name, subscribers=(follower,))
            kept = agent.persist(found, options=options)
            place = shown(f"{kept.bucket}/{kept.path}")
            shows.say(dumped(kept.document()) if as_json else place)
