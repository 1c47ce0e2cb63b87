"""`transfer.persist`: a copy that stays."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from tasks.accept import accept
from tasks.base import RequestTask
from tasks.begin import begin
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.requests import CopyRequest


@shared_task(bind=True, base=RequestTask, name="transfer.persist")
def persist(self: RequestTask, reference: dict[str, Any], name: str | None = None) -> Ended:
    """Copy a file to the bucket whose files do not expire. As `transfer.copy` in all else."""
    bucket = fleet().settings.persistent_bucket
    transfer = accept(self, CopyRequest, reference=reference, bucket=bucket, name=name)
    return begin(self, transfer)
