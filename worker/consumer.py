"""The worker's main process: takes messages from the broker, and lives whatever they are."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu import Connection, Message

from argosy.settings import fleet_settings
from tasks.properties import take_any_properties
from tasks.protocol import Unfit, malformed
from worker import door, exposition, signs
from worker.aside import Aside
from worker.leaving import Departure
from worker.queues import declare
from worker.refusal import Refusals

log = structlog.get_logger(__name__)

SETTLE_SECONDS = 0.005
"""In which requests that come together are set aside together."""


class FleetConsumer(Consumer):
    """Celery's consumer behind a door. What is refused is acknowledged: it never comes again."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        door.refuse_compression()
        take_any_properties()
        self.refusals = Refusals(fleet_settings().database_url, self.hostname)
        self._aside: Aside | None = None
        self._writing: Any = None
        self.departure = Departure(fleet_settings(), self.hostname, self._children)
        self._folder = signs.folder_of(fleet_settings().state_dir, self.hostname)
        signs.clear(self._folder)
        self._sign = signs.Sign(self._folder, signs.MAIN)
        self._exposition = exposition.of_this_worker(fleet_settings())
        self._tend_metrics()
        self.timer.call_repeatedly(signs.EVERY_SECONDS, self._show_life)
        self.timer.call_repeatedly(signs.EVERY_SECONDS, self._tend_metrics)

    def start(self) -> None:
        """Take messages until somebody asks to end."""
        self.departure.listen()
        super().start()

    def connection_for_write(self, url: str | None = None, heartbeat: int | None = None) -> Any:
        """For events: the loop does not stand still until a broker that hangs has confirmed one."""
        connection = self.app.connection_for_write(url=url, heartbeat=heartbeat)
        unconfirmed = {**connection.transport_options, "confirm_publish": False}
        connection.transport_options = unconfirmed
        return self.ensure_connected(connection)

    def ensure_connected(self, conn: Connection) -> Connection:
        """Connect, however long that takes: meanwhile no loop turns that could show life."""
        connected = threading.Event()
        threading.Thread(target=self._show_life_until, args=(connected,), daemon=True).start()
        try:
            return super().ensure_connected(conn)
        finally:
            connected.set()

    def _show_life_until(self, end: threading.Event) -> None:
        while not end.wait(signs.EVERY_SECONDS):
            self._show_life()

    def _show_life(self) -> None:
        self._sign.show()
        signs.drop_dead(self._folder)

    def _tend_metrics(self) -> None:
        if self._exposition:
            self._exposition.tend()

    def stop(self) -> None:
        """Take no more, and let others have at once what no child has begun."""
        waiting = _not_begun()  # Celery forgets them as it stops
        super().stop()
        waiting |= _not_begun()  # some came while it did
        for request in waiting:
            request.message.reject_log_error(log, self.connection_errors, requeue=True)
        log.info("worker.takes_no_more", given_back=len(waiting))

    def _children(self) -> list[int]:
        try:
            return list(self.pool.info["processes"])
        except AttributeError:  # the pool has ended already
            return []

    def connect(self) -> Any:
        """The broker may be another than before, or have lost everything: declare what there is.

        Celery declares the queues that it reads, and not where their dead letters go.
        """
        connection = super().connect()
        with connection.channel() as channel:
            declare(channel, fleet_settings())
        return connection

    def create_task_handler(self, *positional: Any, **named: Any) -> Callable[[Message], None]:
        """Celery's handler of a message, for those that pass the door."""
        handle = super().create_task_handler(*positional, **named)
        self._let_go_of_aside()
        aside = self._aside = Aside(self.app, handle)

        def on_task_received(message: Message) -> None:
            try:
                door.check(message, self.app.tasks)
                if aside.takes(message):
                    self.timer.call_after(SETTLE_SECONDS, aside.settle)
                else:
                    handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Unfit as error:
                self.refuse(message, error)
            except Exception:  # one message must not end the worker: the broker has more of it
                log.exception("message.surprise")
                self.refuse(message, malformed("it was met by an error of our own"))

        return on_task_received

    def refuse(self, message: Message, error: Unfit) -> None:
        """Be rid of a message, and have the audit know."""
        if not message.acknowledged:
            message.ack_log_error(log, self.connection_errors)
        try:
            self.refusals.add(message, error.reason, str(error))
            self._write_soon()
        except Exception:  # what is wrong with it must not end the worker here either
            log.exception("message.refused", reason=error.reason)

    def on_unknown_message(self, body: Any, message: Message) -> None:  # noqa: ARG002
        """No task message at all."""
        self.refuse(message, malformed("it is no task message"))

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:  # noqa: ARG002
        """Celery would write a result here, under an id that may be anybody's."""
        self.refuse(message, Unfit("unknown_task", "the fleet has no such task"))

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:  # noqa: ARG002
        """A task message that Celery finds fault with."""
        self.refuse(message, malformed(type(exc).__name__))

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """A message that cannot be read."""
        unfit = exc if isinstance(exc, Unfit) else malformed(type(exc).__name__)
        self.refuse(message, unfit)

    def shutdown(self) -> None:
        """Leave nothing unwritten or claimed behind."""
        self.refusals.write()
        self._let_go_of_aside()
        self.departure.settle()
        signs.clear(self._folder)
        if self._exposition:
            self._exposition.close()
        super().shutdown()

    def _let_go_of_aside(self) -> None:
        """What it has not acknowledged went back to the broker with the connection."""
        if self._aside is not None:
            self._aside.close()

    def _write_soon(self) -> None:
        if self._writing is not None and not self._writing.canceled:
            return
        wait = self.refusals.wait()
        if wait == 0:
            self.refusals.write()
            wait = self.refusals.wait()
        if wait < math.inf:
            self._writing = self.timer.call_after(wait, self._write)

    def _write(self) -> None:
        self._writing = None
        self.refusals.write()
        self._write_soon()


def _not_begun() -> set[Any]:
    """Requests that wait for a child that is free."""
    return {one for one in state.reserved_requests if one._apply_result is None}
