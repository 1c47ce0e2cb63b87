"""A dead letter, as it comes from the broker: a message of ours, of an agent, or rubbish."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kombu.utils import json as kombu_json

from argosy.auth import TOKEN_HEADER
from tasks.protocol import (
    MOST_BYTES_OF_OUR_OWN,
    Body,
    Unfit,
    checked_body,
    known_headers,
    malformed,
    said,
)

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Death:
    """Where a message died, why, and how often it did there for that reason."""

    queue: str = UNKNOWN
    reason: str = UNKNOWN
    count: int | None = None


@dataclass(frozen=True)
class Letter:
    """A dead message. Headers and body are in memory only, and None where it is none of Celery's.

    `fingerprint` is the same when the broker delivers the same letter again.
    """

    death: Death
    fingerprint: str
    task: str | None
    task_id: str | None
    headers: Mapping[str, Any] | None = field(repr=False)
    body: Body | None = field(repr=False)

    @property
    def arguments(self) -> list[Any]:
        """What the task was called with, by position."""
        return self.body[0] if self.body else []

    @property
    def token(self) -> Any:
        """The sender's access token, if any."""
        return (self.headers or {}).get(TOKEN_HEADER)

    @property
    def columns(self) -> dict[str, Any]:
        """Of its row: nothing of the body, of the headers only what is named here."""
        return {
            "fingerprint": self.fingerprint,
            "queue": self.death.queue,
            "reason": self.death.reason,
            "deaths": self.death.count,
            "task": self.task,
            "task_id": self.task_id,
        }


def read(properties: Mapping[str, Any], body: bytes | str) -> Letter:
    """Read a message, whatever it is."""
    given = properties.get("application_headers")
    headers: Mapping[Any, Any] = given if isinstance(given, dict) else {}
    content = body.encode() if isinstance(body, str) else bytes(body)
    known: tuple[dict[str, Any], Body] | None = None
    with suppress(Unfit):  # it is told of all the same
        known = _message(properties.get("content_type"), headers, content)
    return Letter(
        death=_death(headers),
        fingerprint=_fingerprint(headers, content),
        task=said(headers.get("task")),
        task_id=said(headers.get("id")),
        headers=known[0] if known else None,
        body=known[1] if known else None,
    )


def _message(
    content_type: Any, headers: Mapping[Any, Any], content: bytes
) -> tuple[dict[str, Any], Body]:
    if content_type != "application/json" or len(content) > MOST_BYTES_OF_OUR_OWN:
        raise malformed("it is no JSON, or too long")
    try:
        decoded = kombu_json.loads(content)
    except Exception:  # a stranger's text may be built to break whatever reads it
        raise malformed("its body is not JSON") from None
    return known_headers(headers), checked_body(decoded)


def _death(headers: Mapping[Any, Any]) -> Death:
    """The latest one: the broker writes that first."""
    latest = _latest(headers)
    count = latest.get("count")
    return Death(
        said(latest.get("queue")) or UNKNOWN,
        said(latest.get("reason")) or UNKNOWN,
        count if isinstance(count, int) and 0 <= count < 2**31 else None,
    )


def _latest(headers: Mapping[Any, Any]) -> Mapping[Any, Any]:
    deaths = headers.get("x-death")
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    return latest if isinstance(latest, dict) else {}


def _fingerprint(headers: Mapping[Any, Any], content: bytes) -> str:
    latest = _latest(headers)
    about = [repr(latest.get(name)) for name in ("queue", "reason", "time", "count")]
    about += [repr(headers.get(name)) for name in ("task", "id")]
    digest = hashlib.sha256(json.dumps(about).encode())
    digest.update(content)
    return digest.hexdigest()
