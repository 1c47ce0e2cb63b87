"""Differences between the books and Storage, made for real, and what a comparison finds of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.settings import FleetSettings
from argosy.storage.body import BytesBody
from models import Grant, Parcel, Pin, Transfer
from models.difference import Difference
from models.parcel import BatchFile
from models.reconcile import Page, pages
from tasks.fleet import Fleet
from tests.deployment import AgentInTest, Deployment
from tests.integration.derivatives import store_of
from worker.repair import Outcome, Repair

BUCKET, PERSISTENT = "agent-transfers", "persistent-data"
HOUR = 3600.0
AGED = (
    "storage.objects SET created_at = created_at - :by, updated_at = updated_at - :by",
    "storage.s3_multipart_uploads SET created_at = created_at - :by",
    "storage.s3_multipart_uploads_parts SET created_at = created_at - :by",
    "argosy.transfers SET ended_at = ended_at - :by, cleaned_at = cleaned_at - :by, "
    "tombstone = jsonb_set(tombstone, '{at}', "
    "to_jsonb((tombstone ->> 'at')::timestamptz - CAST(:by AS interval)))",
    "argosy.derivatives SET updated_at = updated_at - :by",
    "argosy.grants SET created_at = created_at - :by",
    "argosy.pins SET at = at - :by",
)


def age(deployment: Deployment, hours: float = 48) -> None:
    """Have all that is there now be older by so much."""

    def shift(session: Session) -> None:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        for table in AGED:
            session.execute(text(f"UPDATE {table}"), {"by": timedelta(hours=hours)})

    deployment.transact(shift)


def fleet_of(deployment: Deployment) -> Fleet:
    """As the command makes it: with the fleet's own role in the database."""
    return Fleet(deployment.settings)


def looked(deployment: Deployment, older_than: float = HOUR) -> list[Page]:
    """What differs now."""
    return list(pages(fleet_of(deployment).attempt, (BUCKET, PERSISTENT), older_than=older_than))


def found(deployment: Deployment, older_than: float = HOUR) -> dict[str, Difference]:
    """The same by path and kind, as `kind path`."""
    every = [one for page in looked(deployment, older_than) for one in page.differences]
    return {f"{one.kind} {one.path}": one for one in every}


def repaired(
    deployment: Deployment, seen: list[Page] | None = None, *, persistent: bool = False
) -> dict[str, Outcome]:
    """Repair what was seen, or what differs now; the outcomes by path."""
    repair = Repair(fleet_of(deployment), HOUR, persistent)
    with repair.alone():
        told = [
            outcome
            for page in (looked(deployment) if seen is None else seen)
            for outcome in repair.page(page)
        ]
    return {one.path: outcome for one, outcome in told}


class Maker:
    """Makes what should not be."""

    def __init__(self, deployment: Deployment, agent: AgentInTest) -> None:
        self.deployment = deployment
        self.agent = agent
        self.store = store_of(agent)

    def path(self, name: str = "cargo.bin") -> str:
        """Where a file could lie."""
        return object_name(self.agent.id, uuid4(), name)

    def stray(self, path: str | None = None, bucket: str = BUCKET, content: bytes = b"x") -> str:
        """An object that nobody knows of."""
        path = path or self.path("stray.bin")
        self.store.put(
            bucket, path, BytesBody(content), content_type="text/plain", metadata={"name": "x"}
        )
        return path

    def upload(self, path: str | None = None, *, parts: int = 0) -> tuple[str, str]:
        """An unfinished upload, and its path."""
        path = path or self.path("unfinished.bin")
        upload_id = self.store.create_multipart(
            BUCKET, path, content_type="text/plain", metadata={}
        )
        for number in range(1, parts + 1):
            self.store.upload_part(BUCKET, path, upload_id, number, BytesBody(b"part"))
        return path, upload_id

    def grant(self, path: str, other: AgentInTest) -> None:
        """A grant on what may not be there."""
        row = Grant(
            bucket=BUCKET, path=path, agent_id=other.id, access="read", granted_by=self.agent.id
        )
        self.deployment.transact(lambda session: session.add(row))

    def pin(self, path: str, bucket: str = BUCKET) -> None:
        """A message that names it."""
        row = Pin(message_id=uuid4(), agent_id=self.agent.id, bucket=bucket, path=path)
        self.deployment.transact(lambda session: session.add(row))

    def transfer(self, path: str, **columns: Any) -> UUID:
        """A transfer that no message tells a worker of."""
        row = {
            "id": uuid4(),
            "kind": "download",
            "state": "queued",
            "agent_id": self.agent.id,
            "request_sha256": "",
            "bucket": BUCKET,
            "object_name": path,
            "name": "x",
            "content_type": "text/plain",
            "path": "/nowhere",
            "republish_at": datetime.now(UTC) + timedelta(days=1),
        } | columns
        self.deployment.transact(lambda session: session.add(Transfer(**row)))
        return UUID(str(row["id"]))

    def batch(self, path: str) -> UUID:
        """A batch on its way, of which this file is stored and has no row yet."""
        made = self.transfer(self.path("batch"), kind="batch", state="moving")
        file = BatchFile(UUID(path.split("/")[1]), "/nowhere/stray.bin")
        row = Parcel(transfer_id=made, number=1, documents=[file.document()])
        self.deployment.transact(lambda session: session.add(row))
        return made

    def lose(self, path: str, bucket: str = BUCKET) -> None:
        """Remove an object past the books."""
        self.store.delete(bucket, path)


@contextmanager
def end_of(deployment: Deployment, *transfers: UUID) -> Iterator[None]:
    """End transfers that were made by hand, whatever happens."""
    try:
        yield
    finally:
        deployment.query(
            "UPDATE argosy.transfers SET state = 'failed', cleaned_at = now(), lease_until = NULL "
            "WHERE id = ANY (:ids) RETURNING id",
            ids=list(transfers),
        )


def bytes_on_disk(deployment: Deployment, file: FileReference) -> Path:
    """Where the local Supabase keeps the bytes of an object of one piece."""
    [row] = deployment.query(
        "SELECT version FROM storage.objects WHERE bucket_id = :bucket AND name = :path",
        bucket=file.bucket,
        path=file.path,
    )
    [place] = [path for path in deployment.data.rglob(row.version) if path.parent.name != "tmp"]
    return place


def flip_a_byte(path: Path) -> None:
    """Change one bit of a file in place."""
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
        os.fsync(file.fileno())


def with_settings(deployment: Deployment, **changed: Any) -> FleetSettings:
    """The fleet's settings, some of them changed."""
    return deployment.settings.model_copy(update=changed)
