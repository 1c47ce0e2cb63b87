"""`argosy stat`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from commands import refs
from commands.account import client
from commands.kinds import ref_argument
from commands.output import document, json_option, moment, say, size

if TYPE_CHECKING:
    from argosy.derived import Derived
    from argosy.info import FileInfo
    from argosy.reference import FileReference

Line = tuple[str, str]
"""A name and what is said under it."""


@click.command()
@ref_argument
@json_option
def stat(*, ref: str, as_json: bool) -> None:
    """Show what Storage says of a file.

    REF is as for download. Of a reference, and so of a transfer's id, it also shows what
    the fleet has found in the file and made of it.

    Example: argosy stat agent-transfers/6f.../9a.../report.bin
    """
    with client() as agent:
        named = refs.one(agent, ref)
        found = agent.get_file_metadata(named)
    reference = None if isinstance(named, str) else named
    if as_json:
        document(found.document() | _inside(reference))
        return
    for name, said in (*_stored(found), *lines_of(reference)):
        if said:
            say(f"{name:<12} {said}")


def _inside(reference: FileReference | None) -> dict[str, Any]:
    """What only a reference says of a file, as JSON."""
    said = reference.document() if reference else {}
    return {name: said[name] for name in ("facts", "derivatives") if said.get(name)}


def _stored(found: FileInfo) -> Iterator[Line]:
    yield "name", found.name
    yield "file", f"{found.bucket}/{found.path}"
    yield "size", _exactly(found.size)
    yield "type", found.content_type
    if found.encoding:
        yield "encoding", found.encoding
        yield "stored size", _exactly(found.stored_size)
    yield "sha256", found.sha256 or ""
    yield "md5", found.md5 or ""
    yield "owner", str(found.owner or "")
    yield "transfer", str(found.transfer or "")
    yield "stored at", moment(found.modified_at)
    yield "expires at", moment(found.expires_at)
    for name, said in found.metadata.items():
        yield f"  {name}", said


def lines_of(reference: FileReference | None) -> Iterator[Line]:
    """What the fleet has found in a file, and made of it."""
    if reference is None:
        return
    if reference.facts:
        yield from _flat("facts", reference.facts.model_dump(mode="json"))
    for made in reference.derivatives:
        yield made.kind, _derived(made)


def _flat(name: str, said: Any) -> Iterator[Line]:
    """What is within each other as `facts.image.width`; what is not known is left out."""
    if isinstance(said, dict):
        for inner, value in said.items():
            yield from _flat(f"{name}.{inner}", value)
    elif isinstance(said, list):
        yield name, ", ".join(map(str, said))
    elif said is not None:
        yield name, str(said).lower() if isinstance(said, bool) else str(said)


def _derived(made: Derived) -> str:
    if made.reason:
        return f"{made.state}: {made.reason}"
    edges = f"{made.width} x {made.height}" if made.width and made.height else ""
    told = (made.content_type, edges, size(made.size), made.path)
    return f"{made.state}: " + ", ".join(word for word in told if word)


def _exactly(count: int | None) -> str:
    return size(count) + (f" ({count} bytes)" if count and count >= 1000 else "")
