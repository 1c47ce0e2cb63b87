"""A transfer in words: where it is, how fast, and why it waits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from commands.output import moment, seconds, size

if TYPE_CHECKING:
    from argosy.info import DeadLetter, Status

HEAD = ("transfer", "state", "done", "rate", "agent", "name")
"""The columns of `row`."""


def row(status: Status) -> tuple[str, ...]:
    """One line of a table of transfers."""
    rate = f"{size(status.rate)}/s" if status.rate else ""
    done = percent(status)
    return str(status.id), status.state, done, rate, status.agent or "", status.name


def percent(status: Status) -> str:
    """How much of it has been moved."""
    if not status.size:
        return "100 %" if status.state in ("completed", "expired") else ""
    return f"{100 * status.bytes_done // status.size} %"


def line(status: Status) -> str:
    """One line on one transfer, for a log."""
    waits = f"  {status.waits[0]}" if status.waits else ""
    return f"{status.id}  {status.state}  {percent(status)}  {status.name}{waits}"


def account(status: Status) -> list[str]:
    """Everything that is known of a transfer, a line each."""
    found = [f"{status.name}: {status.kind}, {status.state}"]
    for name, said in _facts(status):
        words = [said] if isinstance(said, str) else list(said)
        heads = [name, *[""] * len(words)]
        found += [f"  {head:<11}{word}" for head, word in zip(heads, words, strict=False) if word]
    return found


def _facts(status: Status) -> Iterable[tuple[str, str | Iterable[str]]]:
    yield "waits", status.waits
    yield "error", f"{status.error.message} [{status.error.code}]" if status.error else ""
    yield "done", _done(status)
    yield "parts", _parts(status)
    yield "attempts", str(status.attempts) if status.attempts > 1 else ""
    yield "died", [_died(letter) for letter in status.dead_letters]
    yield "retry of", str(status.retry_of) if status.retry_of else ""
    yield "retried as", str(status.retried_as) if status.retried_as else ""
    yield "file", f"{status.bucket}/{status.path}"
    yield "transfer", str(status.id)
    yield "agent", status.agent or ""
    yield "asked for", moment(status.created_at)
    yield "begun", moment(status.started_at)
    yield "ended", moment(status.ended_at)
    if status.tombstone is None:
        yield "expires", moment(status.expires_at)
    elif status.tombstone.why == "expired":  # else it went before its time
        yield "expired", moment(status.expires_at)
    yield "gone", gone(status)


def gone(status: Status) -> str:
    """What became of a file that is there no more."""
    if status.tombstone is None:
        return ""
    why = "its time had ended" if status.tombstone.why == "expired" else status.tombstone.why
    return f"{moment(status.tombstone.at)}: {why}, by {status.tombstone.by}"


def _died(letter: DeadLetter) -> str:
    return f"{letter.task or 'a message'} in {letter.queue} at {moment(letter.at)}: {letter.reason}"


def _done(status: Status) -> str:
    if status.size is None:
        return ""
    words = [f"{size(status.bytes_done)} of {size(status.size)} ({percent(status) or '0 %'})"]
    if status.rate:
        words.append(f"{size(status.rate)}/s")
    if status.eta_seconds is not None:
        words.append(f"about {seconds(status.eta_seconds)} left")
    return ", ".join(words)


def _parts(status: Status) -> str:
    parts = status.parts
    if parts.total < 2:
        return ""
    told = {name: getattr(parts, name) for name in ("stored", "moving", "queued", "waiting")}
    return ", ".join(f"{count} {name}" for name, count in told.items() if count) + (
        f", of {parts.total}"
    )
