"""Removing objects through the Storage API, and knowing afterwards which of them are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from argosy.errors import Error, InvalidRequest, StorageRefused
from argosy.storage.control import REMOVAL_BATCH
from models.last_stored import last_stored
from models.overdue import Terms
from tasks.fleet import fleet

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Removed:
    """What came of it: the objects that are `left`, and the error that ended it, if one did."""

    left: frozenset[str] = frozenset()
    error: Error | None = None


def remove(terms: Terms, names: Sequence[str]) -> Removed:
    """Remove these objects of the bucket that is swept, 500 in a request.

    Whatever Storage does not name as removed is looked at again: it may have been gone, and
    an answer may have got lost. After an error what is left of the names is not asked for.
    """
    if not terms.bucket_is_swept:
        raise ValueError(f"{terms.bucket} is the bucket of files that are kept: nothing is removed")
    unnamed: list[str] = []
    error = None
    for start in range(0, len(names), REMOVAL_BATCH):
        batch = names[start : start + REMOVAL_BATCH]
        named, error = ((), error) if error else _ask(terms.bucket, batch)
        unnamed += set(batch) - set(named)
    left = fleet().transact(lambda session: last_stored(session, terms.bucket, unnamed))
    return Removed(frozenset(left), error)


def _ask(bucket: str, names: Sequence[str]) -> tuple[Sequence[str], Error | None]:
    """What Storage names as removed, and its error.

    A name that it refuses must not keep the others: then each half is asked for by itself.
    """
    try:
        return fleet().control.remove(bucket, names), None
    except (StorageRefused, InvalidRequest) as error:
        if len(names) > 1:
            return _halves(bucket, names)
        log.warning("object.not_removed", object=f"{bucket}/{names[0]}", code=error.code)
        return (), None
    except Error as error:
        log.warning("objects.not_removed", code=error.code, objects=len(names))
        return (), error


def _halves(bucket: str, names: Sequence[str]) -> tuple[Sequence[str], Error | None]:
    middle = len(names) // 2
    named, error = _ask(bucket, names[:middle])
    if error:
        return named, error
    others, error = _ask(bucket, names[middle:])
    return [*named, *others], error
