"""Transfers as an agent sees them, by the fleet's answers, and as the operator, by the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from argosy.errors import InvalidRequest, TransferNotFound
from argosy.info import Status
from argosy.settings import FleetSettings, load
from commands.account import client, is_operator
from commands.wanted import EVERYTHING, Wanted

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from argosy.client import Client
    from models import Transfer
    from models.database import Sessions

PAGE = 200
"""Transfers that are asked for at once."""
ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
"""States in which a transfer stays; tests compare them with the machine."""


class View(Protocol):
    """Where transfers are looked at."""

    def status(self, transfer: UUID) -> Status:
        """One transfer. Raises TransferNotFound."""
        ...

    def history(self, limit: int, wanted: Wanted = EVERYTHING) -> Iterator[Status]:
        """Transfers, the newest first."""
        ...

    def moving(self, limit: int) -> list[Status]:
        """Those that have not ended, the oldest first."""
        ...


@contextmanager
def view(*, operators: bool | None = None) -> Iterator[View]:
    """The operator's view where its settings are there (or as asked), else the agent's."""
    if is_operator() if operators is None else operators:
        with _operators_view() as found:
            yield found
        return
    with client() as agent:
        yield AgentView(agent)


class AgentView:
    """An agent's own transfers; an admin's are everybody's."""

    def __init__(self, agent: Client) -> None:
        self._client = agent

    def status(self, transfer: UUID) -> Status:
        """See View."""
        return self._client.status(transfer)

    def history(self, limit: int, wanted: Wanted = EVERYTHING) -> Iterator[Status]:
        """See View. The fleet knows of no conditions: they are looked at here."""
        yield from islice(filter(wanted.takes, self._since(limit, wanted)), limit)

    def _since(self, limit: int, wanted: Wanted) -> Iterator[Status]:
        """Page by page, all that are young enough."""
        many = min(limit, PAGE) if wanted == EVERYTHING else PAGE
        before: str | None = None
        while True:
            page = self._client.history(many, before)
            yield from page
            if len(page) < many or wanted.is_past(page[-1]):
                return
            before = str(page[-1].id)

    def moving(self, limit: int) -> list[Status]:
        """See View; among the newest ones."""
        found = [one for one in self._client.history(PAGE) if one.state not in ENDED]
        return found[::-1][:limit]


@contextmanager
def _operators_view() -> Iterator[OperatorView]:
    from models.database import make_engine, make_sessions

    settings = load(FleetSettings)
    engine = make_engine(settings.operator_url)
    try:
        yield OperatorView(make_sessions(engine), settings.window)
    finally:
        engine.dispose()


class OperatorView:
    """Everybody's transfers, right from their rows."""

    def __init__(self, sessions: Sessions, window: int) -> None:
        self._sessions, self._window = sessions, window

    def status(self, transfer: UUID) -> Status:
        """See View."""
        return self._explained(lambda session: [_row(session, transfer)])[0]

    def history(self, limit: int, wanted: Wanted = EVERYTHING) -> Iterator[Status]:
        """See View. Raises InvalidRequest where there is no such agent."""
        last: Transfer | None = None
        while limit > 0:
            page = self._page(last, min(limit, PAGE), wanted)
            yield from self._explained(lambda _, page=page: page)  # type: ignore[misc]
            if len(page) < PAGE:
                return
            limit, last = limit - len(page), page[-1]

    def _page(self, last: Transfer | None, many: int, wanted: Wanted) -> Sequence[Transfer]:
        from models.history import matching, newest

        only = matching(
            states=wanted.states,
            kinds=wanted.kinds,
            reason=wanted.reason,
            since=wanted.since,
            until=wanted.until,
        )
        with self._sessions.begin() as session:
            agent = _agent(session, wanted.agent)
            return newest(session, agent_id=agent, before=last, limit=many, only=only)

    def moving(self, limit: int) -> list[Status]:
        """See View."""
        from models.unfinished import unfinished

        return self._explained(lambda session: unfinished(session, limit=limit))

    def _explained(self, read: Callable[[Session], Sequence[Transfer]]) -> list[Status]:
        from models.status import explain_all

        with self._sessions.begin() as session:
            told = explain_all(session, read(session), window=self._window)
        return [Status.parse(document) for document in told]


def _row(session: Session, transfer: UUID) -> Transfer:
    from models import Transfer

    found = session.get(Transfer, transfer)
    if found is None:
        raise TransferNotFound(f"There is no transfer {transfer}.", str(transfer))
    return found


def _agent(session: Session, name: str | None) -> UUID | None:
    from models.history import agent_named

    if name is None:
        return None
    found = agent_named(session, name)
    if found is None:
        raise InvalidRequest(f"There is no agent {name!r}: see `argosy agents list`.")
    return found
