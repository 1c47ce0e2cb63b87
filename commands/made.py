"""`argosy inspect`, `argosy thumbnail`, `argosy compress`: work of the fleet on a stored file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from argosy.derived import Encoding
from argosy.file_work import PictureFormat
from commands import refs
from commands.account import client
from commands.kinds import ref_argument
from commands.output import document, json_option, say, size
from commands.stat import lines_of

if TYPE_CHECKING:
    from argosy.reference import FileReference


@click.command()
@ref_argument
@json_option
def inspect(*, ref: str, as_json: bool) -> None:
    """Have the fleet look into a file, and show what it found.

    REF is as for download. The type is by the file's bytes, not by its name.

    Example: argosy inspect agent-transfers/6f.../9a.../photo.jpg
    """
    with client() as agent:
        _show(agent.inspect(refs.one(agent, ref)), as_json=as_json)


@click.command()
@ref_argument
@click.option(
    "--size", "sizes", type=int, multiple=True, help="Longest edge in pixels; repeatable."
)
@click.option(
    "--format", "form", type=click.Choice(get_args(PictureFormat)), help="Of the picture."
)
@click.option("--quality", type=click.IntRange(1, 100), help="Of the picture.")
@json_option
def thumbnail(
    *, ref: str, sizes: tuple[int, ...], form: Any, quality: int | None, as_json: bool
) -> None:
    """Have the fleet make thumbnails of a picture, a video or a PDF.

    REF is as for download. What is not said is as the fleet's settings have it.

    Example: argosy thumbnail --size 256 --size 1024 agent-transfers/6f.../9a.../photo.jpg
    """
    with client() as agent:
        found = refs.one(agent, ref)
        made = agent.thumbnail(found, sizes=sizes or None, format=form, quality=quality)
        _show(made, as_json=as_json)


@click.command()
@ref_argument
@click.option(
    "--encoding",
    type=click.Choice(get_args(Encoding)),
    default="zstd",
    show_default=True,
    help="How: gzip for those who read nothing else.",
)
@json_option
def compress(*, ref: str, encoding: Encoding, as_json: bool) -> None:
    """Have the fleet store a compressed copy of a file, where that pays.

    REF is as for download. Whoever downloads the copy gets the file as it was.

    Example: argosy compress --json agent-transfers/6f.../9a.../server.log
    """
    with client() as agent:
        _show(agent.compress(refs.one(agent, ref), encoding=encoding), as_json=as_json)


def _show(reference: FileReference, *, as_json: bool) -> None:
    if as_json:
        document(reference.document())
        return
    say(f"{'file':<12} {reference.bucket}/{reference.path}")
    if reference.stored:
        say(f"{'stored size':<12} {size(reference.stored.size)} of {size(reference.size)}")
    for name, said in lines_of(reference):
        say(f"{name:<12} {said}")
