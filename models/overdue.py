"""Files whose time is over: what a retention sweep removes, what it keeps, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Select, false, func, literal, select, tuple_
from sqlalchemy.orm import Session

from argosy.naming import derived_folder
from argosy.settings import FleetSettings
from models.agent import Agent
from models.derivative import Derivative
from models.last_stored import last_stored
from models.moments import iso
from models.pins import is_pinned
from models.transfer import ENDED, FILES, Kind, State, Transfer

BATCH = 500
"""Files in memory at once; and as many objects are one removal."""

Position = tuple[datetime, UUID]
"""The end and the id of the last file of a page: the next one goes on behind it."""


@dataclass(frozen=True)
class Terms:
    """By which files are swept: of which bucket, and what keeps one longer. Days."""

    bucket: str
    kept_bucket: str
    pin_days: float
    retention_days: float

    @classmethod
    def of(cls, settings: FleetSettings) -> Self:
        """The fleet's own."""
        return cls(
            settings.bucket,
            settings.persistent_bucket,
            settings.pin_days,
            settings.retention_days,
        )

    @property
    def bucket_is_swept(self) -> bool:
        """Never that of the files that are kept, also where the settings say so."""
        return self.bucket != self.kept_bucket


@dataclass(frozen=True)
class Overdue:
    """One file past its time, and what keeps it; sizes are in bytes.

    `size` is that of the file's own object. `objects` are, by name, those that were there when
    it was looked at: the file's own, and what was derived of it; `derived` names the latter,
    whether they are there or not.
    `renewed_until` is when its time ends now that its agent has stored it anew.
    """

    transfer: UUID
    bucket: str
    path: str
    agent: str
    size: int
    expires_at: datetime
    derived: Sequence[str]
    objects: Mapping[str, int]
    is_pinned: bool
    is_live: bool
    renewed_until: datetime | None

    @property
    def place(self) -> str:
        """`bucket/path`."""
        return f"{self.bucket}/{self.path}"

    @property
    def freed(self) -> int:
        """Bytes that go with it."""
        return sum(self.objects.values())

    def is_new(self, name: str) -> bool:
        """Whether this object of the file's is one that was not known when it was looked at."""
        return _is_derived_of(self.path, name) and name not in self.derived

    @property
    def act(self) -> str:
        """What a sweep does with it."""
        if self.is_pinned or self.is_live:
            return "keep"
        return "renew" if self.renewed_until else "remove"

    @property
    def why(self) -> str:
        """Why, in words."""
        if self.is_pinned:
            return "a message that is on its way names it"
        if self.is_live:
            return "a transfer that is on its way needs it"
        if self.renewed_until:
            return f"it was stored anew, and stays until {iso(self.renewed_until)}"
        return "its time has ended, and nothing names it"

    def document(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "act": self.act,
            "file": self.place,
            "transfer": str(self.transfer),
            "agent": self.agent,
            "size": self.size,
            "objects": len(self.objects),
            "bytes": self.freed,
            "expires_at": iso(self.expires_at),
            "why": self.why,
        }


def page(terms: Terms, after: Position | None) -> Select[UUID, datetime | None]:
    """The next files of the bucket whose time has ended, the longest over first.

    By `ix_transfers_expiry`. What is kept stands in front for long: a sweep goes on behind
    it, and does not read it again.
    """
    query = (
        select(Transfer.id, Transfer.expires_at)
        .where(Transfer.state == State.COMPLETED, Transfer.kind.in_(FILES))
        .where(Transfer.bucket == terms.bucket if terms.bucket_is_swept else false())
        .where(Transfer.expires_at <= func.now())
        .order_by(Transfer.expires_at, Transfer.id)
        .limit(BATCH)
    )
    if after is not None:
        query = query.where(tuple_(Transfer.expires_at, Transfer.id) > tuple_(*map(literal, after)))
    return query


def overdue(session: Session, terms: Terms) -> Iterator[Overdue]:
    """Every file of the bucket whose time has ended, a page of them in memory."""
    after: Position | None = None
    while found := session.execute(page(terms, after)).all():
        yield from look(session, terms, [row.id for row in found])
        after = position(found[-1])


def position(row: Any) -> Position:
    """Where a page ended, by its last row."""
    return row.expires_at, row.id


def look(session: Session, terms: Terms, files: Collection[UUID]) -> Sequence[Overdue]:
    """These files, in the order of their ends, and what is to become of each."""
    rows = session.execute(_facts(terms, files)).all()
    derived = _derived(session, {row.id: row.object_name for row in rows})
    names = [name for row in rows for name in (row.object_name, *derived[row.id].sizes)]
    stored = last_stored(session, terms.bucket, names)
    live = _named_by_live(session, terms.bucket, names)
    return [_verdict(terms, row, derived[row.id], stored, live) for row in rows]


def _facts(terms: Terms, files: Collection[UUID]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Transfer.id,
            Transfer.object_name,
            Transfer.expires_at,
            func.coalesce(Transfer.stored_size, Transfer.size, 0).label("size"),
            func.coalesce(Transfer.ended_at, Transfer.created_at).label("ended_at"),
            Agent.name.label("agent"),
            is_pinned(terms.pin_days).label("is_pinned"),
            func.now().label("now"),
        )
        .join(Agent, Agent.id == Transfer.agent_id)
        .where(Transfer.id.in_(files), Transfer.bucket == terms.bucket)
        .order_by(Transfer.expires_at, Transfer.id)
    )


@dataclass(frozen=True)
class _Derived:
    """What is derived of one file: sizes by object name, and whether somebody is at any."""

    sizes: dict[str, int]
    is_made: bool


def _derived(session: Session, files: Mapping[UUID, str]) -> Mapping[UUID, _Derived]:
    """Of each file; an object that does not lie in the file's own folder is not its."""
    held = func.coalesce(Derivative.lease_until > func.now(), False).label("held")
    rows = session.execute(
        select(Derivative.transfer_id, Derivative.object_name, Derivative.size, held).where(
            Derivative.transfer_id.in_(files)
        )
    ).all()
    sizes: dict[UUID, dict[str, int]] = {file: {} for file in files}
    for row in rows:
        if row.object_name and _is_derived_of(files[row.transfer_id], row.object_name):
            sizes[row.transfer_id][row.object_name] = row.size or 0
    made = {row.transfer_id for row in rows if row.held}
    return {file: _Derived(found, file in made) for file, found in sizes.items()}


def _is_derived_of(path: str, name: str) -> bool:
    folder = derived_folder(path)
    return folder is not None and name.startswith(folder)


def _named_by_live(session: Session, bucket: str, names: Sequence[str]) -> frozenset[str]:
    """Those of the objects that a download or a copy on its way reads, by `ix_transfers_live`."""
    live = Transfer.state.in_(sorted(set(State) - ENDED))
    source, origin = Transfer.copied_from["path"].astext, Transfer.copied_from["bucket"].astext
    downloads = select(Transfer.object_name).where(live, Transfer.bucket == bucket)
    copies = select(source).where(live, Transfer.kind == Kind.COPY, origin == bucket)
    found = downloads.where(Transfer.object_name.in_(names)).union(copies.where(source.in_(names)))
    return frozenset(session.scalars(found))


def _verdict(
    terms: Terms,
    row: Any,
    derived: _Derived,
    stored: Mapping[str, datetime],
    live: frozenset[str],
) -> Overdue:
    sizes = {**derived.sizes, row.object_name: row.size}
    return Overdue(
        transfer=row.id,
        bucket=terms.bucket,
        path=row.object_name,
        agent=row.agent,
        size=row.size,
        expires_at=row.expires_at,
        derived=list(derived.sizes),
        objects={name: size for name, size in sizes.items() if name in stored},
        is_pinned=row.is_pinned,
        is_live=derived.is_made or not live.isdisjoint(sizes),
        renewed_until=_renewed(terms, row, stored.get(row.object_name)),
    )


def _renewed(terms: Terms, row: Any, stored_at: datetime | None) -> datetime | None:
    """Until when, where the object was stored again after its transfer had ended."""
    if stored_at is None or stored_at <= row.ended_at:
        return None
    until: datetime = stored_at + timedelta(days=terms.retention_days)
    return until if until > row.now else None
