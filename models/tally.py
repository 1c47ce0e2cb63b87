"""Running totals of what has ended, from the audit: exact, and each event is read about once.

A row of `rounds` keeps the sums of all events up to one number; what came since is added at each
look. An event's number is taken before its transaction commits, so smaller ones may appear after
greater ones: the sums take in no event before every transaction that could still bring a smaller
one has ended. Whoever appends the events that are counted here has changed a row before, so that
its transaction has a number (`xid`) by then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Uuid, any_, cast, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from models.event import Event
from models.round import Round
from models.sums import COUNTED, OF_THE_TRANSFER, Happened, Sums
from models.transfer import Transfer

NAME = "tally"
"""Of its row in `rounds`."""
LOCK = 0x54414C4C59
""""TALLY": one keeps the sums at a time."""
STEP = 20_000
"""Events that are read at once."""
STEPS = 5
"""Steps of one look: where a fleet with a long past is first looked at there may be more."""


@dataclass
class Tally:
    """Sums of the events up to number `after`.

    Those up to `seen` can be taken in once every transaction up to number `xid` has ended.
    """

    after: int = 0
    seen: int = 0
    xid: int = 0
    sums: Sums = field(default_factory=Sums)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """As the row has it."""
        marks = {name: document[name] for name in ("after", "seen", "xid")}
        return cls(**marks, sums=Sums.of(document["sums"]))

    def document(self) -> dict[str, Any]:
        """As the row keeps it."""
        return {**vars(self), "sums": self.sums.document()}


def tell(session: Session) -> Sums | None:
    """Everything that the books have now; None while so much is unread that it takes longer.

    Safe for any number of callers at once: one of them moves the row on.
    """
    keeps = session.scalar(select(func.pg_try_advisory_xact_lock(LOCK)))
    row = session.scalars(select(Round).where(Round.name == NAME)).one_or_none()
    tally = Tally.of(row.counts) if row and row.counts else Tally()
    if keeps:
        _move_on(session, tally)
        _keep(session, row, tally)
    newest = _newest(session)
    if newest - tally.after > STEP:
        return None
    return tally.sums.plus(_events(session, tally.after, newest))


def _move_on(session: Session, tally: Tally) -> None:
    """Take in what is settled, and see how far that may go the next time."""
    for _ in range(STEPS):
        if tally.after >= tally.seen or not _have_ended(session, tally.xid):
            break
        upto = min(tally.seen, tally.after + STEP)
        tally.sums = tally.sums.plus(_events(session, tally.after, upto))
        tally.after = upto
    if tally.after >= tally.seen and (newest := _newest(session)) > tally.after:
        tally.seen, tally.xid = newest, _own_xid(session)


def _keep(session: Session, row: Round | None, tally: Tally) -> None:
    """As a round that has ended, the last of its name: such a one is not forgotten."""
    document = tally.document()
    if row is None:
        session.add(Round(name=NAME, counts=document, ended_at=func.now()))
    elif row.counts != document:
        row.counts, row.ended_at = document, func.now()


def _newest(session: Session) -> int:
    return session.scalar(select(func.max(Event.id))) or 0


def _own_xid(session: Session) -> int:
    """Greater than that of every transaction that has one by now."""
    return int(session.execute(text("SELECT pg_current_xact_id()::text::bigint")).scalar_one())


def _have_ended(session: Session, xid: int) -> bool:
    """Whether all transactions up to this number have: what they did is seen, or never will be."""
    oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    return int(session.execute(text(oldest)).scalar_one()) > xid


def _events(session: Session, after: int, upto: int) -> list[Happened]:
    """The events that count, with what their transfers' rows say.

    Two questions, each by a primary key: what the planner makes of one that joins depends on how
    well it knows the tables, and this is asked at every scrape.
    """
    query = select(Event.name, Event.reason, Event.detail, Event.transfer_id)
    between = (Event.id > after, Event.id <= upto, Event.name.in_(COUNTED))
    events = session.execute(query.where(*between)).all()
    rows = _transfers(session, {event.transfer_id for event in events if event.transfer_id})
    return [
        Happened(event.name, event.reason, event.detail, *rows.get(event.transfer_id, ()))
        for event in events
    ]


def _transfers(session: Session, ids: Collection[UUID]) -> dict[UUID, Sequence[Any]]:
    columns = [getattr(Transfer, name) for name in OF_THE_TRANSFER]
    listed = any_(cast(list(ids), ARRAY(Uuid)))
    query = select(Transfer.id, *columns).where(Transfer.id == listed)
    return {row[0]: row[1:] for row in session.execute(query)} if ids else {}
