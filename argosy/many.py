"""What came of many files that were asked for at once."""

from __future__ import annotations

from typing import Any

from argosy.errors import BY_CODE, Error
from argosy.reference import FileReference


def outcomes(result: Any) -> list[FileReference | Error]:
    """The result of `transfer.upload_many`: of each file its reference, or why it has none.

    In the order in which they were asked for. Raises InvalidReference for what is no such result.
    """
    return [_outcome(one) for one in result]


def _outcome(one: Any) -> FileReference | Error:
    if isinstance(one, dict) and "error" in one:
        return BY_CODE.get(one["error"], Error)(one["message"])
    return FileReference.parse(one)
