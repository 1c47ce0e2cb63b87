"""`transfer.upload_many`: many files of the spool into Storage, by one request."""

from __future__ import annotations

from celery import shared_task

from tasks.accept import accept
from tasks.base import RequestTask
from tasks.begin import begin
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.requests import UploadManyRequest


@shared_task(bind=True, base=RequestTask, name="transfer.upload_many")
def upload_many(
    self: RequestTask,
    sources: list[str],
    bucket: str | None = None,
    share_with: list[str] | None = None,
    metadata: dict[str, str] | None = None,
    idempotency_key: str | None = None,
    priority: str = "normal",
) -> Ended:
    """Upload up to 1,000 files of a spool folder, each as a transfer and a file of its own.

    They go some fifty at a time, which spares each of them most of what an upload alone costs.
    `share_with` and `metadata` hold for every file; names and types are those of the paths.
    The rest is as in `transfer.upload`.

    The result is a list in the order of `sources`: of each file its reference, or where it
    could not be sent `{"error": code, "message": ..., "source": path}`: the others go all the
    same. Files that are larger than ARGOSY_CHUNK_THRESHOLD are for `transfer.upload`.
    """
    transfer = accept(
        self,
        UploadManyRequest,
        sources=sources,
        bucket=bucket or fleet().settings.bucket,
        share_with=share_with or (),
        metadata={} if metadata is None else metadata,
        idempotency_key=idempotency_key,
        priority=priority,
    )
    return begin(self, transfer)
