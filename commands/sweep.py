"""`argosy sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from argosy.settings import FleetSettings, load
from commands.output import count_of, document, json_option, moment, say, size
from commands.unmade import only_dry

if TYPE_CHECKING:
    from models.overdue import Overdue


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would go. Needed: see above.")
@json_option
def sweep(*, dry_run: bool, as_json: bool) -> None:
    """Say which files' time is over.

    For operators. Lists every file of the transfers bucket whose time has ended, and
    whether a sweep removes it or a message that is on its way keeps it. Nothing is
    removed: only the dry run is there yet.

    Example: argosy sweep --dry-run --json
    """
    only_dry("sweep", is_dry=dry_run)
    from models.database import one_session
    from models.overdue import overdue

    settings = load(FleetSettings)
    removed, freed, kept = 0, 0, 0
    with one_session(settings.operator_url) as session:
        for one in overdue(session, settings.bucket, pin_days=settings.pin_days):
            _tell(one, as_json=as_json)
            removed += not one.is_pinned
            freed += 0 if one.is_pinned else one.size or 0
            kept += one.is_pinned
    if not as_json:
        say(f"{count_of(removed, 'file')}, {size(freed)}, would go; {kept} would be kept.")


def _tell(one: Overdue, *, as_json: bool) -> None:
    if as_json:
        document(one.document())
        return
    ended = moment(one.expires_at)
    say(f"{one.act}  {one.place}  {size(one.size)}, of {one.agent}, until {ended}: {one.why}")
