"""The command `argosy doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from argosy.settings import FleetSettings, load

if TYPE_CHECKING:
    from worker.doctor.access import Verdict
    from worker.finding import Finding


@click.command()
@click.argument("agent", required=False)
@click.argument("path", required=False)
@click.option("--bucket", help="Bucket of PATH; ARGOSY_BUCKET by default.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(agent: str | None, path: str | None, bucket: str | None, *, as_json: bool) -> None:
    """Say whether the deployment is well, and what AGENT may do on PATH, and why.

    PATH is an object's name; without it, a file in the agent's own folder is
    looked at. Ends with 1 where a check is not well.

    Example: argosy doctor weather
    """
    from worker.doctor.checks import examine_deployment

    settings = load(FleetSettings)
    verdicts = _verdicts(settings, agent, bucket or settings.bucket, path) if agent else []
    findings = examine_deployment(settings, agent)
    if as_json:
        told = {"access": [asdict(v) for v in verdicts], "checks": [asdict(f) for f in findings]}
        click.echo(json.dumps(told, indent=2))
    else:
        _show(verdicts, findings)
    if not all(finding.well for finding in findings):
        sys.exit(1)


def _verdicts(settings: FleetSettings, agent: str, bucket: str, path: str | None) -> list[Verdict]:
    from models.database import one_session
    from worker.agents import find_agent
    from worker.doctor.access import examine_access

    with one_session(settings.operator_url) as session:
        path = path or f"{find_agent(session, agent).id}/file"
        return examine_access(session, agent, bucket, path)


def _show(verdicts: Sequence[Verdict], findings: Sequence[Finding]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if verdicts:
        console.print(_access(verdicts))
    console.print(_checks(findings))


def _access(verdicts: Sequence[Verdict]) -> Table:
    table = _table("operation", "", "decided by", "because", "missing")
    for one in verdicts:
        policies = ", ".join(one.policies)
        table.add_row(one.operation, _mark(one.allowed), policies, one.because, one.missing)
    return table


def _checks(findings: Sequence[Finding]) -> Table:
    table = _table("check", "", "found", "to do")
    for one in findings:
        table.add_row(one.what, _mark(one.well), one.said, one.advice)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _mark(good: object) -> str:
    return "[green]yes[/]" if good else "[red]no[/]"
