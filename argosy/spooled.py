"""Whether a file is in the spool, where the agent knows the fleet's: said before anything is sent.

The fleet decides. What only it can tell (a link that leads out, another host's mounts) goes there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from argosy.errors import SourceOutsideSpool


def check_spooled(path: Path, spool: Sequence[Path], named: Iterable[str] = ()) -> None:
    """Raise SourceOutsideSpool for what is in none of the folders; `named` are other hosts'.

    Without a spool nothing is known, and nothing is refused; nor is what can be no path.
    """
    if not spool or "\0" in str(path):
        return
    ways = {Path(os.path.normpath(path)), Path(os.path.realpath(path))}
    folders = [*spool, *map(Path, named)]
    if ways & set(spool) or not any(way.is_relative_to(one) for way in ways for one in folders):
        raise SourceOutsideSpool(why_outside(path, folders))


def why_outside(path: str | Path, folders: Sequence[Path]) -> str:
    """What is wrong with a path that is no file's in one of these folders, and what to do."""
    if Path(path) in folders:
        return f"{path} is the spool folder itself: name a file in it."
    roots = ", ".join(map(str, folders))
    return f"{path} is not inside the spool ({roots}): put the file there."
