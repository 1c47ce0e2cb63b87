"""Messages in the worker's main process: what Celery does with them by itself."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from celery.app.task import Context
from celery.worker.request import Request
from celery.worker.state import revoked

from tasks.envelope import RIDING

_TIMES = {"eta": None, "expires": None}


class FleetRequest(Request):
    """Celery's own record of a message, which comes back when its child was ended by a signal.

    Celery takes that for an operator's wish and says REVOKED, under an id that an agent may
    wait for. It signals its children for itself, too: when the broker is lost. A child that
    outlives that bears a mark, and whatever it is at when it dies would be revoked.
    """

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002
        """End the child of a message that the broker has taken back.

        Celery notes this once it has ended the child, whose end may be seen before that. Nor is
        RETRY recorded, for which the main process would wait for Valkey, child by child: it may
        cover an outcome, and the id may be anybody's.
        """
        self._already_cancelled = True
        super().cancel(pool, signal, emit_retry=False)

    def _announce_revoked(
        self,
        reason: str,
        terminated: bool,  # noqa: FBT001  Celery's own signature
        signum: Any,
        expired: bool,  # noqa: FBT001
    ) -> None:
        """A child that a signal has ended is a lost one, unless an operator revoked its task."""
        if terminated and self.id not in revoked:
            self.reject(requeue=True)
        else:
            super()._announce_revoked(reason, terminated, signum, expired)


class UnknownSendersRequest(FleetRequest):
    """The record of a message that anybody may have sent.

    For a message that has expired or was revoked, and for a child that died or
    took too long, Celery's main process itself records a result and publishes
    callbacks and parts of a chord. Here it finds none of them, and no time at
    which a message would have to be kept, dropped or stopped. The child gets
    the message as it came and looks at who sent it.
    """

    def __init__(self, message: Any, *, headers: dict[str, Any], **named: Any) -> None:
        super().__init__(message, headers={**headers, **_TIMES}, **named)
        self.time_limits = (None, None)
        self._request_dict |= {name: headers.get(name) for name in _TIMES}

    @cached_property
    def _context(self) -> Context:
        return Context({**self._request_dict, **dict.fromkeys(RIDING)})

    def info(self, *_: Any, **__: Any) -> dict[str, Any]:
        """What operators are shown: never the arguments as they came."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown
