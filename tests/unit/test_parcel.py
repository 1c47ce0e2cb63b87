"""What an error with one file of a batch does to the others."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from argosy.errors import (
    AccessDenied,
    ChecksumMismatch,
    Error,
    SourceChanged,
    StorageUnavailable,
    TransitCorruption,
)
from models import State
from models.parcel import BatchFile
from tasks import parcel
from tasks.parcel import Sent

FILE = BatchFile(uuid4(), "/spool/a", {"size": 1})


def send(monkeypatch: pytest.MonkeyPatch, error: Error, *, is_last: bool) -> Sent:
    def refuse(*_: object) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(parcel, "_stored", refuse)
    nothing: Any = None
    return parcel._send({"name": "a"}, FILE, nothing, nothing, is_last=is_last)


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("error", [SourceChanged("changed"), ChecksumMismatch("differs")])
def test_it_is_that_files_alone(
    monkeypatch: pytest.MonkeyPatch, error: Error, is_last: bool
) -> None:
    assert not error.retryable
    sent = send(monkeypatch, error, is_last=is_last)
    assert not sent.stored
    assert sent.row == {
        "name": "a",
        "state": State.FAILED,
        "error_code": error.code,
        "error_message": error.message,
    }


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("error", [StorageUnavailable("away"), AccessDenied("disabled")])
def test_it_is_everybodys(monkeypatch: pytest.MonkeyPatch, error: Error, is_last: bool) -> None:
    with pytest.raises(type(error)):
        send(monkeypatch, error, is_last=is_last)


def test_it_may_go_better_later_and_then_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    error = TransitCorruption("spoiled on its way")
    assert error.retryable
    with pytest.raises(TransitCorruption):
        send(monkeypatch, error, is_last=False)
    assert send(monkeypatch, error, is_last=True).row["error_code"] == error.code


def test_what_could_not_be_planned_is_not_tried() -> None:
    nothing: Any = None
    file = BatchFile(uuid4(), "/spool/a", code="source_missing", message="It is not there.")
    sent = parcel._send({}, file, nothing, nothing, is_last=False)
    assert (sent.row["state"], sent.row["error_code"]) == (State.FAILED, "source_missing")
