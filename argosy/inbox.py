"""The inbox: messages from other agents, handled one after the other."""

from __future__ import annotations

import inspect
import logging
import math
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import amqp  # type: ignore[import-untyped]

from argosy.broker import LOST, Address
from argosy.client import Client
from argosy.closing import Closing
from argosy.desk import LISTEN_SECONDS, Desk, Shift
from argosy.errors import InvalidRequest
from argosy.handling import Handler, Handling
from argosy.line import Line
from argosy.mailbox import queue_of

log = logging.getLogger(__name__)

AnyHandler = TypeVar("AnyHandler", bound=Handler)

LONGEST_REST_SECONDS = 10.0


class Inbox(Closing):
    """An agent's messages from others.

        inbox = Inbox()

        @inbox.on
        def handle(message: Message) -> None: ...

        inbox.run()

    A message is acknowledged, and its files are unpinned, once the handler has returned.
    When the handler raises, the message comes again after a pause of up to `pause_seconds`,
    which doubles; the `attempts`-th failure (ARGOSY_MESSAGE_ATTEMPTS) puts it aside in
    `messages.NAME.dead`, with the reason in the header `argosy-reason`; its files stay
    pinned for ARGOSY_PIN_DAYS. A delivery that ended the process counts as a failure. What
    cannot be read, or names a file that is gone, changed or not this agent's to read, is put
    aside at once.

    Delivery is at least once: after a lost connection a message may come again although it
    was handled. The handler runs in a thread of its own, one message at a time; start several
    processes for more. RabbitMQ takes a message back that is not acknowledged within
    30 minutes, fetching included, unless its `consumer_timeout` says otherwise.

    `name` is the agent's own where it is not given. With `fetch=False` no file is fetched and
    `message.files` is empty. `prefetch` messages are taken from the queue at once: with more
    than one, those behind a message that pauses go on, but all of them count as delivered
    when the process is killed.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        name: str | None = None,
        fetch: bool = True,
        prefetch: int = 1,
        attempts: int | None = None,
        pause_seconds: float = 1.0,
    ) -> None:
        if prefetch < 1 or (attempts is not None and attempts < 1):
            raise InvalidRequest("prefetch and attempts are 1 at least.")
        self._own = client is None
        self._client = client or Client()
        self._address = Address(self._client.settings.broker_url)
        self._name = name
        self._fetch = fetch
        self._prefetch = prefetch
        self._attempts = attempts or self._client.settings.message_attempts
        self._pause_seconds = pause_seconds
        self._handler: Handler | None = None
        self._stop_asked = False
        self._stopping = threading.Event()

    def on(self, handler: AnyHandler) -> AnyHandler:
        """Have messages handled by a function of one `Message`; also as a decorator.

        Raises InvalidRequest for a second one, and for a coroutine function: that calls
        `asyncio.run` itself.
        """
        if self._handler is not None:
            raise InvalidRequest("The inbox has a handler: make another inbox for another one.")
        if inspect.iscoroutinefunction(handler):
            raise InvalidRequest("A handler is a plain function: call asyncio.run in it.")
        self._handler = handler
        return handler

    def run(self) -> None:
        """Handle messages until `stop`, SIGTERM or SIGINT, and then end the one at hand first.

        While the broker is away it is looked for again and again. Raises AccessDenied when
        the broker refuses the agent, and InvalidRequest when there is no handler, or no such
        agent.
        """
        with self._signals():
            self._serve(Shift(most=math.inf, end=math.inf))

    def run_once(self, timeout: float | None = None) -> bool:
        """Handle one message that comes within `timeout` seconds; whether one did.

        Its pause is sat out when it failed. Raises what `run` raises.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        return self._serve(Shift(most=1, end=end)) > 0

    def stop(self) -> None:
        """Have `run` return once the message at hand is handled. For any thread, and handlers."""
        self._stop_asked = True
        self._stopping.set()

    def close(self) -> None:
        """Give back what the inbox has opened: a client that was given stays open."""
        self.stop()
        if self._own:
            self._client.close()

    # Within

    def _serve(self, shift: Shift) -> int:
        handling = self._handling()
        with ThreadPoolExecutor(1, "argosy-inbox") as thread:
            desk = Desk(handling, thread, shift, self._is_stopping)
            try:
                self._attend(desk)
            finally:
                self._stopping.set()  # nobody waits any longer for what pauses
                self._stop_asked = False
        self._stopping.clear()
        return desk.settled

    def _attend(self, desk: Desk) -> None:
        """Through as many connections as it takes."""
        was_there, failures = False, 0
        while not self._is_over(desk):
            try:
                line = self._line(desk)
            except amqp.NotFound as error:
                if not was_there:
                    raise InvalidRequest(_no_mailbox(desk.handling.name)) from None
                failures = self._rest(desk, error, failures)
            except LOST as error:
                failures = self._rest(desk, error, failures)
            else:
                was_there, failures = True, 0
                self._work(desk, line)

    def _work(self, desk: Desk, line: Line) -> None:
        """On one connection, until it is lost or all is done."""
        try:
            while not self._is_over(desk):
                if self._is_stopping():
                    line.hold()
                desk.work(line)
        except LOST as error:
            log.warning("inbox.disconnected", extra={"error": type(error).__name__})
        finally:
            line.close()

    def _line(self, desk: Desk) -> Line:
        prefetch = min(self._prefetch, desk.shift.most)
        line = Line(self._address, queue_of(desk.handling.name), int(prefetch))
        log.info("inbox.connected", extra={"agent": desk.handling.name})
        return line

    def _is_over(self, desk: Desk) -> bool:
        return desk.is_idle and (self._stop_asked or desk.is_done)

    def _is_stopping(self) -> bool:
        """Whether to stop; if so, what waits elsewhere hears of it now: no signal may tell it."""
        if self._stop_asked:
            self._stopping.set()
        return self._stop_asked

    def _rest(self, desk: Desk, error: Exception, failures: int) -> int:
        """Before another connection; a stop ends it."""
        log.warning("inbox.not_connected", extra={"error": type(error).__name__})
        longest = min(LONGEST_REST_SECONDS, 0.2 * 2 ** min(failures, 10))
        end = time.monotonic() + longest * random.uniform(0.5, 1)  # noqa: S311  spreads load
        while time.monotonic() < end and not (self._is_stopping() and desk.is_idle):
            desk.rest(LISTEN_SECONDS)
        return failures + 1

    def _handling(self) -> Handling:
        if self._handler is None:
            raise InvalidRequest("The inbox has no handler: give it one with `on`.")
        return Handling(
            client=self._client,
            name=self._name or self._client._account.agent_name,
            handler=self._handler,
            fetch=self._fetch,
            attempts=self._attempts,
            pause_seconds=self._pause_seconds,
            stopping=self._stopping,
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGTERM or SIGINT stops politely, the second as it would without us."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}

        def ask(number: int, _frame: Any) -> None:
            self._stop_asked = True  # no lock: the loop may hold it
            signal.signal(number, before[signal.Signals(number)] or signal.SIG_DFL)

        for one in before:
            signal.signal(one, ask)
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler or signal.SIG_DFL)


def _no_mailbox(name: str) -> str:
    return (
        f"RabbitMQ has no queue of messages for an agent {name!r}: check the name, or have the "
        f"operator run `argosy agents enable {name}`."
    )


__all__ = ["Inbox"]
