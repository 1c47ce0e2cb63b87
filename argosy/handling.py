"""What an inbox does with one message: read it, fetch its files, have it handled."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from argosy.broker import NotTaken, publisher
from argosy.envelope import Envelope, read_envelope, read_json
from argosy.errors import (
    BucketNotFound,
    ChecksumMismatch,
    DestinationUnwritable,
    Error,
    ExpansionTooLarge,
    InvalidMessage,
    InvalidReference,
    InvalidRequest,
    InvalidToken,
    NotSignedIn,
    ObjectNotFound,
    TooManyAttempts,
)
from argosy.fetch import LocalFile, fetched
from argosy.line import Delivery
from argosy.mailbox import dead_key_of
from argosy.messages import MAX_BODY_BYTES, Message
from argosy.redaction import redact
from argosy.reference import FileReference
from argosy.references import is_reference, references_in

if TYPE_CHECKING:
    from argosy.client import Client

log = logging.getLogger(__name__)

Handler = Callable[[Message], object]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Of a message as it comes from the broker; RabbitMQ 4 takes no larger one by default."""
HOPELESS = (
    InvalidMessage,
    InvalidReference,
    InvalidRequest,
    ObjectNotFound,
    BucketNotFound,
    ChecksumMismatch,
    ExpansionTooLarge,
)
"""What another try would not change, before the handler has run."""
OWN_TROUBLE = (NotSignedIn, InvalidToken, DestinationUnwritable)
"""What is no message's fault: the next one would fare no better, so the inbox ends with it.

A full disk is left out: how much room a file needs is its sender's doing.
"""
FETCH_TRIES = 4
"""Times that files are fetched for one delivery, while Storage is away."""
LONGEST_PAUSE_SECONDS = 60.0
REASON_LETTERS = 1000


class Verdict(Enum):
    """What becomes of a message."""

    DONE = "done"
    ASIDE = "aside"
    AGAIN = "again"


@dataclass(frozen=True)
class Outcome:
    """`message_id` is there where the files that `sender` pinned for it may be unpinned.

    `pause` is in seconds.
    """

    verdict: Verdict
    message_id: UUID | None = None
    sender: str | None = None
    pause: float = 0.0


@dataclass(frozen=True)
class Handling:
    """How one agent's messages are handled. Each call is one message, in one thread.

    `pause_seconds` is the longest pause after a first failure; it doubles. `stopping` cuts
    what waits short.
    """

    client: Client
    name: str
    handler: Handler
    fetch: bool
    attempts: int
    pause_seconds: float
    stopping: threading.Event

    def __call__(self, delivery: Delivery) -> Outcome:
        """Raises OWN_TROUBLE, and what the handler raises to end the process: SystemExit."""
        if delivery.failures >= self.attempts:
            return self._put_aside(delivery, _never_returned(delivery))
        with ExitStack() as stack:
            try:
                message = self._prepared(delivery, stack)
            except OWN_TROUBLE:
                raise
            except HOPELESS as error:
                return self._put_aside(delivery, error)
            except Exception as error:  # whatever it is, the message is not lost
                return self._failed(delivery, error)
            try:
                self.handler(message)
            except Exception as error:  # the handler's own, of any kind
                return self._failed(delivery, error)
        log.info("message.handled", extra=_about(delivery))
        return Outcome(Verdict.DONE, message.id, message.sender or message.claimed_sender)

    # Before the handler

    def _prepared(self, delivery: Delivery, stack: ExitStack) -> Message:
        if len(delivery.body) > MAX_MESSAGE_BYTES:
            raise InvalidMessage(
                f"The message has {len(delivery.body):,} bytes, {MAX_MESSAGE_BYTES:,} may be: "
                "large things travel as files."
            )
        document = read_json(delivery.body)
        limit = self.client.settings.message_references
        references_in(document, limit=limit + _is_claim_check(document))
        envelope = read_envelope(document)
        message = _message(delivery, document, envelope)
        held = envelope.body_reference if envelope else None
        if held:
            message = replace(message, body=self._fetched_body(held))
        named = references_in([list(message.attachments), message.body], limit=limit)
        files = self._fetched(named, stack) if self.fetch else []
        return replace(message, files=tuple(files))

    def _fetched_body(self, held: FileReference) -> Any:
        if held.size > MAX_BODY_BYTES:
            raise InvalidMessage(
                f"The message's body has {held.size:,} bytes, {MAX_BODY_BYTES:,} may be."
            )
        with ExitStack() as stack:
            [file] = self._fetched([held], stack)
            return read_json(file.path.read_bytes())

    def _fetched(self, references: list[FileReference], stack: ExitStack) -> list[LocalFile]:
        """With patience: while Storage is away, no message fails for it at once."""
        for number in range(1, FETCH_TRIES):
            try:
                return stack.enter_context(fetched(self.client, references))
            except Error as error:
                pause = max(self._pause(number), error.retry_after or 0)
                if not error.retryable or self.stopping.wait(min(pause, LONGEST_PAUSE_SECONDS)):
                    raise
        return stack.enter_context(fetched(self.client, references))

    # After a failure

    def _failed(self, delivery: Delivery, error: Exception) -> Outcome:
        failures = delivery.failures + 1
        about = {**_about(delivery), "error": type(error).__name__, "failures": failures}
        log.warning("message.failed", extra=about, exc_info=error)
        if failures >= self.attempts:
            return self._put_aside(delivery, error, failures)
        return Outcome(Verdict.AGAIN, pause=self._pause(failures))

    def _put_aside(
        self, delivery: Delivery, error: Exception, failures: int | None = None
    ) -> Outcome:
        """Keep a copy among the dead letters; its files stay pinned, for whoever looks at it."""
        headers: dict[str, str | int] = {
            "argosy-reason": reason_of(error),
            "argosy-attempts": failures or delivery.failures,
            "argosy-failed-at": datetime.now(UTC).isoformat(),
            **({"argosy-sender": delivery.sender} if delivery.sender else {}),
        }
        try:
            publisher(self.client.settings.broker_url).publish(
                dead_key_of(self.name),
                delivery.body,
                message_id=_text(delivery.properties.get("message_id")),
                headers=headers,
            )
        except (NotTaken, Error) as unsent:
            about = {**_about(delivery), "error": str(unsent)}
            log.error("message.not_put_aside", extra=about)  # noqa: TRY400  no trace is needed
            return Outcome(Verdict.AGAIN, pause=self._pause(self.attempts))
        log.warning("message.put_aside", extra={**_about(delivery), "error": type(error).__name__})
        return Outcome(Verdict.ASIDE)

    def _pause(self, failures: int) -> float:
        """At random, so that many do not come back at once."""
        longest = min(LONGEST_PAUSE_SECONDS, self.pause_seconds * 2.0 ** (failures - 1))
        return random.uniform(0.5, 1) * longest  # noqa: S311  spreads load


def reason_of(error: Exception) -> str:
    """As `code: sentence`, in a line, and without what looks like a secret."""
    if isinstance(error, Error):
        code, sentence = error.code, error.message
    else:
        code, sentence = "handler_failed", f"{type(error).__name__}: {error}"
    return redact(f"{code}: {' '.join(sentence.split())}")[:REASON_LETTERS]


def _never_returned(delivery: Delivery) -> TooManyAttempts:
    return TooManyAttempts(
        f"The message was delivered {delivery.failures} times and never acknowledged: its "
        "handler ended the process, or took too long."
    )


def _is_claim_check(document: Any) -> bool:
    """Whether the body is one more file, beside those that the message is about."""
    return isinstance(document, dict) and is_reference(document.get("body_reference"))


def _message(delivery: Delivery, document: Any, envelope: Envelope | None) -> Message:
    came = Message(
        document,
        sender=delivery.sender,
        redelivered=delivery.redelivered,
        attempt=delivery.failures + 1,
    )
    if envelope is None:
        return came
    return replace(
        came,
        body=envelope.body,
        id=envelope.id,
        claimed_sender=envelope.sender,
        sent_at=envelope.sent_at,
        attachments=envelope.attachments,
    )


def _about(delivery: Delivery) -> dict[str, Any]:
    return {"message_id": _text(delivery.properties.get("message_id")), "tag": delivery.tag}


def _text(value: Any) -> str | None:
    return value[:255] if isinstance(value, str) else None
