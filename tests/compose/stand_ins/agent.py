"""The main job, run by an agent of the deployment: files up and down by `.delay()`, compared.

python -m tests.compose.stand_ins.agent SIZE_MIB
"""

from __future__ import annotations

import sys
from pathlib import Path

from argosy import FileReference
from argosy.settings import AgentSettings, load
from local.demo.agent import Agent
from local.demo.cargo import MIB, Item, cargo
from local.demo.show import Follower, console, table
from local.demo.voyage import there_and_back
from tasks import transfer

SPOOL = Path("/spool")
SECONDS = 120


def thumbnail(picture: Item) -> int:
    """Have one made of a picture that is stored; returns its size in bytes."""
    stored = transfer.upload.s(str(picture.path)) | transfer.thumbnail.s(sizes=[128])
    reference = FileReference.parse(stored.delay().get(timeout=SECONDS))
    [made] = reference.derivatives
    return int(made.size)


def main(size_mib: int) -> None:
    """Carry three files there and back; ends with an error where one is not the same."""
    output = console()
    agent = Agent(load(AgentSettings))
    try:
        with cargo(SPOOL, file=None, size=size_mib * MIB) as items:
            table(output, there_and_back(agent, items, [], Follower(output)))
            picture = next(item for item in items if item.path.suffix == ".jpg")
            output.print(f"a thumbnail of {picture.name}: {thumbnail(picture)} bytes")
    finally:
        agent.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
