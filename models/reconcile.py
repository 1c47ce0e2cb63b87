"""Where the books and Storage differ: by SQL alone, a few rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.moments import iso

BATCH = 500
"""Rows in memory at once."""

_ON_ITS_WAY = """(t.state NOT IN ('completed', 'failed', 'cancelled', 'expired')
        OR t.state IN ('failed', 'cancelled') AND t.cleaned_at IS NULL)"""
"""Somebody still moves it, or is to remove what it has left."""

_STRAY_OBJECTS = f"""
SELECT o.bucket_id, o.name, o.created_at AS at, o.metadata ->> 'size' AS fact
FROM storage.objects o
WHERE o.bucket_id = ANY (:buckets) AND o.created_at <= now() - :age
AND NOT EXISTS (
    SELECT FROM argosy.transfers t
    WHERE t.kind IN ('upload', 'copy') AND t.bucket = o.bucket_id
    AND t.object_name COLLATE "C" = o.name
    AND (t.state = 'completed' OR {_ON_ITS_WAY}))
AND NOT EXISTS (SELECT FROM argosy.derivatives d WHERE d.object_name COLLATE "C" = o.name)
"""  # noqa: S608  the part is above

_LOST_OBJECTS = """
SELECT t.bucket AS bucket_id, t.object_name AS name, t.ended_at AS at, t.id::text AS fact
FROM argosy.transfers t
WHERE t.kind IN ('upload', 'copy') AND t.state = 'completed' AND t.bucket = ANY (:buckets)
AND t.ended_at <= now() - :age
AND NOT EXISTS (
    SELECT FROM storage.objects o
    WHERE o.bucket_id = t.bucket AND o.name = t.object_name COLLATE "C")
AND NOT EXISTS (
    SELECT FROM argosy.events e
    WHERE e.name = 'file.deleted' AND e.outcome = 'ok'
    AND e.object = t.bucket || '/' || t.object_name)
"""

_STRAY_UPLOADS = f"""
SELECT u.bucket_id, u.key AS name, l.at, u.id AS fact
FROM storage.s3_multipart_uploads u
CROSS JOIN LATERAL (
    SELECT greatest(u.created_at, max(p.created_at)) AS at
    FROM storage.s3_multipart_uploads_parts p WHERE p.upload_id = u.id) l
WHERE u.bucket_id = ANY (:buckets) AND l.at <= now() - :age
AND NOT EXISTS (
    SELECT FROM argosy.transfers t
    WHERE t.kind IN ('upload', 'copy') AND t.bucket = u.bucket_id
    AND t.object_name COLLATE "C" = u.key
    AND {_ON_ITS_WAY})
"""  # noqa: S608  the part is above

_QUERIES = {
    "object_without_transfer": (_STRAY_OBJECTS, "bytes"),
    "transfer_without_object": (_LOST_OBJECTS, "transfer"),
    "upload_without_transfer": (_STRAY_UPLOADS, "upload"),
}
_WORDS = {
    "object_without_transfer": "object that no transfer accounts for",
    "transfer_without_object": "completed transfer whose object is gone",
    "upload_without_transfer": "unfinished upload that no transfer goes on with",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is in Storage or in the books alone.

    `at` is when it came to be, or its last part did; `fact` its size, the transfer's or
    the upload's id, as `about` says.
    """

    kind: str
    bucket: str
    path: str
    at: datetime
    about: str
    fact: str | None

    @property
    def what(self) -> str:
        """Its kind in words."""
        return _WORDS[self.kind]

    @property
    def place(self) -> str:
        """`bucket/path`."""
        return f"{self.bucket}/{self.path}"

    @property
    def detail(self) -> str:
        """The rest in words."""
        return f"{self.about} {self.fact}, {self.at:%Y-%m-%d %H:%M}"

    def document(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {"kind": self.kind, "file": self.place, "at": iso(self.at), self.about: self.fact}


def differences(
    session: Session, buckets: Sequence[str], *, older_than: float
) -> Iterator[Difference]:
    """Everything in these buckets that differs for more than `older_than` seconds.

    An agent's own upload has no row before it is registered, and none of its parts
    may be young. The session must be the operator's, who may read Storage's tables.
    """
    given = {"buckets": list(buckets), "age": timedelta(seconds=older_than)}
    for kind, (query, about) in _QUERIES.items():
        for row in session.execute(text(query).execution_options(yield_per=BATCH), given):
            yield Difference(kind, row.bucket_id, row.name, row.at, about, row.fact)
