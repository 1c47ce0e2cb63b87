"""What Storage's own book says of objects, without looking at them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


def last_stored(session: Session, bucket: str, names: Sequence[str]) -> Mapping[str, datetime]:
    """Those of the objects that are there, and when the bytes of each were last stored."""
    if not names:
        return {}
    query = text("SELECT object_name, stored_at FROM argosy.last_stored(:bucket, :names)")
    rows = session.execute(query, {"bucket": bucket, "names": list(names)})
    return {row.object_name: row.stored_at for row in rows}
