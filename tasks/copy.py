"""`transfer.copy`: a stored file once more, as the sender's own; Storage moves the bytes."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from tasks.accept import accept
from tasks.base import RequestTask
from tasks.begin import begin
from tasks.ended import Ended
from tasks.requests import CopyRequest


@shared_task(bind=True, base=RequestTask, name="transfer.copy")
def copy(
    self: RequestTask,
    reference: dict[str, Any],
    bucket: str | None = None,
    name: str | None = None,
    share_with: list[str] | None = None,
    idempotency_key: str | None = None,
    priority: str = "normal",
) -> Ended:
    """Copy the file that `reference` names into the sender's own folder, in `bucket`.

    That is the original's bucket unless it is said. The copy is a transfer of its own, and
    what was made of the file is copied with it; the result is the copy's reference. `name`,
    `share_with`, `idempotency_key` and `priority` are as in `transfer.upload`. Fails with
    object_not_found for what the sender may not read, checksum_mismatch for a reference that
    is wrong, object_changed where the original was replaced.
    """
    transfer = accept(
        self,
        CopyRequest,
        reference=reference,
        bucket=bucket,
        name=name,
        share_with=share_with or (),
        idempotency_key=idempotency_key,
        priority=priority,
    )
    return begin(self, transfer)
