"""Enters a file that its agent has stored itself in the fleet's books."""

from __future__ import annotations

from collections.abc import Sequence

from argosy.broker import is_brokers
from argosy.deadline import Deadline
from argosy.errors import AccessDenied, DeadlineExceeded, Error, FleetUnavailable, TransferCancelled
from argosy.fleet import ANSWER_SECONDS, Fleet
from argosy.reference import FileReference

_ENTER = (
    "upload the same unchanged file by its path again to enter it without sending it, or delete "
    "the object"
)
_AGAIN = "delete the object, and upload the file again"
"""Of one that was compressed on its way: no journal tells what it has become."""


def register(
    fleet: Fleet,
    reference: FileReference,
    etag: str,
    share_with: Sequence[str],
    deadline: Deadline,
) -> FileReference:
    """Have the fleet enter the file and share it; returns the reference as the fleet knows it.

    The same file may be told again. Raises what the fleet answers; FleetUnavailable when it
    does not, or DeadlineExceeded: the file is stored then, and may be entered later.
    """
    waiting = _Within(deadline, ANSWER_SECONDS)
    try:
        answer = fleet.ask(
            "register",
            reference.document(),
            etag,
            task_id=str(reference.id),
            deadline=waiting,
            share_with=list(share_with),
        )
    except (FleetUnavailable, DeadlineExceeded, TransferCancelled) as error:
        raise _untold(error, reference, ended=waiting.was_ours) from error
    except AccessDenied as error:
        if not is_brokers(error):
            raise
        away = FleetUnavailable(error.message)  # for this file it is: nobody has refused that
        raise _untold(away, reference, ended=False) from error
    return FileReference.parse(answer)


class _Within(Deadline):
    """So many seconds for one answer, and no longer than the whole call."""

    def __init__(self, whole: Deadline, seconds: float) -> None:
        super().__init__(seconds)
        self._whole = whole
        self.was_ours = False

    def check(self) -> None:
        """Raise what the whole call's deadline raises, or DeadlineExceeded of this one."""
        self._whole.check()
        self.was_ours = not self.left
        super().check()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than to the end of either."""
        self._whole.wait(min(seconds, self.left))
        self.check()


def _untold(error: Error, reference: FileReference, *, ended: bool) -> Error:
    """The file is stored, but perhaps not entered: say so, and what to do."""
    why = f"the fleet did not answer within {ANSWER_SECONDS:g} s" if ended else error.message
    kind = FleetUnavailable if ended else type(error)
    again = _AGAIN if reference.encoding else _ENTER
    return kind(
        f"{reference.name} is stored as {reference.bucket}/{reference.path}, but the fleet may not "
        f"know it yet: {why.rstrip('.')}. It is transfer {reference.id}: {again}.",
        str(reference.id),
        error.retry_after,
    )
