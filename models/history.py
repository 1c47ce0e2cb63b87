"""Transfers of the past and the present, the newest first, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from models.agent import Agent
from models.transfer import Transfer


def newest(
    session: Session,
    *,
    agent_id: UUID | None,
    before: Transfer | None,
    limit: int,
    only: Iterable[ColumnElement[bool]] = (),
) -> Sequence[Transfer]:
    """A page of transfers: one agent's, or everybody's; those after `before` in the list.

    Both by `ix_transfers_agent`: of many agents, the newest of each are merged. `only` are
    conditions on transfers, as `matching` makes them.
    """
    if agent_id is not None:
        page = _page(Transfer.agent_id == agent_id, before, limit).where(*only)
        return session.scalars(page).all()
    page = _page(Transfer.agent_id == Agent.id, before, limit).where(*only)
    each = aliased(Transfer, page.lateral())
    merged = select(each).select_from(Agent).join(each, true())
    return session.scalars(
        merged.order_by(each.created_at.desc(), each.id.desc()).limit(limit)
    ).all()


def matching(
    *,
    states: Sequence[str] = (),
    kinds: Sequence[str] = (),
    reason: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[ColumnElement[bool]]:
    """Conditions on transfers: of these states and kinds, failed for this code, asked for then.

    What is empty or None asks for nothing; `until` itself is not in.
    """
    found: list[ColumnElement[bool]] = []
    if states:
        found.append(Transfer.state.in_(states))
    if kinds:
        found.append(Transfer.kind.in_(kinds))
    if reason:
        found.append(Transfer.error_code == reason)
    if since:
        found.append(Transfer.created_at >= since)
    if until:
        found.append(Transfer.created_at < until)
    return found


def agent_named(session: Session, name: str) -> UUID | None:
    """An agent's id; None where there is no such agent."""
    return session.scalar(select(Agent.id).where(Agent.name == name))


def _page(whose: ColumnElement[bool], before: Transfer | None, limit: int) -> Select[Transfer]:
    query = select(Transfer).where(whose)
    if before is not None:
        earlier = (Transfer.created_at, Transfer.id)
        query = query.where(tuple_(*earlier) < (before.created_at, before.id))
    return query.order_by(Transfer.created_at.desc(), Transfer.id.desc()).limit(limit)
