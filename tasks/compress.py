"""`transfer.compress`: a compressed copy of a stored file, where that pays."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from argosy.reference import FileReference
from tasks.ask import ask
from tasks.base import RequestTask
from tasks.requests import CompressRequest


@shared_task(bind=True, base=RequestTask, name="transfer.compress")
def compress(
    self: RequestTask,
    reference: dict[str, Any],
    encoding: str = "zstd",
    required: bool = True,  # noqa: FBT001, FBT002  a message's argument
) -> FileReference:
    """Store the file once more as `zstd` or `gzip`; the result is the reference to that copy.

    Whoever downloads by it gets the file as it was, decoded on the way. The file itself
    stays. Where compression does not pay, by the type and by a sample of the bytes, nothing
    is stored, and the reference is the one to the file; its derivatives say why.
    """
    return ask(self, CompressRequest, reference=reference, encoding=encoding, required=required)
