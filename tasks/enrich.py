"""References to stored files with what is known and was made of them, from the rows alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy.orm import Session

from argosy.derived import Derived, Encoding, Stored
from argosy.facts import Facts
from argosy.reference import FileReference
from models import Derivative, Making, Transfer
from models.derivatives import of_file
from models.grants import granted_on
from tasks.describe import reference_to
from tasks.fleet import fleet
from tasks.steps import canonical


def enriched(session: Session, transfer: Transfer, encoding: str | None) -> FileReference:
    """The reference to a file, with its facts and derivatives.

    With an `encoding` it speaks of the copy that is stored so, where one was made.
    """
    grants = granted_on(session, bucket=transfer.bucket, path=transfer.object_name)
    derivatives = of_file(session, transfer.id)
    known: dict[str, Any] = {
        "facts": _facts(derivatives),
        "derivatives": tuple(_derived(one) for one in derivatives if _is_told(one)),
    }
    for one in derivatives:
        if is_compressed(one) and (one.detail or {}).get("encoding") == encoding:
            known |= _as_stored(one)
    return reference_to(transfer, grants).model_copy(update=known)


def is_compressed(derivative: Derivative) -> bool:
    """Whether it is the file itself, stored compressed."""
    return derivative.kind == "compress" and derivative.state == Making.MADE


def _is_told(derivative: Derivative) -> bool:
    return derivative.kind != "inspect" and derivative.state != Making.DUE


def _facts(derivatives: Iterable[Derivative]) -> Facts | None:
    """What was learnt, no more of it than the settings ask for now."""
    made = (one for one in derivatives if one.kind == "inspect" and one.state == Making.MADE)
    found = {one.parameters: one.detail for one in made}
    asks = fleet().settings.private_metadata
    wanted = canonical({"private": asks})
    document = found.get(wanted) or next(iter(found.values()), None)
    facts = Facts.model_validate(document) if document else None
    if facts and facts.image and not asks:
        return facts.model_copy(update={"image": facts.image.model_copy(update={"private": None})})
    return facts


def _derived(one: Derivative) -> Derived:
    is_made = one.state == Making.MADE
    return Derived.model_validate(
        {
            "kind": one.kind,
            "state": one.state,
            "parameters": json.loads(one.parameters),
            "path": one.object_name if is_made else None,
            "content_type": one.content_type,
            "size": one.size,
            "sha256": one.sha256,
            "width": one.width,
            "height": one.height,
            "reason": None if is_made else one.reason,
        }
    )


def _as_stored(one: Derivative) -> dict[str, Any]:
    """Fields of a reference to the compressed copy."""
    detail = one.detail or {}
    return {
        "path": one.object_name,
        "encoding": cast(Encoding, detail["encoding"]),
        "stored": Stored(size=one.size or 0, sha256=one.sha256 or "", md5=one.md5),
        "chunk_size": detail["part_size"],
        "chunk_count": detail["part_count"],
    }
