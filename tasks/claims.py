"""Holding a claim, of a stage or of a chunk: keep it alive, settle what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from argosy.errors import Error, InternalError, StorageUnavailable, TooManyAttempts
from models import DIGEST, Chunk, Continuation, Derivative, Kind, Making, State, Transfer
from models.chunk_claims import drop_chunk, release_chunk, renew_chunk
from models.continuations import owed
from models.derivatives import finish_derivatives, release_derivatives, renew_derivatives
from models.transitions import clean_again, fail, last_put_back, release, renew, still_claimed
from tasks import measures
from tasks.breaker import Away
from tasks.fleet import fleet
from tasks.lease import Lease, LeaseLost
from tasks.messages import own_task_id, send_cleanup, send_continuation
from tasks.turns import give_turns

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS = 60


class PutBack(Exception):
    """The work goes on later, by somebody else; the rows know when."""


@dataclass(frozen=True)
class Again:
    """How work goes back into its row: in how many seconds it may be taken again.

    `blameless` does not count as an attempt. What was not `tried` is put back again and again
    while Storage is away: the audit has that once.
    """

    retry_in: float
    blameless: bool
    tried: bool = True


class Claim(Protocol):
    """What one worker holds of a transfer, until its lease ends."""

    @property
    def what(self) -> str:
        """What that is, in a word."""

    @property
    def transfer(self) -> Transfer:
        """The transfer, as it was when the claim was made."""

    @property
    def attempts(self) -> int:
        """How often this was tried, this time included."""

    @property
    def last_error(self) -> str | None:
        """What went wrong the time before."""

    @property
    def since(self) -> datetime:
        """When the work last got on: a pause that ended is not held against it."""

    @property
    def moves_for(self) -> UUID:
        """The agent whose limits hold for what is moved."""

    @property
    def ends_transfer(self) -> bool:
        """Whether the transfer ends where this fails."""

    @property
    def needs_storage(self) -> bool:
        """Whether Storage is asked for anything."""

    def renew(self, session: Session, lease_seconds: float) -> bool:
        """Prolong the claim; False when it was lost."""

    def put_back(self, session: Session, error: Error, again: Again) -> None:
        """Give the work back, to be taken again."""

    def fail(self, session: Session, error: Error) -> bool:
        """End the work with an error; False when it had ended or the claim was lost."""


class _Moving:
    """What the claims have in common by which bytes are moved."""

    transfer: Transfer
    ends_transfer = True

    @property
    def since(self) -> datetime:
        """When the transfer last moved a byte, or began."""
        return self.transfer.progress_at or self.transfer.created_at

    @property
    def moves_for(self) -> UUID:
        """Whose transfer it is."""
        return self.transfer.agent_id


@dataclass(frozen=True)
class StageClaim(_Moving):
    """The claim on a whole transfer, while it is planned or assembled."""

    what = "stage"
    transfer: Transfer

    @property
    def attempts(self) -> int:
        """How often this stage was tried, this time included."""
        return self.transfer.attempts

    @property
    def needs_storage(self) -> bool:
        """The end of a download is on this side alone."""
        return (self.transfer.kind, self.transfer.state) != (Kind.DOWNLOAD, State.ASSEMBLING)

    @property
    def last_error(self) -> str | None:
        """What went wrong the last time, as the events have it."""
        return fleet().transact(lambda session: last_put_back(session, self.transfer))

    def renew(self, session: Session, lease_seconds: float) -> bool:
        """Prolong the claim; False when it was lost."""
        return renew(session, self.transfer, lease_seconds)

    def put_back(self, session: Session, error: Error, again: Again) -> None:
        """Give the stage back."""
        release(session, self.transfer, error, **vars(again))

    def fail(self, session: Session, error: Error) -> bool:
        """End the transfer, if the claim still stands."""
        return fail(session, self.transfer.id, error, epoch=self.transfer.epoch)


@dataclass(frozen=True)
class ChunkClaim(_Moving):
    """The claim on one chunk."""

    what = "chunk"
    transfer: Transfer
    chunk: Chunk

    @property
    def attempts(self) -> int:
        """How often this chunk was tried, this time included."""
        return self.chunk.attempts

    @property
    def needs_storage(self) -> bool:
        """The checksums are of the file on this side, unless it is sent in the same pass."""
        return self.chunk.number != DIGEST or self.transfer.encoding is not None

    @property
    def last_error(self) -> str | None:
        """What went wrong the time before."""
        return self.chunk.last_error

    def renew(self, session: Session, lease_seconds: float) -> bool:
        """Prolong the claim; False when it was lost or the transfer has ended."""
        return renew_chunk(session, self.chunk, lease_seconds)

    def put_back(self, session: Session, error: Error, again: Again) -> None:
        """Give the chunk back."""
        release_chunk(session, self.chunk, error, **vars(again))

    def fail(self, session: Session, error: Error) -> bool:
        """End the transfer, whoever else holds chunks of it."""
        return drop_chunk(session, self.chunk, error) and fail(session, self.transfer.id, error)


@dataclass(frozen=True)
class DerivativeClaim:
    """The claim on derivatives of a stored file that are made together."""

    transfer: Transfer
    derivatives: Sequence[Derivative]
    note: Callable[[Session, Error], None]
    """Enters the failure where it is kept."""
    what = "derivative"
    ends_transfer = False
    needs_storage = True

    @property
    def attempts(self) -> int:
        """How often this was tried, this time included."""
        return max(derivative.attempts for derivative in self.derivatives)

    @property
    def last_error(self) -> str | None:
        """What went wrong the time before."""
        return self.derivatives[0].reason

    @property
    def since(self) -> datetime:
        """When it was asked for."""
        return max(derivative.updated_at for derivative in self.derivatives)

    @property
    def moves_for(self) -> UUID:
        """Whose rights they are made with."""
        return self.derivatives[0].agent_id or self.transfer.agent_id

    def renew(self, session: Session, lease_seconds: float) -> bool:
        """Prolong the claim; False when it was lost."""
        return renew_derivatives(session, self.derivatives, lease_seconds)

    def put_back(self, session: Session, error: Error, again: Again) -> None:
        """Give them back."""
        release_derivatives(
            session,
            self.derivatives,
            error,
            retry_in=again.retry_in,
            blameless=again.blameless,
        )

    def fail(self, session: Session, error: Error) -> bool:
        """Mark them as failed; the file is what it was."""
        failed = finish_derivatives(
            session,
            self.derivatives,
            Making.FAILED,
            error_code=error.code,
            reason=error.message[:1000],
        )
        if not failed:
            raise LeaseLost  # and nothing of it is entered
        self.note(session, error)
        return True


def require_claim(session: Session, transfer: Transfer) -> None:
    """Raise LeaseLost where the claim on a transfer is somebody else's by now; lock its row."""
    if not still_claimed(session, transfer):
        raise LeaseLost


@contextmanager
def holding(claim: Claim) -> Iterator[Lease]:
    """Do the work of a claim inside this.

    Raises LeaseLost when the claim is somebody else's by now, PutBack when the
    work will be tried again, and the Error that has ended the transfer.
    """
    with measures.claim(claim.what), _holding(claim) as lease:
        yield lease


@contextmanager
def _holding(claim: Claim) -> Iterator[Lease]:
    try:
        _check_attempts(claim)
        with _lease(claim) as lease:
            if claim.needs_storage:
                fleet().breaker.check()
            with fleet().breaker.watching():
                yield lease
    except LeaseLost as lost:
        _put_back(claim, InternalError(lost.why), Again(0, blameless=True))
        raise
    except SQLAlchemyError:
        raise
    except Away as away:
        _settle(claim, StorageUnavailable(str(away), None, away.wait), tried=False)
    except Error as error:
        _settle(claim, error)
    except Exception as error:  # a surprise: counted, tried again, given up in the end
        log.exception("claim.surprise")
        _settle(claim, InternalError(f"{type(error).__name__}: {error}"[:500]))


def _lease(claim: Claim) -> Lease:
    seconds = fleet().settings.lease_seconds
    return Lease(
        lambda: fleet().attempt(lambda session: claim.renew(session, seconds)),
        seconds,
        pace=fleet().throttle.pace(claim.moves_for),
    )


def _check_attempts(claim: Claim) -> None:
    most = fleet().settings.max_attempts
    if claim.attempts > most:
        why = (claim.last_error or "its worker died each time").rstrip(".")
        raise TooManyAttempts(
            f"{claim.transfer.name} was given up after {most} attempts: {why}. Look at the "
            "workers' logs.",
            str(claim.transfer.id),
        )


def _settle(claim: Claim, error: Error, *, tried: bool = True) -> None:
    """End the transfer with this error, or have the work tried again."""
    with suppress(StorageUnavailable):
        fleet().breaker.heard(error)
    if not _may_retry(error, claim):
        _end(claim, error)
        raise error.about(str(claim.transfer.id)) from error
    blameless = isinstance(error, StorageUnavailable)
    _put_back(claim, error, Again(_pause(error, claim), blameless, tried))
    raise PutBack from error


def _may_retry(error: Error, claim: Claim) -> bool:
    if not error.retryable:
        return False
    settings = fleet().settings
    if isinstance(error, StorageUnavailable):
        return _age_seconds(claim) < settings.give_up_hours * 3600
    return claim.attempts < settings.max_attempts


def _pause(error: Error, claim: Claim) -> float:
    """Seconds, with full jitter, unless the server said how many.

    Grows with the attempts; or with the time without progress, where Storage is
    away and attempts do not count.
    """
    if error.retry_after:
        return min(error.retry_after, 10 * LONGEST_PAUSE_SECONDS)
    most = max(2.0 ** min(claim.attempts, 10), _age_seconds(claim) / 4)
    return random.uniform(1, min(LONGEST_PAUSE_SECONDS, most))  # noqa: S311  jitter, no secret


def _age_seconds(claim: Claim) -> float:
    """How long the work did not get on."""
    return (datetime.now(UTC) - claim.since).total_seconds()


def _put_back(claim: Claim, error: Error, again: Again) -> None:
    fleet().transact(lambda session: claim.put_back(session, error, again))
    log.info("claim.put_back", code=error.code, retry_in=round(again.retry_in, 1))
    leave(claim.transfer.id)


def leave(transfer_id: UUID) -> None:
    """Let go of a transfer; if it has ended meanwhile, have removed what came too late."""
    if fleet().transact(lambda session: clean_again(session, transfer_id)):
        send_cleanup(transfer_id)


def _end(claim: Claim, error: Error) -> None:
    """End the work, and mostly its transfer, and tell everybody who waits for it.

    Raises LeaseLost when the claim was stale: then its error says nothing.
    """
    transfer_id = claim.transfer.id

    def work(session: Session) -> tuple[bool, Sequence[Continuation]]:
        failed = claim.fail(session, error)
        return failed, owed(session, transfer_id, but=own_task_id())

    failed, waiting = fleet().transact(work)
    if not failed:
        leave(transfer_id)
        raise LeaseLost from error
    log.info("transfer.failed" if claim.ends_transfer else "derivative.failed", code=error.code)
    if claim.ends_transfer:
        give_turns()
        send_cleanup(transfer_id)
    for continuation in waiting:
        send_continuation(continuation)
