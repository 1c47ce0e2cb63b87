"""`argosy share` and `argosy unshare`."""

from __future__ import annotations

import click

from argosy.reference import FileReference
from commands import refs
from commands.account import client
from commands.kinds import Duration, ref_argument
from commands.output import document, json_option, say

with_option = click.option(
    "--with",
    "names",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Agent, or role:reader and its like. May be repeated.",
)


@click.command()
@ref_argument
@with_option
@click.option("--write", is_flag=True, help="Let them write it, too.")
@click.option(
    "--for",
    "length",
    type=Duration(),
    metavar="TIME",
    help="For so long: 90, 30s, 10m, 1h, 7d, 2w; as long as the file by default.",
)
@json_option
def share(
    *, ref: str, names: tuple[str, ...], write: bool, length: float | None, as_json: bool
) -> None:
    """Let other agents read a file.

    REF is as for download. Prints who may do what then.

    Example: argosy share agent-transfers/6f.../9a.../report.bin --with weather --for 7d
    """
    access = "write" if write else "read"
    with client() as agent:
        found = refs.one(agent, ref)
        _tell(agent.share(found, names, access=access, seconds=length), as_json=as_json)


@click.command()
@ref_argument
@with_option
@json_option
def unshare(*, ref: str, names: tuple[str, ...], as_json: bool) -> None:
    """Take a file's sharing back.

    REF is as for download. Prints who may still do what.

    Example: argosy unshare agent-transfers/6f.../9a.../report.bin --with weather
    """
    with client() as agent:
        found = refs.one(agent, ref)
        _tell(agent.unshare(found, names), as_json=as_json)


def _tell(reference: FileReference, *, as_json: bool) -> None:
    if as_json:
        document(reference.document())
        return
    say(f"{reference.bucket}/{reference.path}")
    for grant in reference.grants or ("shared with nobody",):
        say(f"  {grant}")
