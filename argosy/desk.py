"""The message at hand: handled in one thread, while another one keeps the connection alive."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from argosy.errors import Error
from argosy.handling import Handling, Outcome, Verdict
from argosy.line import Delivery, Line

if TYPE_CHECKING:
    from argosy.client import Client

log = logging.getLogger(__name__)

LISTEN_SECONDS = 0.25
"""How long one step listens, before it is looked whether to stop."""


@dataclass
class Shift:
    """How many messages to handle, and until when (monotonic) one may come."""

    most: float
    end: float


class Desk:
    """The message at hand, and those that pause; they outlive a connection."""

    def __init__(
        self,
        handling: Handling,
        thread: ThreadPoolExecutor,
        shift: Shift,
        is_stopping: Callable[[], bool],
    ) -> None:
        self.handling = handling
        self.shift = shift
        self.settled = 0
        self._thread = thread
        self._is_stopping = is_stopping
        self._at_hand: tuple[Delivery, Future[Outcome]] | None = None
        self._pausing: list[tuple[float, Delivery]] = []
        self._has_listened = False

    @property
    def is_idle(self) -> bool:
        """Whether no handler runs."""
        return self._at_hand is None

    @property
    def is_done(self) -> bool:
        """Whether all that was asked for is done, or did not come in time."""
        late = self._has_listened and time.monotonic() >= self.shift.end
        return self.settled >= self.shift.most or (late and not self._pausing)

    def work(self, line: Line) -> None:
        """A step: begin, wait, or settle. Raises errors of LOST."""
        self._give_back(line)
        if self._at_hand is None:
            self._begin(line)
        if self._at_hand is None:
            line.listen(LISTEN_SECONDS)
            self._has_listened = True
            self._begin(line)  # what has come is handled, also when it came late
            return
        delivery, job = self._at_hand
        wait_for([job], LISTEN_SECONDS)
        line.listen(0)
        if job.done():
            self._at_hand = None
            self._settle(line, delivery, job.result())

    def rest(self, seconds: float) -> None:
        """A step without a connection: the message at hand comes again, whatever it comes to."""
        self._has_listened = True
        if self._at_hand is None:
            self.handling.stopping.wait(seconds)
            return
        delivery, job = self._at_hand
        wait_for([job], seconds)
        if job.done():
            self._at_hand = None
            job.result()
            log.warning("message.comes_again", extra={"tag": delivery.tag})

    def _begin(self, line: Line) -> None:
        delivery = None if self.handling.stopping.is_set() else line.next()
        if delivery is None:
            return
        if self.shift.most == 1:
            line.hold()
        self._at_hand = (delivery, self._thread.submit(self.handling, delivery))

    def _settle(self, line: Line, delivery: Delivery, outcome: Outcome) -> None:
        if delivery.line is not line:  # the broker has taken it back with the connection
            log.warning("message.comes_again", extra={"tag": delivery.tag})
            self.settled += 1
            return
        if outcome.verdict is Verdict.AGAIN:
            self._pausing.append((time.monotonic() + outcome.pause, delivery))
            return
        self.settled += 1
        if self._is_stopping():
            line.hold()  # else the next message would come, and go back with a failure to its name
        line.acknowledge(delivery)
        if outcome.message_id:
            self._thread.submit(_unpin, self.handling.client, outcome.message_id, outcome.sender)

    def _give_back(self, line: Line) -> None:
        """What has paused; at a stop, closing the connection gives everything back."""
        now = time.monotonic()
        due = [one for one in self._pausing if one[0] <= now or one[1].line is not line]
        self._pausing = [one for one in self._pausing if one not in due]
        for _, delivery in due:
            self.settled += 1
            if delivery.line is line:
                line.give_back(delivery)


def _unpin(client: Client, message_id: UUID, sender: str | None) -> None:
    """The message has arrived; a pin that cannot be taken back ends by itself."""
    try:
        client._fleet.send("unpin", str(message_id), sender)
    except Error as error:
        about = {"message_id": str(message_id), "error": error.code}
        log.warning("message.not_unpinned", extra=about)
