"""The statements that change a transfer and note it in the audit, or note something alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    Select,
    String,
    bindparam,
    cast,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import aliased

from models.base import from_now, table_of
from models.event import Event
from models.transfer import Transfer

_EVENTS, _TRANSFERS = table_of(Event), table_of(Transfer)
_NULLABLE = JSONB(none_as_null=True)
COLUMNS = tuple(column.name for column in _EVENTS.c if column.name not in ("id", "at"))
"""What the writer of an event says of it."""


@cache
def noting() -> Insert:
    """One event; its parameters are `COLUMNS`."""
    said = {name: bindparam(name, type_=_EVENTS.c[name].type) for name in COLUMNS}
    return insert(_EVENTS).values({**said, "detail": bindparam("detail", type_=_NULLABLE)})


@cache
def change_by_parameters(
    names: tuple[str, ...], dated: frozenset[str], *, by_epoch: bool
) -> Select[Transfer]:
    """As `change_to` values that are parameters too, `new_` and the name of the column.

    Those of the `dated` columns are times from now on.
    """
    given = {name: from_now(f"new_{name}") if name in dated else _as_it_is(name) for name in names}
    return change_to(given, by_epoch=by_epoch)


def _as_it_is(name: str) -> ColumnElement[Any]:
    return bindparam(f"new_{name}", type_=_TRANSFERS.c[name].type)


def change_to(values: Mapping[str, Any], *, by_epoch: bool) -> Select[Transfer]:
    """The guarded UPDATE, and with it, if it wins, its events; returns the row as it is then.

    Parameters: `of_id`, `of_state` and, with `by_epoch`, `of_epoch` are the guard; `steps`,
    `befores` and `afters` say of each event its name and the two states; and `outcome` and
    `detail`.
    """
    guarded = update(_TRANSFERS).where(
        _TRANSFERS.c.id == bindparam("of_id"), _TRANSFERS.c.state == bindparam("of_state")
    )
    if by_epoch:
        guarded = guarded.where(_TRANSFERS.c.epoch == bindparam("of_epoch"))
    moved = guarded.values(values).returning(*_TRANSFERS.c).cte("moved")
    row = select(aliased(Transfer, moved)).add_cte(_noted(moved))
    return row.execution_options(populate_existing=True)


def _noted(moved: CTE) -> CTE:
    """An event for each step, in their order: inserted once the row is there, so under its lock."""
    given = {name: bindparam(name, type_=ARRAY(String)) for name in ("steps", "befores", "afters")}
    step = (
        func.unnest(*given.values())
        .table_valued("name", "before", "after", with_ordinality="number", name="step")
        .render_derived()
    )
    said: dict[str, ColumnElement[Any]] = {
        "name": step.c.name,
        "from_state": step.c.before,
        "to_state": step.c.after,
        "transfer_id": moved.c.id,
        "agent_id": moved.c.agent_id,
        "object": moved.c.bucket + "/" + moved.c.object_name,
        "request_id": cast(moved.c.id, String),
        "epoch": moved.c.epoch,
        "reason": moved.c.error_code,
        "outcome": bindparam("outcome", type_=String()),
        "detail": bindparam("detail", type_=_NULLABLE),
    }
    events = select(*said.values()).select_from(moved.join(step, true())).order_by(step.c.number)
    return insert(_EVENTS).from_select(list(said), events).cte("noted")
