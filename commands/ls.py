"""`argosy ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from argosy.options import ListOptions
from commands.account import client
from commands.output import document, json_option, moment, note, say, size

if TYPE_CHECKING:
    from argosy.info import FileInfo
    from argosy.settings import AgentSettings


@click.command()
@click.argument("prefix", default="", help="How the names begin; bucket/PREFIX will do too.")
@click.option("--bucket", help="Bucket to look into; ARGOSY_BUCKET by default.")
@click.option("--long", "-l", "is_long", is_flag=True, help="With size, time and media type.")
@click.option("--limit", type=click.IntRange(1), help="Most files to list.")
@json_option
def ls(*, prefix: str, bucket: str | None, is_long: bool, limit: int | None, as_json: bool) -> None:
    """List stored files.

    Prints bucket/path of every file that the agent may read, by name. Storage does not tell
    an agent whether there is a bucket; of one that is missing, no file is listed.

    Example: argosy ls --long --limit 20
    """
    with client() as agent:
        options = ListOptions(limit=limit)
        bucket, prefix = _place(agent.settings, bucket, prefix)
        found = None
        for found in agent.list_files(bucket, prefix, options):
            if as_json:
                document(found.document())
            else:
                say(_long(found) if is_long else f"{found.bucket}/{found.path}")
        if found is None and not as_json and bucket not in _own(agent.settings):
            note(
                f"There is no bucket {bucket}, or none of its files that begin so is this agent's "
                "to read: check the name."
            )


def _place(settings: AgentSettings, bucket: str | None, prefix: str) -> tuple[str, str]:
    """Bucket and prefix; what a command has printed can be given back."""
    first, _, rest = prefix.partition("/")
    if bucket is None and first in _own(settings):
        return first, rest
    return bucket or settings.bucket, prefix


def _own(settings: AgentSettings) -> tuple[str, str]:
    """The buckets that the fleet has made: there whether anything is in them or not."""
    return settings.bucket, settings.persistent_bucket


def _long(found: FileInfo) -> str:
    cells = (f"{size(found.size):>10}", moment(found.modified_at), f"{found.content_type:<24}")
    return f"{'  '.join(cells)}  {found.bucket}/{found.path}"
