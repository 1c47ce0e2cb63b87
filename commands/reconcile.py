"""`argosy reconcile`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from argosy.settings import FleetSettings, load
from commands.exits import Exit
from commands.kinds import Duration
from commands.output import count_of, document, json_option, note, say, seconds, size

if TYPE_CHECKING:
    from models.difference import Difference
    from tasks.fleet import Fleet
    from worker.deep import Deep
    from worker.repair import Outcome, Repair

    Told = tuple[Difference, Outcome]

_WORDS = {
    "repaired": "repaired",
    "kept": "kept",
    "gone": "settled by somebody else",
    "reported": "for you to look at",
    "persistent": "left alone without --persistent",
}


@click.command()
@click.option("--apply", "is_apply", is_flag=True, help="Repair what may be repaired.")
@click.option("--dry-run", is_flag=True, help="Only say what differs, as without --apply.")
@click.option("--deep", is_flag=True, help="Read every stored byte, and compare its SHA-256.")
@click.option(
    "--persistent", is_flag=True, help="With --apply: also in the bucket of the files that stay."
)
@click.option(
    "--older-than",
    type=Duration(),
    metavar="TIME",
    help="Leave out what has differed for less: it may be on its way. "
    "ARGOSY_RECONCILE_HOURS by default; with --apply at least 5m.",
)
@json_option
def reconcile(
    *,
    is_apply: bool,
    dry_run: bool,
    deep: bool,
    persistent: bool,
    older_than: float | None,
    as_json: bool,
) -> None:
    """Compare the books with Storage, and put them right.

    For operators. Compares the rows in PostgreSQL, the objects in the fleet's buckets and the
    unfinished uploads, and lists what is in one of them alone, objects of a wrong size, claims
    that nobody holds, and grants and pins on files that are gone. Ends with 1 where anything is
    left that differs.

    Nothing is changed without --apply. With it, stray objects and uploads are removed, rows
    whose object is gone become expired, and claims, grants and pins are taken back. What a
    message or a transfer on its way names is kept, and so is an object whose bytes are wrong:
    somebody has to look at that.

    Example: argosy reconcile --apply --older-than 2d
    """
    if is_apply and dry_run:
        raise click.UsageError("--apply changes what --dry-run leaves alone: choose one.")
    if persistent and not is_apply:
        raise click.UsageError("--persistent says what --apply may change: it needs that.")
    settings = load(FleetSettings)
    age = settings.reconcile_hours * 3600 if older_than is None else older_than
    run = _Run(settings, age, is_apply=is_apply, persistent=persistent, as_json=as_json)
    run.compare(deep=deep)
    if not as_json:
        run.sum_up()
    if run.left:
        raise click.exceptions.Exit(Exit.FAILED)


class _Run:
    """One comparison, and what came of it."""

    def __init__(
        self,
        settings: FleetSettings,
        age: float,
        *,
        is_apply: bool,
        persistent: bool,
        as_json: bool,
    ) -> None:
        from tasks.fleet import Fleet

        self._fleet: Fleet = Fleet(settings)
        self._buckets = (settings.bucket, settings.persistent_bucket)
        self._age = age
        self._as_json = as_json
        self._repair = _repair(self._fleet, age, persistent=persistent) if is_apply else None
        self._deep: Deep | None = None
        self._kinds: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()

    @property
    def left(self) -> int:
        """Differences that are there still."""
        return self._outcomes.total() - self._outcomes["repaired"] - self._outcomes["gone"]

    def compare(self, *, deep: bool) -> None:
        """Look at everything, and tell of each difference as it is found."""
        from worker.repair import Busy

        try:
            with self._repair.alone() if self._repair else nullcontext():
                for one, outcome in self._found(deep=deep):
                    self._kinds[one.what] += 1
                    self._outcomes[outcome or "reported"] += 1
                    self._tell(one, outcome)
        except Busy:
            note("Another `argosy reconcile --apply` is at work: nothing was changed. Try later.")
            raise click.exceptions.Exit(Exit.TEMPORARY) from None

    def _found(self, *, deep: bool) -> Iterator[tuple[Difference, Outcome | None]]:
        from models.reconcile import pages
        from worker.repair import Outcome

        for page in pages(self._fleet.attempt, self._buckets, older_than=self._age):
            if self._repair:
                yield from self._repair.page(page)
            else:
                yield from ((one, None) for one in page.differences)
        if deep:
            outcome = Outcome.REPORTED if self._repair else None
            yield from ((one, outcome) for one in self._read())

    def _read(self) -> Iterator[Difference]:
        from worker.deep import Deep

        self._deep = Deep(self._fleet, self._buckets, self._age)
        yield from self._deep.differences()

    def _tell(self, one: Difference, outcome: Outcome | None) -> None:
        if self._as_json:
            document({**one.document(), **({"outcome": outcome} if outcome else {})})
            return
        end = f": {_WORDS[outcome]}" if outcome else ""
        say(f"{one.what}: {one.place}  {one.detail}{end}")

    def sum_up(self) -> None:
        """Say in a few words how it went."""
        if self._deep:
            say(f"Read {count_of(self._deep.files, 'object')}, {size(self._deep.bytes)}.")
        total = self._outcomes.total()
        if not total:
            say("All agree.")
            return
        for what, many in self._kinds.most_common():
            say(f"{many}  {what}")
        told = f"{count_of(total, 'difference')} older than {seconds(self._age)}"
        if self._repair:
            counted = (f"{many} {_WORDS[name]}" for name, many in self._outcomes.most_common())
            told += f": {', '.join(counted)}"
        say(f"{told}.")


def _repair(fleet: Fleet, age: float, *, persistent: bool) -> Repair:
    from worker.repair import LEAST_SECONDS, Repair

    if age < LEAST_SECONDS:
        raise click.UsageError(
            f"--apply leaves alone what has differed for less than {seconds(LEAST_SECONDS)}: "
            "an upload that is about to be registered looks like a stray one."
        )
    return Repair(fleet, age, persistent)
