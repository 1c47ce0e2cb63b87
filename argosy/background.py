"""Background mode: the fleet moves files of a spool, while the agent does something else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from argosy import many
from argosy.base_client import BaseClient
from argosy.errors import Error, InvalidRequest, TransferNotFound
from argosy.fleet import ANSWER_SECONDS
from argosy.given import TransferLike, said, transfer_id_of
from argosy.info import Status, Usage
from argosy.options import UploadOptions
from argosy.progress import Meter, Subscriber
from argosy.reference import FileReference
from argosy.spooled import check_spooled

RETRY_LOOK_SECONDS = 0.25
"""Between two questions whether a retry was taken."""


class Background(BaseClient):
    """The part of `Client` that has the fleet move bytes, and steers its transfers."""

    def upload_later(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> UUID:
        """Have the fleet upload a file of the spool, and return the transfer's id at once.

        `wait` gives the reference: with `process="auto"` once the fleet has done what the
        file's type calls for. The options `part_size` and `parallel` are the fleet's own to
        choose here; `deadline_seconds` is for the request. Raises FleetUnavailable when the
        broker cannot be reached, DeadlineExceeded when it is silent (it may have the request
        then), and SourceOutsideSpool where the agent has ARGOSY_SPOOL and the file is elsewhere.
        """
        options = options or UploadOptions()
        place = Path(path).absolute()
        check_spooled(place, self.settings.spool, self.settings.spools.values())
        wanted = said(
            bucket=options.bucket,
            name=options.name,
            content_type=options.content_type,
            idempotency_key=options.idempotency_key,
            share_with=list(options.share_with),
            metadata=dict(metadata or {}),
            compress=options.compress,
            process=options.process,
            priority=options.priority,
        )
        deadline = self._deadline(options.deadline_seconds)
        transfer = UUID(self._fleet.send("upload", str(place), deadline=deadline, **wanted))
        self._sent.note(transfer, options.name or place.name, options.bucket or "")
        return transfer

    def upload_many_later(
        self,
        paths: Iterable[str | os.PathLike[str]],
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> UUID:
        """Have the fleet upload up to 1,000 files of a spool by one request, and return its id.

        Each becomes a file of its own, of at most ARGOSY_CHUNK_THRESHOLD bytes, under its own
        name; `metadata` and `share_with` hold for all of them. `wait_many` gives what came of
        them. Raises InvalidRequest for options that are for one file, SourceOutsideSpool as
        `upload_later`, FleetUnavailable when the broker cannot be reached.
        """
        options = options or UploadOptions()
        _check_many(options)
        places = [Path(path).absolute() for path in paths]
        for place in places:
            check_spooled(place, self.settings.spool, self.settings.spools.values())
        wanted = said(
            bucket=options.bucket,
            idempotency_key=options.idempotency_key,
            share_with=list(options.share_with),
            metadata=dict(metadata or {}),
            priority=options.priority,
        )
        deadline = self._deadline(options.deadline_seconds)
        sent = self._fleet.send("upload_many", [*map(str, places)], deadline=deadline, **wanted)
        transfer = UUID(sent)
        self._sent.note(transfer, f"{len(places)} files", options.bucket or "", kind="batch")
        return transfer

    def wait(
        self,
        transfer: TransferLike,
        *,
        deadline_seconds: float | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> FileReference | str:
        """Wait for a transfer of the fleet: an upload's reference, or a download's path.

        Raises the error that it failed with, and DeadlineExceeded: it goes on then.
        """
        task_id = str(transfer_id_of(transfer))
        meter = self._meter(tuple(subscribers))
        deadline = self._deadline(deadline_seconds)
        meter.begin(task_id, "", None)
        try:
            result = self._fleet.wait(task_id, deadline, meter.reached)
        except Error as error:
            meter.failed(error)
            raise
        return _outcome(result, meter)

    def wait_many(
        self, transfer: TransferLike, *, deadline_seconds: float | None = None
    ) -> list[FileReference | Error]:
        """Wait for many files, and say what came of each: its reference, or why there is none.

        In the order of the paths; an error is not raised, it is that file's alone. Raises the
        error with which all of it failed, and DeadlineExceeded: it goes on then.
        """
        deadline = self._deadline(deadline_seconds)
        return many.outcomes(self._fleet.wait(str(transfer_id_of(transfer)), deadline))

    def status(self, transfer: TransferLike) -> Status:
        """Where a transfer of the fleet is, and why it waits. Raises TransferNotFound."""
        transfer_id = transfer_id_of(transfer)
        try:
            return Status.parse(self._ask("status", str(transfer_id)))
        except TransferNotFound:
            return self._sent.status_of(transfer_id)

    def cancel(self, transfer: TransferLike) -> Status:
        """End a transfer of the fleet; what it had moved is removed. Raises InvalidState."""
        return Status.parse(self._ask("cancel", str(transfer_id_of(transfer))))

    def pause(self, transfer: TransferLike) -> Status:
        """Have a transfer of the fleet rest, with what it has moved. Raises InvalidState."""
        return Status.parse(self._ask("pause", str(transfer_id_of(transfer))))

    def resume(self, transfer: TransferLike) -> Status:
        """Have a paused transfer go on. Raises InvalidState."""
        return Status.parse(self._ask("unpause", str(transfer_id_of(transfer))))

    def retry(self, transfer: TransferLike) -> Status:
        """Have a failed or cancelled transfer done over again; returns where the new one is.

        It has an id of its own; whoever waits for the old one gets its outcome too. Raises
        InvalidState for one that did not fail, or is done over again already.
        """
        deadline = self._deadline(usual=ANSWER_SECONDS)
        anew = self._fleet.send("retry", str(transfer_id_of(transfer)), deadline=deadline)
        while True:
            try:
                return Status.parse(self._fleet.ask("status", anew, deadline=deadline))
            except TransferNotFound:
                self._fleet.check(anew, deadline)
                deadline.wait(RETRY_LOOK_SECONDS)

    def history(self, limit: int = 50, before: str | None = None) -> list[Status]:
        """The agent's transfers, the newest first; `before` is the id of the last one seen."""
        return [Status.parse(found) for found in self._ask("history", limit, before)]

    def usage(self) -> Usage:
        """What the agent takes up in Storage and of its day, and what it may."""
        return Usage.parse(self._ask("usage"))


def _check_many(options: UploadOptions) -> None:
    """Raise InvalidRequest for what only one file can have: without a word it would be left out."""
    for name in ("name", "content_type", "compress", "process"):
        if getattr(options, name) is not None:
            raise InvalidRequest(f"{name} is for one file: use upload_later, or leave it out.")


def _outcome(result: Any, meter: Meter) -> FileReference | str:
    if isinstance(result, str):
        meter.done(result, meter.total or 0)
        return result
    reference = FileReference.parse(result)
    meter.done(reference, reference.size)
    return reference
