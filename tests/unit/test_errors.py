"""The tree of errors: as it is drawn, and across the broker and back."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from argosy import errors
from argosy.errors import BY_CODE, Error

LINE = re.compile(r"^ {4}(?P<bars>[│├└─ ]*)(?P<name>[A-Z]\w+)\s*(?P<rest>.*)$")
ALL = sorted(BY_CODE.values(), key=lambda kind: kind.code)


def _drawn() -> Iterator[tuple[str, str | None, str]]:
    """(name, name of the parent, what stands behind it) of each line of the drawing."""
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if not (match := LINE.match(line)):
            continue
        depth = len(match["bars"]) // 4
        above[depth] = match["name"]
        yield match["name"], above.get(depth - 1), match["rest"]


def test_the_drawing_is_the_tree() -> None:
    drawn = {(name, parent) for name, parent, _ in _drawn()}
    real = {
        (kind.__name__, None if kind is Error else kind.__mro__[1].__name__)
        for kind in BY_CODE.values()
    }
    assert drawn == real


def test_the_drawing_names_code_and_trait_of_every_leaf() -> None:
    for name, _parent, rest in _drawn():
        kind = getattr(errors, name)
        if kind.__subclasses__():
            continue
        words = rest.split()
        assert words[0] == kind.code
        assert ("(retryable)" in words) == kind.retryable


def test_no_two_classes_share_a_code() -> None:
    def count(kind: type[Error]) -> int:
        return 1 + sum(count(child) for child in kind.__subclasses__())

    assert count(Error) == len(BY_CODE)
    assert all(BY_CODE[code].code == code for code in BY_CODE)


def test_a_code_is_its_class_in_snake_case() -> None:
    for kind in ALL:
        assert kind.code == re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
def test_every_class_says_what_it_means(kind: type[Error]) -> None:
    assert kind.__doc__


def _same(left: Error, right: Any) -> bool:
    return type(left) is type(right) and vars(left) == vars(right) and str(left) == str(right)


EXAMPLES = [
    lambda kind: kind("größe.bin is gone: look again.", "a-transfer", 2.5),
    lambda kind: kind("without more"),
    lambda kind: kind(),
]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
@pytest.mark.parametrize("make", EXAMPLES, ids=["full", "message", "bare"])
def test_pickled_and_back(kind: type[Error], make: Any) -> None:
    error = make(kind)
    assert _same(error, pickle.loads(pickle.dumps(error)))


@pytest.fixture(scope="module")
def backend() -> Iterator[Any]:
    with Celery("errors", backend="cache+memory://", set_as_current=False) as app:
        app.conf.update(result_serializer="json", accept_content=["json"])
        yield app.backend


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
@pytest.mark.parametrize("make", EXAMPLES, ids=["full", "message", "bare"])
def test_through_a_celery_result_and_back(backend: Any, kind: type[Error], make: Any) -> None:
    error = make(kind)
    sent = backend.encode(backend.prepare_exception(error))
    json.loads(sent)
    assert _same(error, backend.exception_to_python(backend.decode(sent)))


def test_the_text_ends_with_the_code() -> None:
    assert str(errors.DiskFull("No room.")) == "No room. [disk_full]"


def test_about_names_the_transfer_and_keeps_the_rest() -> None:
    error = errors.StorageUnavailable("away", None, 3.0).about("some-id")
    assert (type(error), error.transfer_id) == (errors.StorageUnavailable, "some-id")
    assert (error.message, error.retry_after) == ("away", 3.0)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.code)
def test_no_message_carries_a_secret(backend: Any, kind: type[Error]) -> None:
    """Whoever made it, of whatever a server has answered: results and rows are others' to read."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
    error = kind(f"Answer 500: Bearer {token} at https://host/x?token={token}&part=3", "a-transfer")
    sent = backend.encode(backend.prepare_exception(error))
    for text in (error.message, str(error), repr(error), sent, error.about("other").message):
        assert token.rpartition(".")[2] not in text
        assert "Answer 500: Bearer [redacted]" in text
        assert "&part=3" in text
