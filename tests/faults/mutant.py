"""`python -m tests.faults.mutant RULE worker …`: `argosy worker`, with one rule switched off.

The patch is made before the command runs, so the worker's children inherit it. Nothing of this
is in the fleet's own code.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam

NOTHING = "nothing"


def _replace(original: Any, stand_in: Any) -> None:
    """In every module that has it: most import functions by their names."""
    for module in list(sys.modules.values()):
        for name, value in list(vars(module).items()):
            if value is original:
                setattr(module, name, stand_in)


def _epoch() -> None:
    """Whoever has had a claim may act on it, whosever it is now."""
    from models import Chunk, ChunkState, chunk_claims, transitions

    def held() -> ColumnElement[bool]:
        same = (
            Chunk.transfer_id == bindparam("of_transfer"),
            Chunk.number == bindparam("of_number"),
        )
        claimed_since = Chunk.epoch >= bindparam("of_epoch")
        return and_(*same, claimed_since, Chunk.state == ChunkState.MOVING)

    advance = transitions.advance

    def advance_anyway(*args: Any, epoch: int | None = None, **named: Any) -> Any:
        return advance(*args, **named)

    _replace(chunk_claims.held, held)
    _replace(advance, advance_anyway)
    _replace(transitions.still_claimed, lambda *_: True)


def _etag() -> None:
    """Whatever Storage says that it has is taken for what was sent."""
    from argosy.storage import checksum

    _replace(checksum.etag_agrees, lambda *_, **__: True)


def _resume() -> None:
    """Nothing is ever sent again."""
    from tasks import resume

    _replace(resume._collect, lambda _session: resume.Due())


def _abort() -> None:
    """Nothing is removed of what was cancelled, or has failed."""
    from tasks import clean

    _replace(clean._remove, lambda _left: None)


def _leave() -> None:
    """Who comes too late for a transfer that has ended does not have it cleaned again."""
    from tasks import claims

    _replace(claims.leave, lambda _transfer_id: None)


def _verify() -> None:
    """A download gets its name whatever it is."""
    from tasks import assemble

    _replace(assemble._verify_file, lambda *_: None)


def _results() -> None:
    """A result that cannot be recorded is left to Celery."""
    from celery.backends.redis import RedisBackend

    from worker.results import FleetResults

    FleetResults.store_result = RedisBackend.store_result
    FleetResults.exception_safe_to_retry = lambda *_: False


def _pin() -> None:
    """A sweep takes what a message names."""
    from models import sweep

    look = sweep.look

    def look_past_pins(*args: Any, **named: Any) -> Any:
        return [replace(one, is_pinned=False) for one in look(*args, **named)]

    _replace(look, look_past_pins)


RULES: dict[str, Callable[[], None]] = {
    NOTHING: lambda: None,
    "epoch": _epoch,
    "etag": _etag,
    "resume": _resume,
    "abort": _abort,
    "leave": _leave,
    "verify": _verify,
    "results": _results,
    "pin": _pin,
}


def main(rule: str, *arguments: str) -> None:
    """Load all that the fleet runs, switch the rule off, and be `argosy`."""
    from commands.main import main as argosy
    from worker.app import TASK_MODULES

    for module in TASK_MODULES:
        import_module(module)
    RULES[rule]()
    sys.argv = ["argosy", *arguments]
    argosy()


if __name__ == "__main__":
    main(*sys.argv[1:])
