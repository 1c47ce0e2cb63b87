"""The probes: `argosy health` (does this worker live?) and `argosy ready` (could it work?)."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from worker import signs
from worker.finding import Finding

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command()
@click.option("--worker", default="argosy", show_default=True, help="Name of the worker.")
@click.option(
    "--at-most",
    type=click.FloatRange(min=2 * signs.EVERY_SECONDS),
    default=60.0,
    show_default=True,
    help="Seconds without a sign of life after which it is taken for dead.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    envvar="ARGOSY_STATE_DIR",
    default=Path(".argosy"),
    help="Folder where its signs are; ARGOSY_STATE_DIR by default.",
)
@json_option
def health(*, worker: str, at_most: float, state_dir: Path, as_json: bool) -> None:
    """Say whether a worker of this machine lives. For a liveness probe.

    No server is asked: while one is away, a worker waits for it and lives. Ends with 1 where
    its main process, or every process that works, has shown no life.

    Example: argosy health --at-most 120
    """
    name = f"{worker}@{socket.gethostname()}"
    why = signs.why_unwell(signs.folder_of(state_dir, name), at_most)
    _tell([Finding(name, well=why is None, said=why or "it lives")], as_json=as_json)


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=60),
    default=3.0,
    show_default=True,
    help="Seconds that the answers may take.",
)
@json_option
def ready(*, timeout: float, as_json: bool) -> None:
    """Say whether a worker could work here. For a readiness probe.

    Asks the broker for its queues, the database for a schema that this version works with,
    Storage for the fleet's bucket, and when beat last ticked. Ends with 1 where one is not well.

    Example: argosy ready --timeout 5
    """
    from argosy.settings import FleetSettings, load
    from worker.readiness import examine_readiness

    _tell(examine_readiness(load(FleetSettings), timeout), as_json=as_json)


def _tell(findings: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings]))
    else:
        for one in findings:
            advice = f" ({one.advice})" if one.advice else ""
            click.echo(f"{one.what}: {'' if one.well else 'NOT WELL: '}{one.said}{advice}")
    if not all(one.well for one in findings):
        sys.exit(1)
