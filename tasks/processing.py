"""`transfer.process`: what a stored file's type calls for."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from argosy.reference import FileReference
from tasks.ask import ask
from tasks.base import RequestTask
from tasks.requests import ProcessRequest


@shared_task(bind=True, base=RequestTask, name="transfer.process")
def process(
    self: RequestTask,
    reference: dict[str, Any],
    process: str = "auto",
) -> FileReference:
    """Inspect, picture and compress a file as the fleet's settings say for its type.

    The same as `process="auto"` of `transfer.upload`. What cannot be made does not fail the
    task: the reference's derivatives say so.
    """
    return ask(self, ProcessRequest, reference=reference, process=process)
