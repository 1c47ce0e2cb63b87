"""Making the derivatives of one step: claimed, made by whoever claimed them, entered once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from argosy.errors import BY_CODE, Error, MediaError
from argosy.naming import derived_folder
from argosy.storage.content import Content
from argosy.storage.s3 import ObjectStore
from media.remake import sha256_of
from media.versions import versions
from models import Derivative, Making, Outcome, Transfer
from models.continuations import owed
from models.derivatives import (
    claim_derivatives,
    enter,
    finish_derivatives,
    note_object,
    of_file,
)
from models.provenance import note
from models.transitions import record
from tasks.claims import DerivativeClaim, PutBack, holding
from tasks.describe import reference_to
from tasks.fleet import fleet
from tasks.lease import Lease, LeaseLost
from tasks.messages import own_task_id, send_continuation
from tasks.steps import MakingStep, keys_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Work:
    """Derivatives of one stored file that are to be made, with the rights of one agent."""

    transfer: Transfer
    derivatives: Sequence[Derivative]
    agent_id: UUID
    lease: Lease
    places: list[str] = field(default_factory=list)
    """Where something of it is stored, or may be."""

    @property
    def store(self) -> ObjectStore:
        """Storage, as the agent sees it, and no faster than it may."""
        return fleet().store_for(self.agent_id, self.lease)

    def content(self) -> Content:
        """The file's own bytes, of the version that was uploaded."""
        reference = reference_to(self.transfer, ())
        expansion = fleet().settings.expansion
        return Content(self.store, reference, etag=self.transfer.etag, expansion=expansion)

    def blocks(self) -> Iterator[bytes]:
        """All of the file, no faster than the agent may read it. Raises LeaseLost."""
        content = self.content()
        for block in content.get():
            yield block
            self.lease.moved(int(len(block) * content.density))

    def place(self, one: Derivative, leaf: str) -> str:
        """Where a derivative will be stored; noted before anything is, so that it is found.

        Raises LeaseLost.
        """
        path = f"{derived_folder(self.transfer.object_name)}{leaf}"
        self.lease.check()
        if not fleet().transact(lambda session: note_object(session, one, path)):
            raise LeaseLost
        self.places.append(path)
        return path


@dataclass(frozen=True)
class Output:
    """What came of one derivative; `columns` are its row's, `reason` why it was skipped."""

    derivative: Derivative
    columns: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that its own name lacks, and without which it cannot be made again."""

    @property
    def state(self) -> Making:
        """Where the row is then."""
        return Making.SKIPPED if self.reason else Making.MADE

    @property
    def sha256(self) -> str | None:
        """Of the output; of what was only learnt, of its canonical JSON."""
        if self.reason:
            return None
        known: str | None = self.columns.get("sha256")
        return known or sha256_of(self.columns["detail"])


Maker = Callable[[Work, Any], Sequence[Output]]


def make(
    transfer: Transfer,
    agent_id: UUID,
    step: MakingStep,
    maker: Maker,
    *,
    task_id: UUID,
    worker: str,
    takeover: bool,
) -> None:
    """Have the derivatives of a step made, with the rights of this agent, unless they are.

    Raises the error that one of them failed with, PutBack while another worker is at one or
    it will be tried again, LeaseLost.
    """

    def take(session: Session) -> Sequence[Derivative]:
        return claim_derivatives(
            session,
            enter(session, transfer.id, agent_id, keys_of(step)),
            agent_id=agent_id,
            task_id=task_id,
            lease_seconds=fleet().settings.lease_seconds,
            worker=worker,
            takeover=takeover,
        )

    with _naming(transfer.name):
        if claimed := fleet().transact(take):
            _make(transfer, agent_id, claimed, step, maker)
        # Looked at only now: while one worker made these, another has perhaps made the others.
        for one in fleet().transact(
            lambda session: enter(session, transfer.id, agent_id, keys_of(step))
        ):
            _check_made(one)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """What looks into bytes knows no file's name, and says why as a clause."""
    try:
        yield
    except MediaError as error:
        why = error.message.rstrip(".")
        raise type(error)(f"{name}: {why}.", error.transfer_id, error.retry_after) from error


def _check_made(one: Derivative) -> None:
    """Raise the error that it failed with, or PutBack while it is not made."""
    if one.state == Making.DUE:
        raise PutBack("another worker is at it")
    if one.state == Making.FAILED:
        kind = BY_CODE.get(one.error_code or "", MediaError)
        raise kind(one.reason or "", str(one.transfer_id))


def _make(
    transfer: Transfer,
    agent_id: UUID,
    claimed: Sequence[Derivative],
    step: MakingStep,
    maker: Maker,
) -> None:
    def note_failure(session: Session, error: Error) -> None:
        for one in claimed:
            _note(session, transfer, one, "failed", None, {"code": error.code})

    with holding(DerivativeClaim(transfer, claimed, note_failure)) as lease:
        work = Work(transfer, claimed, agent_id, lease)
        with _leaving_no_strays(work):
            outputs = maker(work, step)
            fleet().transact(lambda session: _enter(session, transfer, outputs))
    log.info("derivative.made", step=step.step, transfer_id=str(transfer.id))
    # After the commit: whoever begins to wait from now on finds it made.
    for continuation in fleet().transact(
        lambda session: owed(session, transfer.id, but=own_task_id())
    ):
        send_continuation(continuation)


@contextmanager
def _leaving_no_strays(work: Work) -> Iterator[None]:
    """However the work ends: what was stored for a file that is deleted by then would stay."""
    try:
        yield
    except Exception:  # raised again
        if work.places:
            _remove_strays(work.transfer, work.places)
        raise


def _remove_strays(transfer: Transfer, places: Sequence[str]) -> None:
    """As the service: the agent may not be able to, and nobody knows of these objects."""
    known = {
        one.object_name for one in fleet().transact(lambda session: of_file(session, transfer.id))
    }
    for path in places:
        if path not in known:
            fleet().store_as_service().delete(transfer.bucket, path)


def _enter(session: Session, transfer: Transfer, outputs: Sequence[Output]) -> None:
    """Enter what was made. Raises LeaseLost, also where the file was deleted."""
    for output in outputs:
        facts = {**output.columns, "reason": output.reason}
        made = finish_derivatives(session, [output.derivative], output.state, **facts)
        if not made:
            raise LeaseLost
        detail = {"reason": output.reason} if output.reason else None
        _note(
            session,
            transfer,
            output.derivative,
            output.state,
            output.sha256,
            detail,
            beside=output.beside,
        )


def _note(
    session: Session,
    transfer: Transfer,
    one: Derivative,
    outcome: str,
    sha256: str | None,
    detail: Mapping[str, Any] | None,
    *,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Into the file's provenance, and into the audit."""
    note(
        session,
        transfer.id,
        step=one.kind,
        parameters=json.loads(one.parameters) | dict(beside or {}),
        source_sha256=transfer.sha256,
        output_sha256=sha256,
        outcome=outcome,
        code=versions(one.kind),
        agent_id=one.agent_id,
        detail=detail,
    )
    record(
        session,
        f"derivative.{outcome}",
        transfer,
        agent_id=one.agent_id,
        outcome=Outcome.FAILED if outcome == "failed" else Outcome.OK,
        reason=(detail or {}).get("code"),
        worker=one.worker,
        epoch=one.epoch,
        detail={"kind": one.kind, "parameters": one.parameters},
    )
