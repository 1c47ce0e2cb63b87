"""Agents that move their files themselves and tell the fleet afterwards, without the client."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from celery.result import AsyncResult

from argosy.account import Account
from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from argosy.storage.s3 import ObjectStore, StoredPart
from tasks import transfer
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest

CARGO = b"the cargo that its agent has stored itself"


@dataclass(frozen=True)
class Stored:
    """What an agent knows after its upload."""

    reference: dict[str, Any]
    etag: str

    @property
    def id(self) -> str:
        """The file's id, and the task's that registers it."""
        return str(self.reference["id"])

    def but(self, **changes: Any) -> dict[str, Any]:
        """The reference with some fields changed."""
        return {**self.reference, **changes}


class OwnUploader(Sender):
    """Stores files with its agent's own token, and sends any request."""

    def __init__(self, agent: AgentInTest) -> None:
        super().__init__(agent)
        token = agent.token()
        self.store: ObjectStore = Account(agent.settings, lambda: token).store()

    def put(self, content: bytes = CARGO, **said: Any) -> Stored:
        """A file in one body; `said` are fields of its reference."""
        named = self.describe(content, **said)
        body, kind = BytesBody(content), named["content_type"]
        etag = self.store.put(
            named["bucket"], named["path"], body, content_type=kind, metadata={"mine": "1"}
        )
        return Stored(named, etag)

    def put_parts(self, parts: list[bytes]) -> Stored:
        """A file in parts, as the protocol has them."""
        named = self.describe(
            b"".join(parts), chunk_size=len(parts[0]), chunk_count=len(parts), md5=None
        )
        bucket, path = named["bucket"], named["path"]
        upload = self.store.create_multipart(
            bucket, path, content_type=named["content_type"], metadata={}
        )
        sent = [
            StoredPart(number, self.store.upload_part(bucket, path, upload, number, BytesBody(one)))
            for number, one in enumerate(parts, 1)
        ]
        return Stored(named, self.store.complete_multipart(bucket, path, upload, sent))

    def describe(self, content: bytes, **said: Any) -> dict[str, Any]:
        """The reference that an agent makes of what it stores."""
        file_id, name = uuid4(), said.get("name", "Fracht für März.bin")
        known: dict[str, Any] = {
            "id": file_id,
            "bucket": "agent-transfers",
            "path": object_name(self.agent.id, file_id, name),
            "name": name,
            "size": len(content),
            "content_type": "application/octet-stream",
            "sha256": hashlib.sha256(content).hexdigest(),
            "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
            "owner": self.agent.id,
            "created_at": datetime.now(UTC),
            "chunk_size": len(content),
            "chunk_count": 1,
        }
        return FileReference.model_validate({**known, **said}).document()

    def ask_to_register(
        self, reference: dict[str, Any], etag: str, task_id: str | None = None, **named: Any
    ) -> AsyncResult:
        """`transfer.register`, under the reference's id."""
        return transfer.register.apply_async(
            (reference, etag),
            named,
            task_id=task_id or str(reference["id"]),
            headers=self.headers,
        )

    def register(self, stored: Stored, **named: Any) -> FileReference:
        """Registered, and what the fleet answers."""
        asked = self.ask_to_register(stored.reference, stored.etag, **named)
        return FileReference.parse(asked.get(timeout=RESULT_SECONDS))

    def do(self, task: Any, *args: Any, **named: Any) -> Any:
        """Any request, and its result."""
        return task.apply_async(args, named, headers=self.headers).get(timeout=RESULT_SECONDS)

    def reads(self, bucket: str, path: str) -> bytes:
        """An object, as this agent gets it. Raises ObjectNotFound."""
        return b"".join(self.store.get(bucket, path))
