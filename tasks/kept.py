"""Whether a file is there to stay for a while: asked by whatever will need it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.errors import ObjectNotFound
from models import FILES, Access, Agent, Transfer
from models.access import decide
from models.retention import hold
from models.tombstone import epitaph, is_going, may_know

AGAIN = "Upload it again, or ask its owner to."


class Placed(Protocol):
    """A reference, or a place."""

    @property
    def bucket(self) -> str:
        """The bucket."""

    @property
    def path(self) -> str:
        """The object's name."""


def require_kept(session: Session, agent: Agent, places: Sequence[Placed]) -> None:
    """Have no sweep take these files, or what is derived of them, before the transaction ends.

    Raises ObjectNotFound for one whose time is over, as far as the agent may know it. For any
    other agent it is as if it had never been there: that is for Storage to say.
    """
    wanted = [(place, identity) for place in places if (identity := file_id(place))]
    rows = {row.id: row for row in hold(session, {identity for _, identity in wanted})}
    for place, identity in wanted:
        row = rows.get(identity)
        if row and (said := _told(session, agent, place, row)):
            raise ObjectNotFound(said)


def what_became_of(session: Session, agent: Agent, place: Placed) -> str | None:
    """What the agent may be told of a file that is not there any more, in a sentence."""
    identity = file_id(place)
    row = session.get(Transfer, identity) if identity else None
    return _told(session, agent, place, row) if row and row.kind in FILES else None


def file_id(place: Placed) -> UUID | None:
    """The id of the file that this object is, or is derived of: an object's name says it."""
    _, _, rest = place.path.partition("/")
    try:
        return UUID(rest.partition("/")[0])
    except ValueError:
        return None


def _told(session: Session, agent: Agent, place: Placed, row: Transfer) -> str | None:
    if not is_going(row) or not _is_in(row, place):
        return None
    reads = decide(session, agent.id, place.bucket, place.path, Access.READ).allowed
    if not reads and not may_know(row, agent):
        return None
    return f"{epitaph(row)} {AGAIN}"


def _is_in(row: Transfer, place: Placed) -> bool:
    """Whether this is a name in the file's own folder."""
    folder = f"{row.object_name.rpartition('/')[0]}/"
    return place.bucket == row.bucket and place.path.startswith(folder)
