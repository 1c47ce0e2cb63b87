"""`transfer.provenance`: how everything that was made of a stored file was made."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent
from models.provenance import steps_of
from tasks.ask import stored_file
from tasks.control import LookTask, look
from tasks.requests import StoredFileRequest


class ProvenanceRequest(StoredFileRequest):
    """`transfer.provenance`."""


@shared_task(bind=True, base=LookTask, name="transfer.provenance")
def provenance(self: LookTask, reference: dict[str, Any]) -> list[dict[str, Any]]:
    """Every step in the order it was done, for those who may read the file.

    Of each: `step`, `parameters`, `outcome` (made, failed or skipped), the SHA-256 of its
    source and of its output, and the versions of the `code`. Fails with object_not_found.
    """
    return look(self, ProvenanceRequest, _steps, reference=reference)


def _steps(session: Session, agent: Agent, request: ProvenanceRequest) -> list[dict[str, Any]]:
    return steps_of(session, stored_file(session, agent, request.reference).id)
