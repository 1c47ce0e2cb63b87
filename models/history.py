"""Transfers of the past and the present, the newest first, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from models.agent import Agent
from models.transfer import Transfer


def newest(
    session: Session, *, agent_id: UUID | None, before: Transfer | None, limit: int
) -> Sequence[Transfer]:
    """A page of transfers: one agent's, or everybody's; those after `before` in the list.

    Both by `ix_transfers_agent`: of many agents, the newest of each are merged.
    """
    if agent_id is not None:
        return session.scalars(_page(Transfer.agent_id == agent_id, before, limit)).all()
    each = aliased(Transfer, _page(Transfer.agent_id == Agent.id, before, limit).lateral())
    merged = select(each).select_from(Agent).join(each, true())
    return session.scalars(
        merged.order_by(each.created_at.desc(), each.id.desc()).limit(limit)
    ).all()


def _page(whose: ColumnElement[bool], before: Transfer | None, limit: int) -> Select[Transfer]:
    query = select(Transfer).where(whose)
    if before is not None:
        earlier = (Transfer.created_at, Transfer.id)
        query = query.where(tuple_(*earlier) < (before.created_at, before.id))
    return query.order_by(Transfer.created_at.desc(), Transfer.id.desc()).limit(limit)
