"""What a command's exit code says: few codes, by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argosy.errors import Error


class Exit(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_THERE = 3
    TEMPORARY = 75
    INTERRUPTED = 130
    UNREAD = 141


MEANINGS = MappingProxyType(
    {
        Exit.DONE: "Done.",
        Exit.FAILED: "The transfer or the check failed, and would fail again.",
        Exit.USAGE: "Wrong usage or settings, or a deployment that is not ready.",
        Exit.NOT_THERE: "There is no such file, transfer or bucket, or the agent may not have it.",
        Exit.TEMPORARY: "It failed for now: the same command may succeed later (EX_TEMPFAIL).",
        Exit.INTERRUPTED: "Interrupted (Ctrl-C). The same upload or download goes on where it was.",
        Exit.UNREAD: "Whoever read the output has gone, as in `argosy ls | head`.",
    }
)


def exit_of(error: Error) -> Exit:
    """The code that says what such an error means to a script."""
    from argosy import errors

    if error.retryable:
        return Exit.TEMPORARY
    for kinds, code in (
        (
            (
                errors.TransferNotFound,
                errors.BucketNotFound,
                errors.ObjectNotFound,
                errors.SourceMissing,
                errors.InvalidToken,
                errors.AccessDenied,
            ),
            Exit.NOT_THERE,
        ),
        ((errors.InvalidState,), Exit.FAILED),
        ((errors.RequestError, errors.NotSignedIn), Exit.USAGE),
    ):
        if isinstance(error, kinds):
            return code
    return Exit.FAILED


def exit_of_all(codes: Iterable[int]) -> int:
    """The code of a command that did several things: TEMPORARY only where all would do later."""
    bad = [code for code in codes if code != Exit.DONE]
    lasting = [code for code in bad if code != Exit.TEMPORARY]
    return (lasting or bad or [Exit.DONE])[0]
