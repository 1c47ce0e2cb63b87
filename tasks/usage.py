"""`transfer.usage`: what an agent takes up, and what it may."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent
from models.usage import bytes_in_a_day, bytes_stored
from tasks.allowance import Allowance
from tasks.control import LookTask, look
from tasks.fleet import fleet
from tasks.requests import Request


class UsageRequest(Request):
    """`transfer.usage`: of whoever asks."""


@shared_task(bind=True, base=LookTask, name="transfer.usage")
def usage(self: LookTask) -> dict[str, Any]:
    """The sender's bytes in Storage and of the last 24 hours, and its limits.

    `stored` and `day` are bytes, `rate` bytes a second, `at_once` transfers; a limit that is
    None is none, and of `at_once` the agent's fair share, by its `weight`.
    """
    return look(self, UsageRequest, _usage)


def _usage(session: Session, agent: Agent, _request: UsageRequest) -> dict[str, Any]:
    limits = Allowance.of(agent, fleet().settings)
    return {
        "stored": bytes_stored(session, agent.id),
        "stored_limit": limits.stored,
        "day": bytes_in_a_day(session, agent.id),
        "day_limit": limits.day,
        "at_once": limits.at_once,
        "rate": limits.rate,
        "weight": agent.weight,
    }
