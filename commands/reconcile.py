"""`argosy reconcile`."""

from __future__ import annotations

import click

from argosy.settings import FleetSettings, load
from commands.exits import Exit
from commands.kinds import Duration
from commands.output import count_of, document, json_option, say, seconds
from commands.unmade import only_dry


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what differs. Needed: see above.")
@click.option(
    "--older-than",
    type=Duration(),
    default="1d",
    show_default=True,
    metavar="TIME",
    help="Leave out what is younger: it may be on its way.",
)
@json_option
def reconcile(*, dry_run: bool, older_than: float, as_json: bool) -> None:
    """Compare the books with Storage.

    For operators. Lists, in the fleet's buckets, objects that no transfer or derivative
    accounts for, completed transfers whose object is gone though nobody deleted it, and
    unfinished uploads that no transfer goes on with. Ends with 1 where there are any.
    Nothing is changed: only the dry run is there yet.

    Example: argosy reconcile --dry-run --older-than 2d
    """
    only_dry("reconcile", is_dry=dry_run)
    from models.database import one_session
    from models.reconcile import differences

    settings = load(FleetSettings)
    buckets = (settings.bucket, settings.persistent_bucket)
    count = 0
    with one_session(settings.operator_url) as session:
        for found in differences(session, buckets, older_than=older_than):
            count += 1
            if as_json:
                document(found.document())
            else:
                say(f"{found.what}: {found.place}  {found.detail}")
    if not as_json:
        old = f"older than {seconds(older_than)}"
        say(f"{count_of(count, 'difference')} {old}." if count else "All agree.")
    if count:
        raise click.exceptions.Exit(Exit.FAILED)
