"""The main job, run by an agent of the deployment: files up and down by `.delay()`, compared.

    python -m tests.compose.stand_ins.agent SIZE_MIB
"""

from __future__ import annotations

import sys
from pathlib import Path

from argosy.settings import AgentSettings, load
from local.demo.agent import Agent
from local.demo.cargo import MIB, cargo
from local.demo.show import Follower, console, table
from local.demo.voyage import there_and_back

SPOOL = Path("/spool")


def main(size_mib: int) -> None:
    """Carry three files there and back; ends with an error where one is not the same."""
    output = console()
    agent = Agent(load(AgentSettings))
    try:
        with cargo(SPOOL, file=None, size=size_mib * MIB) as items:
            table(output, there_and_back(agent, items, [], Follower(output)))
    finally:
        agent.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
