"""`transfer.bury`: messages that the broker gave up are entered, and tied to their transfers.

Nothing is sent again from a letter: the rows say what is due, and `transfer.resume` sends that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import amqp  # type: ignore[import-untyped]
import structlog
from celery import current_app, shared_task
from celery.exceptions import BackendError, Reject
from kombu import Connection
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from argosy.errors import Error, StorageUnavailable
from models import Continuation, Transfer
from models.dead_letters import drop_old, enter
from models.heartbeat import beat
from tasks.base import FleetTask, RequestTask
from tasks.fleet import fleet
from tasks.letter import Letter, read
from tasks.lost_request import LEEWAY_SECONDS, answer
from tasks.messages import DEAD
from tasks.properties import take_any_properties
from tasks.refusal import is_task_id
from tasks.sender import identify

log = structlog.get_logger(__name__)

BATCH = 100
"""Letters of one transaction."""
MOST_BATCHES = 10
KEPT_DAYS = 30.0
BROKER_SECONDS = 30
"""How long the broker may be silent."""
AWAY = (RedisError, OSError, BackendError, Reject, StorageUnavailable)
"""What says that Valkey or Storage is away: by its client, by Celery, or by where results go."""


@shared_task(bind=True, base=FleetTask, name="transfer.bury")
def bury(self: FleetTask) -> None:
    """Take what is in `argosy.dead`; safe to run at any time.

    Two at once share the letters, as the broker gives each of them to one. A letter is
    acknowledged once it is entered and its caller told: after a crash in between it comes
    again, and is known by its fingerprint.
    """
    take_any_properties()
    try:
        count = _empty(self)
    except (amqp.AMQPError, *AWAY) as error:
        log.warning("letters.left", error=type(error).__name__)  # they wait for the next time
        count = 0
    dropped = fleet().transact(_tidy)
    if count or dropped:
        log.info("letters.buried", count=count, dropped=dropped)


def _tidy(session: Session) -> int:
    beat(session, "bury")
    return drop_old(session, days=KEPT_DAYS, limit=BATCH * MOST_BATCHES)


def _empty(task: FleetTask) -> int:
    """Returns how many letters were taken. Raises what they must wait for."""
    count = 0
    options = {"read_timeout": BROKER_SECONDS}
    url = fleet().settings.broker_url
    with Connection(url, connect_timeout=BROKER_SECONDS, transport_options=options) as connection:
        if connection.transport.driver_type != "amqp":  # Valkey gives up no message
            return 0
        channel = connection.channel()
        for _ in range(MOST_BATCHES):
            letters, tag = _take(channel)
            if not letters:
                break
            _bury(task, letters)
            channel.basic_ack(tag, multiple=True)
            count += len(letters)
    return count


def _take(channel: Any) -> tuple[list[Letter], int]:
    letters: list[Letter] = []
    tag = 0
    while len(letters) < BATCH and (message := channel.basic_get(DEAD)) is not None:
        letters.append(read(message.properties, message.body))
        tag = message.delivery_tag
    return letters, tag


def _bury(task: FleetTask, dead: Sequence[Letter]) -> None:
    letters = [letter for letter in dead if not _is_overtaken(letter)]
    senders = [_sender(letter) for letter in letters]

    def work(session: Session) -> None:
        found = zip(letters, senders, strict=True)
        rows = [{**one.columns, "transfer_id": _transfer(session, one, who)} for one, who in found]
        enter(session, rows)

    fleet().transact(work)
    for letter, sender in zip(letters, senders, strict=True):
        if sender:
            _tell(task, letter)


def _is_overtaken(letter: Letter) -> bool:
    """Whether beat has sent it, and the next one came before anybody took it: nothing is lost."""
    task = _task(letter)
    if letter.death.reason != "expired" or letter.arguments or letter.headers is None:
        return False
    ours = isinstance(task, FleetTask) and not isinstance(task, RequestTask)
    return ours and task.is_ours(letter.headers, ())


def _task(letter: Letter) -> Any:
    """The task that the message called, if it is a message, and the fleet has that task."""
    return current_app.tasks.get(letter.headers["task"]) if letter.headers else None


def _sender(letter: Letter) -> UUID | None:
    """Whose request it was, by its token: anybody may name an id. Raises StorageUnavailable."""
    if not isinstance(_task(letter), RequestTask):
        return None
    try:
        return identify(letter.token, LEEWAY_SECONDS).agent_id
    except StorageUnavailable:
        raise
    except Error:
        return None


def _transfer(session: Session, letter: Letter, sender: UUID | None) -> UUID | None:
    """The transfer that a message was about, by the word of the fleet, or of the one it is of."""
    task = _task(letter)
    if letter.headers is None or not isinstance(task, FleetTask):
        return None
    if isinstance(task, RequestTask):
        task_id = letter.headers["id"]
        return _awaited(session, UUID(task_id), sender) if is_task_id(task_id) else None
    if not letter.arguments or not task.is_ours(letter.headers, letter.arguments):
        return None
    named = letter.arguments[0]
    return UUID(named) if isinstance(named, str) and is_task_id(named) else None


def _awaited(session: Session, task_id: UUID, sender: UUID | None) -> UUID | None:
    """The transfer whose outcome this request of the sender's waits for."""
    caller = session.get(Continuation, task_id)
    transfer = session.get(Transfer, caller.transfer_id if caller else task_id)
    if transfer is None or sender is None:
        return None
    whose = (caller.agent_id if caller else None) or transfer.agent_id
    return transfer.id if whose == sender else None


def _tell(task: FleetTask, letter: Letter) -> None:
    """Raises what the letter must wait for; what else goes wrong must not hold up the others."""
    try:
        answer(_task(letter), letter, task.request.hostname)
    except (DBAPIError, *AWAY):
        raise
    except Exception:  # of what a stranger wrote: the letter is entered, and that is all
        log.exception("letter.not_answered", task_id=letter.task_id)
