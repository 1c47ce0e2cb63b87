"""How an accepted request goes on: at once, when its turn comes, or not at all, for it is done."""

from __future__ import annotations

from celery.exceptions import Ignore

from models import State, Transfer
from models.turns import waits_behind
from tasks.assemble import outcome
from tasks.base import RequestTask
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.process import after_steps
from tasks.turns import give_turns, send_out


def begin(task: RequestTask, transfer: Transfer) -> Ended:
    """The outcome of an accepted transfer that ended before; else see that it gets its turn.

    Raises Ignore then: its result is recorded under the same task id by those who carry it.
    So a request takes no longer than it takes to write it down, however large the file is,
    and those behind it in the queue do not wait for its bytes. Raises the error it ended with.
    """
    ended = outcome(transfer)
    if ended is not None:
        return after_steps(task, ended)
    if transfer.state == State.QUEUED:
        _take_turn(transfer)
    raise Ignore("others carry it when its turn comes")


def _take_turn(transfer: Transfer) -> None:
    if transfer.admitted_at is not None:
        send_out(transfer.id)
    elif not fleet().ask(lambda session: waits_behind(session, transfer)):
        # The slot that it waits for may have become free before its row was there to be seen.
        give_turns()
