"""Changes of a transfer's state: each is one guarded UPDATE that reports whether it won."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ClauseElement,
    Integer,
    Select,
    TableValuedAlias,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import QueryableAttribute, Session
from sqlalchemy.sql.dml import ReturningUpdate

from argosy.errors import BY_CODE, AccessError, Error, TransferError
from models.base import NO_SYNC, from_now, is_free
from models.event import Event, Outcome
from models.noting import COLUMNS, change_by_parameters, change_to, noting
from models.transfer import ENDED, TRANSITIONS, State, Transfer

_NOTHING = {**dict.fromkeys(COLUMNS), "outcome": Outcome.OK}


class IllegalTransition(Exception):
    """The code asked for a change that the state machine does not have."""


def record(session: Session, name: str, transfer: Transfer | None = None, **facts: Any) -> None:
    """Append to the audit: `facts` are the columns of an Event."""
    about = _about(transfer) if transfer is not None else {}
    session.execute(noting(), {**_NOTHING, "name": name, **about, **facts})


def _about(transfer: Transfer) -> dict[str, Any]:
    return {
        "transfer_id": transfer.id,
        "agent_id": transfer.agent_id,
        "object": f"{transfer.bucket}/{transfer.object_name}",
        "request_id": str(transfer.id),
    }


def advance(
    session: Session,
    transfer: Transfer,
    *path: State,
    epoch: int | None = None,
    detail: Mapping[str, Any] | None = None,
    **values: Any,
) -> Transfer | None:
    """Move a transfer from the state it was read in to another, if nobody was faster.

    Through all states of the `path` at once, where there are several. Returns the row as it
    is then, or None. With `epoch`, only while that claim stands; the claim ends with the
    stage. `values` are columns of the row, a timedelta is counted from now; `detail` is noted
    in the audit, and of what fails its `error_code`, from which the outcome is told. Raises
    IllegalTransition when the machine has no such change.
    """
    befores = _before_each(State(transfer.state), path)
    to = path[-1]
    if to in ENDED:
        values.setdefault("ended_at", timedelta(0))
    given = {
        "of_id": transfer.id,
        "of_state": transfer.state,
        "steps": [f"transfer.{after}" for after in path],
        "befores": befores,
        "afters": [after.value for after in path],
        "outcome": _outcome(to, values.get("error_code")),
        "detail": {"kind": transfer.kind, **(detail or {})},
    }
    if epoch is not None:
        given["of_epoch"] = epoch
    values = {"state": to, "lease_until": None, "attempts": 0, **values}
    return session.scalars(*_change(values, given)).one_or_none()


def _before_each(first: State, path: Sequence[State]) -> list[str]:
    """The states from which the path goes on. Raises IllegalTransition."""
    befores = [first, *path[:-1]]
    for before, after in zip(befores, path, strict=True):
        if after not in TRANSITIONS[before]:
            raise IllegalTransition(f"{before} -> {after}")
    return [before.value for before in befores]


def _change(
    values: Mapping[str, Any], given: dict[str, Any]
) -> tuple[Select[Transfer], dict[str, Any]]:
    """The statement of a change and its parameters; built anew where a value is an expression."""
    by_epoch = "of_epoch" in given
    dated = frozenset(name for name, value in values.items() if isinstance(value, timedelta))
    if any(isinstance(value, ClauseElement | QueryableAttribute) for value in values.values()):
        times = {name: func.now() + values[name] for name in dated}
        return change_to({**values, **times}, by_epoch=by_epoch), given
    bound = {f"new_{name}": value for name, value in values.items()}
    return change_by_parameters(tuple(values), dated, by_epoch=by_epoch), {**given, **bound}


def _step(
    moved: Transfer, before: State, to: State, detail: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the audit keeps of a change of state: columns of an Event."""
    return {
        **_about(moved),
        "name": f"transfer.{to}",
        "from_state": before,
        "to_state": to,
        "epoch": moved.epoch,
        "outcome": _outcome(to, moved.error_code),
        "reason": moved.error_code,
        "detail": {"kind": moved.kind, **(detail or {})},
    }


def expire(
    session: Session,
    files: Collection[Transfer],
    tombstones: Mapping[UUID, Mapping[str, Any]],
    details: Mapping[UUID, Mapping[str, Any]],
) -> frozenset[UUID]:
    """As `advance` to expired with a tombstone, for many claimed files in one statement.

    Each only while the claim with which it was read stands; when it was completed stays as it
    was. Returns those that are expired now.
    """
    given = _claims_on(files, tombstones)
    moved = frozenset(
        session.scalars(
            update(Transfer)
            .where(Transfer.id == given.c.id, Transfer.epoch == given.c.epoch)
            .where(Transfer.state == State.COMPLETED)
            .values(state=State.EXPIRED, lease_until=None, attempts=0, tombstone=given.c.tombstone)
            .returning(Transfer.id)
            .execution_options(**NO_SYNC)
        )
    )
    steps = [
        _step(file, State.COMPLETED, State.EXPIRED, details[file.id])
        for file in files
        if file.id in moved
    ]
    if steps:
        session.execute(insert(Event), steps)
    return moved


def _claims_on(
    files: Collection[Transfer], tombstones: Mapping[UUID, Mapping[str, Any]]
) -> TableValuedAlias:
    """As a table: of each file the id, the epoch of its claim, and what its stone is to say."""
    columns = column("id", Uuid), column("epoch", Integer), column("tombstone", JSONB)
    many = func.unnest(
        cast([file.id for file in files], ARRAY(Uuid)),
        cast([file.epoch for file in files], ARRAY(Integer)),
        cast([dict(tombstones[file.id]) for file in files], ARRAY(JSONB)),
    )
    return many.table_valued(*columns, name="given").render_derived()


def _outcome(to: State, code: str | None) -> Outcome:
    if to != State.FAILED:
        return Outcome.OK
    refused = issubclass(BY_CODE.get(code or "", Error), AccessError)
    return Outcome.REFUSED if refused else Outcome.FAILED


def claim(
    session: Session,
    transfer_id: UUID,
    states: frozenset[State],
    *,
    lease_seconds: float,
    worker: str,
    takeover: bool = False,
) -> Transfer | None:
    """Take the stage of a transfer, or None when somebody holds it or it is elsewhere.

    `takeover` ignores a standing lease: the broker has said that the message's
    former holder is gone. If it is not, its epoch is stale and it changes nothing.
    """
    given = {
        "of_id": transfer_id,
        "takeover": takeover,
        "lease": timedelta(seconds=lease_seconds),
        "by_worker": worker,
    }
    return session.scalars(_claiming(states), given).one_or_none()


@cache
def _claiming(states: frozenset[State]) -> ReturningUpdate[Transfer]:
    lease_end = from_now("lease")
    return (
        update(Transfer)
        .where(Transfer.id == bindparam("of_id"), Transfer.state.in_(states))
        .where(or_(is_free(Transfer.lease_until), bindparam("takeover", type_=Boolean())))
        .values(
            epoch=Transfer.epoch + 1,
            attempts=Transfer.attempts + 1,
            lease_until=lease_end,
            republish_at=lease_end,
            worker=bindparam("by_worker"),
            started_at=func.coalesce(Transfer.started_at, func.now()),
        )
        .returning(Transfer)
        .execution_options(**NO_SYNC)
    )


def renew(session: Session, transfer: Transfer, lease_seconds: float) -> bool:
    """Prolong a claimed stage; False when the claim was lost."""
    lease_end = func.now() + timedelta(seconds=lease_seconds)
    result = session.execute(
        update(Transfer)
        .where(Transfer.id == transfer.id, Transfer.epoch == transfer.epoch)
        .where(Transfer.state == transfer.state)
        .values(lease_until=lease_end, republish_at=lease_end)
        .returning(Transfer.id)
        .execution_options(**NO_SYNC)
    )
    return result.one_or_none() is not None


def still_claimed(session: Session, transfer: Transfer) -> bool:
    """Whether a claimed stage still is; if so, nobody changes that before the transaction ends."""
    held = {"of_id": transfer.id, "of_epoch": transfer.epoch, "of_state": transfer.state}
    return session.scalar(_holding(), held) is not None


@cache
def _holding() -> Select[UUID]:
    return (
        select(Transfer.id)
        .where(Transfer.id == bindparam("of_id"), Transfer.epoch == bindparam("of_epoch"))
        .where(Transfer.state == bindparam("of_state"))
        .with_for_update()
    )


PUT_BACK = "transfer.put_back"
"""Name of the event that says that a stage was given back, and why."""


def last_put_back(session: Session, transfer: Transfer) -> str | None:
    """Why the stage was given back the last time; None if the last event is another."""
    query = select(Event).where(Event.transfer_id == transfer.id).order_by(Event.id.desc())
    last = session.scalar(query.limit(1))
    if last is None or last.name != PUT_BACK or last.detail is None:
        return None
    return f"{last.detail['code']}: {last.detail['message']}"


def release(
    session: Session,
    transfer: Transfer,
    error: Error,
    *,
    retry_in: float,
    blameless: bool,
    tried: bool = True,
) -> None:
    """Give a claimed stage back, to be taken again after `retry_in` seconds.

    Once, also where this is repeated because the answer to a commit was lost. What was not
    tried is noted once.
    """
    result = session.execute(
        update(Transfer)
        .where(Transfer.id == transfer.id, Transfer.epoch == transfer.epoch)
        .where(Transfer.state == transfer.state, Transfer.lease_until.is_not(None))
        .values(
            lease_until=None,
            republish_at=func.now() + timedelta(seconds=retry_in),
            attempts=Transfer.attempts - (1 if blameless else 0),
        )
        .returning(Transfer.id)
        .execution_options(**NO_SYNC)
    )
    if result.one_or_none() is not None and (tried or not last_put_back(session, transfer)):
        detail = {"code": error.code, "message": error.message, "retry_in": round(retry_in, 1)}
        record(session, PUT_BACK, transfer, epoch=transfer.epoch, detail=detail)


def fail(session: Session, transfer_id: UUID, error: Error, *, epoch: int | None = None) -> bool:
    """End a transfer with an error; False when it had ended, or the claim was lost."""
    transfer = session.scalars(
        select(Transfer)
        .where(Transfer.id == transfer_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()
    if transfer.state in ENDED or (epoch is not None and transfer.epoch != epoch):
        return False
    ended = advance(
        session, transfer, State.FAILED, error_code=error.code, error_message=error.message
    )
    return ended is not None


def clean_again(session: Session, transfer_id: UUID) -> bool:
    """Have a failed or cancelled transfer cleaned once more; False for any other.

    A worker lets go of it only now: what it was at may have arrived after a clean-up, or
    beside one, which the new epoch keeps from being the last.
    """
    result = session.execute(
        update(Transfer)
        .where(Transfer.id == transfer_id, Transfer.state.in_((State.FAILED, State.CANCELLED)))
        .values(cleaned_at=None, lease_until=None, epoch=Transfer.epoch + 1)
        .returning(Transfer.id)
        .execution_options(**NO_SYNC)
    )
    return result.one_or_none() is not None


def recorded_error(transfer: Transfer) -> Error:
    """The exception that a failed or cancelled row stands for."""
    kind = BY_CODE.get(transfer.error_code or "", TransferError)
    return kind(transfer.error_message or f"The transfer is {transfer.state}.", str(transfer.id))
