"""`transfer.inspect`: what the bytes of a stored file say about it."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from argosy.reference import FileReference
from tasks.ask import ask
from tasks.base import RequestTask
from tasks.requests import InspectRequest


@shared_task(bind=True, base=RequestTask, name="transfer.inspect")
def inspect(
    self: RequestTask,
    reference: dict[str, Any],
    required: bool = True,  # noqa: FBT001, FBT002  a message's argument
) -> FileReference:
    """Look at a file's bytes; the result is its reference with `facts`.

    The content type is by the bytes, not by the name. Positions, serial numbers and owners'
    names are left out unless the fleet's settings ask for them. What is damaged does not
    fail: the facts say what was found, and the `problem`. Fails with decoder_stopped for a
    file that takes all the memory or time that a decoder may have.
    """
    return ask(self, InspectRequest, reference=reference, required=required)
