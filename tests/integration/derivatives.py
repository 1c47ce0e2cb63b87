"""Files with derivatives, entered by hand: what makes them is tested elsewhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from celery.result import AsyncResult

from argosy.coding.encoder import encoded
from argosy.derived import Stored
from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from argosy.storage.s3 import Endpoint, ObjectStore
from models import Derivative
from tasks import transfer
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment

THUMBNAIL = b"a small picture of the cargo"


class Requester(Sender):
    """Sends any request as one agent."""

    def send(self, task: Any, *args: Any, task_id: str | None = None, **kwargs: Any) -> AsyncResult:
        """Any request."""
        return task.apply_async(args, kwargs, headers=self.headers, task_id=task_id)

    def do(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        """Any request, and its result."""
        return self.send(task, *args, **kwargs).get(timeout=RESULT_SECONDS)

    def copy(self, reference: FileReference, **options: Any) -> FileReference:
        """`transfer.copy`, and the copy's reference."""
        return FileReference.parse(self.do(transfer.copy, reference.document(), **options))

    def store(self, content: bytes, name: str = "cargo.bin", **said: Any) -> FileReference:
        """A file that the agent has stored itself and registered; `said` is of its reference."""
        identity, now = uuid4(), datetime.now(UTC)
        sha256 = hashlib.sha256(content).hexdigest()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        known = {
            "id": identity,
            "bucket": self.agent.settings.bucket,
            "path": object_name(self.agent.id, identity, name),
            "name": name,
            "size": len(content),
            "content_type": "application/octet-stream",
            "sha256": sha256,
            "md5": md5,
            "owner": self.agent.id,
            "created_at": now,
            "chunk_size": len(content),
            "chunk_count": 1,
        }
        reference = FileReference.model_validate(known | said)
        etag = store_of(self.agent).put(
            reference.bucket,
            reference.path,
            BytesBody(content),
            content_type="application/octet-stream",
            metadata={},
        )
        document = reference.document()
        sent = self.send(transfer.register, document, etag, task_id=str(reference.id))
        return FileReference.parse(sent.get(timeout=RESULT_SECONDS))

    def store_encoded(self, content: bytes) -> FileReference:
        """The same, stored with zstd."""
        lies = b"".join(encoded([content], "zstd", 3))
        return self.store(
            lies,
            encoding="zstd",
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            stored=Stored(
                size=len(lies),
                sha256=hashlib.sha256(lies).hexdigest(),
                md5=hashlib.md5(lies, usedforsecurity=False).hexdigest(),
            ),
        )


def store_of(agent: AgentInTest) -> ObjectStore:
    """Storage as the agent sees it, past the fleet."""
    settings = agent.settings
    endpoint = Endpoint(
        f"{settings.supabase_url}/storage/v1/s3",
        settings.project_ref,
        settings.supabase_anon_key.get_secret_value(),
    )
    return ObjectStore(endpoint, agent.token)


def bytes_of(agent: AgentInTest, bucket: str, path: str) -> bytes:
    """What lies there."""
    return b"".join(store_of(agent).get(bucket, path))


@dataclass(frozen=True)
class Family:
    """A file, its thumbnail and its compressed copy; `compressed` is the reference to that."""

    file: FileReference
    thumbnail: str
    compressed: FileReference

    @property
    def paths(self) -> list[str]:
        """Every object, in order."""
        return sorted([self.file.path, self.thumbnail, self.compressed.path])


def family_of(deployment: Deployment, owner: Requester, content: bytes) -> Family:
    """Store a file and enter two derivatives, and one that could not be made."""
    file = owner.store(content)
    folder = f"{file.path.rpartition('/')[0]}/derived/"
    lies = b"".join(encoded([content], "zstd", 3))
    small = _enter(
        deployment,
        owner,
        file,
        f"{folder}thumbnail-128-q80.webp",
        THUMBNAIL,
        kind="thumbnail",
        parameters={"format": "webp", "quality": 80, "size": 128},
        content_type="image/webp",
        width=128,
        height=64,
    )
    whole = _enter(
        deployment,
        owner,
        file,
        f"{folder}compress-3.zst",
        lies,
        kind="compress",
        parameters={"encoding": "zstd", "level": 3},
        content_type=file.content_type,
        detail={"encoding": "zstd", "part_size": len(lies), "part_count": 1},
    )
    failed = Derivative(
        transfer_id=file.id,
        kind="thumbnail",
        parameters='{"size":512}',
        state="failed",
        reason="It is no picture.",
    )
    deployment.transact(lambda session: session.add(failed))
    stored = Stored(size=len(lies), sha256=hashlib.sha256(lies).hexdigest(), md5=_md5(lies))
    compressed = file.model_copy(update={"path": whole, "encoding": "zstd", "stored": stored})
    return Family(file, small, compressed)


def _enter(
    deployment: Deployment,
    owner: Requester,
    file: FileReference,
    path: str,
    content: bytes,
    *,
    parameters: dict[str, Any],
    content_type: str,
    **columns: Any,
) -> str:
    store_of(owner.agent).put(
        file.bucket, path, BytesBody(content), content_type=content_type, metadata={"name": "x"}
    )
    row = Derivative(
        transfer_id=file.id,
        agent_id=owner.agent.id,
        parameters=json.dumps(parameters, sort_keys=True, separators=(",", ":")),
        state="made",
        object_name=path,
        content_type=content_type,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        md5=_md5(content),
        **columns,
    )
    deployment.transact(lambda session: session.add(row))
    return path


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
