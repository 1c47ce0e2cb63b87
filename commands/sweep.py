"""`argosy sweep`."""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING

import click

from argosy.settings import FleetSettings, load
from commands.exits import Exit
from commands.output import count_of, document, json_option, moment, say, size

if TYPE_CHECKING:
    from models.overdue import Overdue
    from tasks.sweeping import Counts


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go, and why.")
@json_option
def sweep(*, dry_run: bool, as_json: bool) -> None:
    """Remove the files whose time is over.

    For operators; beat has the fleet do it by the hour. Removes every file of the transfers
    bucket whose time has ended, with what was made of it, unless a message or a transfer that
    is on its way needs it. May be interrupted, and run beside the fleet's own. Ends with 1
    where Storage did not let something go: the next sweep tries it again.

    Example: argosy sweep --dry-run --json
    """
    if dry_run:
        _say_what_would_go(as_json=as_json)
        return
    counts = _sweep(as_json=as_json)
    if counts.left:
        raise click.exceptions.Exit(Exit.FAILED)


def _say_what_would_go(*, as_json: bool) -> None:
    from models.database import one_session
    from models.overdue import Terms, overdue

    settings = load(FleetSettings)
    removed, freed, kept = 0, 0, 0
    with one_session(settings.operator_url) as session:
        for one in overdue(session, Terms.of(settings)):
            _tell(one, one.act, as_json=as_json)
            goes = one.act == "remove"
            removed, kept = removed + goes, kept + (not goes)
            freed += one.freed if goes else 0
    if not as_json:
        say(f"{count_of(removed, 'file')}, {size(freed)}, would go; {kept} would be kept.")


def _sweep(*, as_json: bool) -> Counts:
    from tasks.sweeping import Sweep
    from worker.logs import configure_logging

    configure_logging()  # to standard error
    logging.getLogger().setLevel(logging.WARNING)
    made = Sweep(
        f"{socket.gethostname()}/{os.getpid()}",
        heard=lambda gone: _tell(gone, "removed", as_json=as_json),
    )
    made.run()
    if as_json:
        document(made.counts.document())
    else:
        say(_summary(made.counts))
    return made.counts


def _summary(counts: Counts) -> str:
    kept = counts.kept_pinned + counts.kept_live + counts.renewed
    told = f"{count_of(counts.removed, 'file')}, {size(counts.bytes)}, removed; {kept} kept."
    if counts.left:
        told += f" {counts.left} left to the next sweep: Storage did not let them go."
    return told


def _tell(one: Overdue, act: str, *, as_json: bool) -> None:
    if as_json:
        document({**one.document(), "act": act})
        return
    ended = moment(one.expires_at)
    say(f"{act}  {one.place}  {size(one.size)}, of {one.agent}, until {ended}: {one.why}")
