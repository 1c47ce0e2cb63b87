"""`argosy stat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands import refs
from commands.account import client
from commands.kinds import ref_argument
from commands.output import document, json_option, moment, say, size

if TYPE_CHECKING:
    from argosy.info import FileInfo


@click.command()
@ref_argument
@json_option
def stat(*, ref: str, as_json: bool) -> None:
    """Show what Storage says of a file.

    REF is as for download.

    Example: argosy stat agent-transfers/6f.../9a.../report.bin
    """
    with client() as agent:
        found = agent.get_file_metadata(refs.one(agent, ref))
    if as_json:
        document(found.document())
        return
    for name, said in _lines(found).items():
        if said:
            say(f"{name:<13}{said}")


def _lines(found: FileInfo) -> dict[str, str]:
    exactly = f" ({found.size} bytes)" if found.size and found.size >= 1000 else ""
    facts = {
        "name": found.name,
        "file": f"{found.bucket}/{found.path}",
        "size": size(found.size) + exactly,
        "type": found.content_type,
        "sha256": found.sha256 or "",
        "md5": found.md5 or "",
        "owner": str(found.owner or ""),
        "transfer": str(found.transfer or ""),
        "stored at": moment(found.modified_at),
        "expires at": moment(found.expires_at),
    }
    return facts | {f"  {name}": said for name, said in found.metadata.items()}
