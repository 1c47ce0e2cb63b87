"""`transfer.download`: a stored file into the spool; the result is its path."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from tasks.accept import accept
from tasks.base import RequestTask
from tasks.begin import begin
from tasks.ended import Ended
from tasks.requests import DownloadRequest


@shared_task(bind=True, base=RequestTask, name="transfer.download")
def download(
    self: RequestTask, reference: dict[str, Any], destination: str, priority: str = "normal"
) -> Ended:
    """Download what `reference` names to `destination`, a new path inside a spool folder.

    The name appears once every byte is there and its SHA-256 is right. `priority` is as in
    `transfer.upload`.
    """
    transfer = accept(
        self, DownloadRequest, reference=reference, destination=destination, priority=priority
    )
    return begin(self, transfer)
