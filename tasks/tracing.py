"""The trace of a transfer: its agent's own, or one that follows from the transfer's id."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from uuid import UUID

from celery import current_task
from sqlalchemy import select
from sqlalchemy.orm import Session

from argosy.trace_context import TRACE_HEADER, valid_trace
from models import Event

KNOWN = 1000
"""Transfers whose traces one process keeps in mind."""

_known: OrderedDict[UUID, str] = OrderedDict()


def asked_in_trace() -> dict[str, str]:
    """For the detail of the event that a transfer begins with: the sender's trace, if any."""
    header = valid_trace(current_task.request.get(TRACE_HEADER)) if current_task else None
    return {TRACE_HEADER: header} if header else {}


def trace_of(session: Session, transfer_id: UUID) -> str:
    """The trace that everything which is done for a transfer belongs to.

    The events have it, so that it is known to whoever goes on, also when messages were lost.
    """
    if transfer_id in _known:
        return _known[transfer_id]
    first = select(Event.detail).where(Event.transfer_id == transfer_id).order_by(Event.id).limit(1)
    header = valid_trace((session.scalar(first) or {}).get(TRACE_HEADER))
    _known[transfer_id] = header or own_trace(transfer_id)
    if len(_known) > KNOWN:
        _known.popitem(last=False)
    return _known[transfer_id]


def own_trace(transfer_id: UUID) -> str:
    """That of a transfer whose agent traces nothing."""
    span = hashlib.sha256(transfer_id.bytes).hexdigest()[:16]
    return f"00-{transfer_id.hex}-{span}-01"
