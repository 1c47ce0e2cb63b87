"""`transfer.upload`: a file of the spool into Storage; the result is its reference."""

from __future__ import annotations

from celery import shared_task

from tasks.accept import accept
from tasks.base import RequestTask
from tasks.begin import begin
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.requests import UploadRequest


@shared_task(bind=True, base=RequestTask, name="transfer.upload")
def upload(
    self: RequestTask,
    source: str,
    bucket: str | None = None,
    name: str | None = None,
    content_type: str | None = None,
    idempotency_key: str | None = None,
    share_with: list[str] | None = None,
    metadata: dict[str, str] | None = None,
    compress: str | None = None,
    process: str | None = None,
    priority: str = "normal",
) -> Ended:
    """Upload `source`, a path inside a spool folder.

    `name` is the file's name for people, any Unicode. The same
    `idempotency_key` from the same agent names the same transfer. `share_with`
    names those who may read the file: agents, or `role:reader` and its like.
    `metadata` is the agent's own, kept with the file: names in lower case with
    hyphens, values any text; some 7 KiB in all.

    `compress` stores the file as `zstd` or `gzip`, or with `auto` where that pays; whoever
    downloads it gets it as it was. With `process="auto"` the fleet does what the type of the
    bytes calls for before the result comes: see `transfer.process`. `priority` is `urgent`,
    `normal` or `bulk`: among the transfers of one agent the more urgent begin first, and their
    parts have a queue of their own.
    """
    transfer = accept(
        self,
        UploadRequest,
        source=source,
        bucket=bucket or fleet().settings.bucket,
        name=name,
        content_type=content_type,
        idempotency_key=idempotency_key,
        share_with=share_with or (),
        metadata={} if metadata is None else metadata,
        compress=compress,
        process=process,
        priority=priority,
    )
    return begin(self, transfer)
