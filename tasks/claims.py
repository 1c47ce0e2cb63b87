"""Holding a stage of a transfer, or one chunk: keep the claim, settle what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy.orm import Session

from argosy.errors import Error, StorageUnavailable, TooManyAttempts
from models import Chunk, Continuation, Transfer
from models.continuations import owed
from models.ledger import release_chunk, renew_chunk
from models.transitions import fail, release, renew
from tasks.fleet import fleet
from tasks.lease import Lease, LeaseLost
from tasks.messages import own_task_id, send_cleanup, send_continuation

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 60


class PutBack(Exception):
    """The work goes on later, by somebody else; the rows know when."""


@contextmanager
def holding(transfer: Transfer) -> Iterator[Lease]:
    """Hold a claimed stage. An error ends the transfer, or puts the stage back (PutBack)."""
    settings = fleet().settings
    seconds = settings.lease_seconds

    def keep() -> bool:
        return fleet().attempt(lambda session: renew(session, transfer, seconds))

    try:
        if transfer.attempts > settings.max_attempts:
            raise _exhausted(transfer, "its worker died each time")
        with Lease(keep, seconds / 3) as lease:
            yield lease
    except Error as error:
        if not _may_retry(error, transfer, transfer.attempts):
            end_with(transfer, error, epoch=transfer.epoch)
            raise
        _put_stage_back(transfer, error)
        raise PutBack from error


@contextmanager
def holding_chunk(transfer: Transfer, chunk: Chunk) -> Iterator[Lease]:
    """Hold a claimed chunk. An error ends the transfer, or puts the chunk back (PutBack)."""
    settings = fleet().settings
    seconds = settings.lease_seconds

    def keep() -> bool:
        return fleet().attempt(lambda session: renew_chunk(session, chunk, seconds))

    try:
        if chunk.attempts > settings.max_attempts:
            raise _exhausted(transfer, chunk.last_error or "its worker died each time")
        with Lease(keep, seconds / 3) as lease:
            yield lease
    except LeaseLost:
        _put_chunk_back(chunk, "the lease was lost, or the transfer moves no more", 0)
        raise
    except Error as error:
        blameless = isinstance(error, StorageUnavailable)
        reason = f"{error.code}: {error.message}"[:500]
        _put_chunk_back(chunk, reason, _pause(error, chunk.attempts), blameless=blameless)
        if not _may_retry(error, transfer, chunk.attempts):
            end_with(transfer, error)
            raise
        raise PutBack from error


def end_with(transfer: Transfer, error: Error, *, epoch: int | None = None) -> None:
    """End a transfer with an error and tell everybody who waits for it."""

    def work(session: Session) -> tuple[bool, Sequence[Continuation]]:
        failed = fail(session, transfer.id, error, epoch=epoch)
        return failed, owed(session, transfer.id, but=own_task_id())

    failed, waiting = fleet().transact(work)
    if failed:
        log.info("transfer.failed", code=error.code)
        send_cleanup(transfer.id)
        for continuation in waiting:
            send_continuation(continuation)


def _put_stage_back(transfer: Transfer, error: Error) -> None:
    pause = _pause(error, transfer.attempts)
    blameless = isinstance(error, StorageUnavailable)
    fleet().transact(
        lambda session: release(session, transfer, error, retry_in=pause, blameless=blameless)
    )
    log.info("transfer.put_back", code=error.code, retry_in=round(pause, 1))


def _put_chunk_back(chunk: Chunk, reason: str, pause: float, *, blameless: bool = False) -> None:
    fleet().transact(
        lambda session: release_chunk(session, chunk, reason, retry_in=pause, blameless=blameless)
    )
    log.info("chunk.put_back", number=chunk.number, reason=reason, retry_in=round(pause, 1))


def _may_retry(error: Error, transfer: Transfer, attempts: int) -> bool:
    if not error.retryable:
        return False
    settings = fleet().settings
    if isinstance(error, StorageUnavailable):
        age = datetime.now(UTC) - transfer.created_at
        return age < timedelta(hours=settings.give_up_hours)
    return attempts < settings.max_attempts


def _pause(error: Error, attempts: int) -> float:
    """Full jitter, unless the server said how long."""
    if error.retry_after:
        return min(error.retry_after, 10 * LONGEST_PAUSE_SECONDS)
    most = min(LONGEST_PAUSE_SECONDS, 2.0 ** min(attempts, 10))
    return random.uniform(1, most)  # noqa: S311  jitter, not a secret


def _exhausted(transfer: Transfer, last: str) -> TooManyAttempts:
    return TooManyAttempts(
        f"{transfer.name} was given up after {fleet().settings.max_attempts} attempts: {last}.",
        str(transfer.id),
    )
