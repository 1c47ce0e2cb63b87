"""Messages that wait until the test has them delivered, and the results that tasks record."""

from __future__ import annotations

import json
import pkgutil
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from uuid import UUID, uuid5

from celery import Celery
from celery.app.trace import build_tracer
from celery.backends.base import DisabledBackend
from celery.exceptions import Reject
from celery.states import REJECTED

import tasks
from argosy.errors import Error
from tasks.messages import INTERNAL
from tests.steered.moments import fault_now

SPACE = UUID(int=0x4152474F5359)
MODULES = tuple(f"tasks.{module.name}" for module in pkgutil.iter_modules(tasks.__path__))
"""All of them: the fleet's application, which names those with a task, wants real settings."""


@dataclass(frozen=True)
class Message:
    """One message of a task, as it lies in a queue."""

    task: str
    args: tuple[Any, ...]
    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    redelivered: bool = False
    queue: str = INTERNAL

    def __str__(self) -> str:
        again = ", again" if self.redelivered else ""
        named = "".join(f", {name}={value}" for name, value in self.kwargs.items())
        return f"{self.task}{self.args}{named} as {self.id[:8]}{again}"

    def request(self, hostname: str) -> dict[str, Any]:
        """The request as Celery's worker hands it to the tracer."""
        delivery = {
            "redelivered": self.redelivered,
            "exchange": INTERNAL,
            "routing_key": self.queue,
        }
        nothing = dict.fromkeys(("parent_id", "group", "chord", "chain", "callbacks", "errbacks"))
        named = {"id": self.id, "root_id": self.id, "task": self.task, "hostname": hostname}
        times = {"eta": None, "expires": None, "reply_to": None, "ignore_result": None}
        return {**nothing, **named, **times, "delivery_info": delivery, **self.headers}


class Broker:
    """A queue in no order. What lies in it is told apart by what it says, not by when it came."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.sent: list[Message] = []
        self._count = 0

    def put(self, message: Message) -> None:
        """Take a message in."""
        self.waiting.append(message)
        self.waiting.sort(key=lambda one: (one.task, str(one.args), one.redelivered))

    def publish(self, name: str, args: Any, task_id: str | None, headers: Any) -> None:
        """What a task sends."""
        self._count += 1
        said = json.loads(json.dumps([list(args or ()), headers or {}]))
        message = Message(
            name, tuple(said[0]), task_id or str(uuid5(SPACE, str(self._count))), headers=said[1]
        )
        self.sent.append(message)
        self.put(message)

    def take(self, index: int) -> Message:
        """Take one out."""
        return self.waiting.pop(index % len(self.waiting))

    def give_back(self, message: Message) -> None:
        """The broker has not heard the worker's acknowledgement: the message comes again."""
        self.put(replace(message, redelivered=True))

    def clear(self) -> None:
        """Forget everything."""
        self.waiting.clear()
        self.sent.clear()
        self._count = 0


class Results(DisabledBackend):
    """Outcomes in memory, every one that was ever recorded for a task's id."""

    recorded: ClassVar[defaultdict[str, list[tuple[str, Any]]]] = defaultdict(list)

    def store_result(
        self, task_id: str, result: Any, state: str, *_positional: Any, **_named: Any
    ) -> None:
        """Keep an outcome; the worker may die before it, and right after."""
        fault_now()
        told = result.code if isinstance(result, Error) else result
        self.recorded[task_id].append((state, told))
        fault_now()


class SteeredApp(Celery):
    """The fleet's application with another broker."""

    broker: Broker

    def send_task(  # type: ignore[override]
        self, name: str, args: Any = None, task_id: Any = None, headers: Any = None, **_rest: Any
    ) -> None:
        """Put a message into the list. Raises ConnectionError when the broker is away."""
        if fault_now():
            raise ConnectionError("the broker is away")
        self.broker.publish(name, args, task_id, headers)


class Tasks:
    """Runs messages as Celery's worker does: the fleet's tasks, traced."""

    def __init__(self, broker: Broker) -> None:
        self.app = SteeredApp("steered", set_as_current=False, backend=f"{__name__}:Results")
        self.app.broker = broker
        self.app.conf.update(imports=MODULES, task_acks_late=True)
        self.app.loader.import_default_modules()
        self.app.finalize()
        self._tracers: dict[str, Any] = {}

    def run(self, message: Message, hostname: str) -> bool:
        """Run a message's task; False where the message is to come again."""
        trace = self._tracer(message.task)
        try:
            told = trace(message.id, message.args, dict(message.kwargs), message.request(hostname))
        except Reject as rejected:
            return not rejected.requeue
        info = told[1]
        return not (info is not None and info.state == REJECTED and info.retval.requeue)

    def _tracer(self, name: str) -> Any:
        if name not in self._tracers:
            self._tracers[name] = build_tracer(name, self.app.tasks[name], app=self.app)
        return self._tracers[name]
