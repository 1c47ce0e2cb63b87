"""The client: what an agent holds in its hands.

    from argosy import Client

    client = Client()
    reference = client.upload_file("report.bin")
    client.download_file(reference, "copy.bin")

In direct mode, as here, the agent's own process moves the bytes, in parallel parts,
and goes on where it stopped when it is run again after a crash. In background mode
(`upload_later`) the fleet moves them. Both give the same reference.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from uuid import UUID

from argosy import auth, many, messages
from argosy.account import Account
from argosy.cache import FileCache, MetadataCache
from argosy.deadline import Deadline
from argosy.direct import download, remote_file, stream, upload
from argosy.errors import Error, InvalidRequest, NotSignedIn, TransferNotFound
from argosy.file_work import FileWork
from argosy.fleet import ANSWER_SECONDS, Fleet
from argosy.given import ReferenceLike, TransferLike, place_of, transfer_id_of
from argosy.info import FileInfo, Status, Usage
from argosy.options import DownloadOptions, ListOptions, UploadOptions
from argosy.progress import Meter, Subscriber
from argosy.reference import FileReference
from argosy.sent import Sent
from argosy.settings import AgentSettings, agent_settings

RETRY_LOOK_SECONDS = 0.25
"""Between two questions whether a retry was taken."""


class Client(FileWork):
    """Files of one agent in Supabase Storage. Any number of threads may use it.

    `agent` and `key` default to ARGOSY_AGENT and ARGOSY_AGENT_KEY, or to whom the process
    signed in as with `argosy.login`. Every method raises subclasses of `argosy.Error`:
    AccessDenied or ObjectNotFound where row-level security says no, StorageUnavailable
    when Storage stays away, DeadlineExceeded, and what is named with the method.
    """

    def __init__(
        self,
        settings: AgentSettings | None = None,
        *,
        agent: str | None = None,
        key: str | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        self.settings = settings or agent_settings()
        token = _process_token
        if agent or settings:
            token = auth.sign_in(agent, key, self.settings).token
        self._account = Account(self.settings, token)
        self._fleet = Fleet(self.settings, token)
        self._subscribers = tuple(subscribers)
        self.cache = FileCache.of(self.settings)
        self._metadata = MetadataCache.of(self.settings)
        self._sent = Sent()

    @property
    def agent_id(self) -> UUID:
        """Who this client acts for."""
        return self._account.agent_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections to the broker; those to Storage are the whole process's."""
        self._fleet.close()

    # Up

    def upload_file(
        self,
        file: str | os.PathLike[str] | bytes | BinaryIO,
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> FileReference:
        """Upload a path, bytes or a binary file object, and return the file's reference.

        A file by its path goes on where an earlier call was killed. A file object is read
        from where it stands. `metadata` are the agent's own words about it, names in lower
        case with hyphens. One that `options` have compressed goes up as a stream does, and
        begins anew when it was killed. Raises SourceMissing, SourceNotAFile, SourceUnreadable,
        SourceChanged, ObjectTooLarge, TypeNotAllowed, BucketNotFound.
        """
        options = options or UploadOptions()
        with self._transfer(options) as (deadline, meter):
            return upload.upload(
                self._account, self._fleet, file, metadata or {}, options, deadline, meter
            )

    def upload_stream(
        self,
        source: Iterable[bytes] | BinaryIO,
        name: str,
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> FileReference:
        """Upload what an iterable yields, or a file object gives, of a length that nobody knows.

        Memory holds `parallel` parts at most. What the iterable raises becomes the cause of
        SourceUnreadable, and nothing is left in Storage.
        """
        options = options or UploadOptions()
        with self._transfer(options) as (deadline, meter):
            return stream.upload(
                self._account, self._fleet, source, name, metadata or {}, options, deadline, meter
            )

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
        choose here. Raises FleetUnavailable when the broker cannot be reached.
        """
        options = options or UploadOptions()
        wanted = {
            "bucket": options.bucket,
            "name": options.name,
            "content_type": options.content_type,
            "idempotency_key": options.idempotency_key,
            "share_with": list(options.share_with),
            "metadata": dict(metadata or {}),
            "compress": options.compress,
            "process": options.process,
            "priority": options.priority,
        }
        given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        place = Path(path).absolute()
        transfer = UUID(self._fleet.send("upload", str(place), **given))
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

        Each becomes a file of its own, of less than ARGOSY_CHUNK_THRESHOLD bytes, under its own
        name; `metadata` and `share_with` hold for all of them. `wait_many` gives what came of
        them. Raises FleetUnavailable when the broker cannot be reached.
        """
        options = options or UploadOptions()
        wanted = {
            "bucket": options.bucket,
            "idempotency_key": options.idempotency_key,
            "share_with": list(options.share_with),
            "metadata": dict(metadata or {}),
            "priority": options.priority,
        }
        given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        places = [str(Path(path).absolute()) for path in paths]
        transfer = UUID(self._fleet.send("upload_many", places, **given))
        self._sent.note(transfer, f"{len(places)} files", options.bucket or "", kind="batch")
        return transfer

    # Down

    def download_file(
        self,
        reference: ReferenceLike,
        destination: str | os.PathLike[str],
        *,
        options: DownloadOptions | None = None,
    ) -> Path:
        """Download to a new file, whose name appears once every byte is there and verified.

        A folder as destination gets the file under its own name. Returns the path. Goes
        on where an earlier call was killed. Raises DestinationExists, DestinationUnwritable,
        DiskFull, ChecksumMismatch, ObjectChanged, InvalidReference.
        """
        options = options or DownloadOptions()
        with self._transfer(options) as (deadline, meter):
            found = self._reference(reference, deadline)
            cache = self.cache if options.cache else None
            return download.download(
                self._account, found, Path(destination), options, deadline, meter, cache
            )

    def iter_bytes(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> Iterator[bytes]:
        """The file's bytes, in blocks of at most 1 MiB; the last one comes once all are verified.

        Raises ChecksumMismatch at the end when the bytes are not the reference's.
        """
        options = options or DownloadOptions()
        deadline = Deadline(self._seconds(options.deadline_seconds))
        return download.iter_bytes(self._account, self._reference(reference), deadline)

    def open_file(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> remote_file.RemoteFile:
        """A read-only, seekable file object over the stored file, read ahead as it is read.

        A pass from beginning to end is verified; reads here and there cannot be.
        """
        options = options or DownloadOptions()
        return remote_file.RemoteFile(self._account, self._reference(reference), options)

    # Looking and arranging

    def list_files(
        self,
        bucket: str | None = None,
        prefix: str = "",
        options: ListOptions | None = None,
    ) -> Iterator[FileInfo]:
        """Every file that the agent may see, by name, a page at a time as it is asked for.

        What is listed has no metadata of its own: `get_file_metadata` has.
        """
        options = options or ListOptions()
        deadline = Deadline(self._seconds(options.deadline_seconds))
        bucket = bucket or self.settings.bucket
        control = self._account.control(deadline.limit(self._account.retries()))
        for count, found in enumerate(control.list_objects(bucket, prefix, options.page_size)):
            if count == options.limit:
                return
            deadline.check()
            yield FileInfo.of_listed(bucket, found)

    def get_file_metadata(self, reference: ReferenceLike) -> FileInfo:
        """What Storage says of a file. Raises ObjectNotFound, also where the agent may not read.

        Kept in memory for ARGOSY_METADATA_SECONDS.
        """
        bucket, path = place_of(reference)
        return self._metadata.get(bucket, path, lambda: self._look(bucket, path))

    def delete_file(self, reference: ReferenceLike) -> None:
        """Delete a file and every grant on it. Raises ObjectNotFound, AccessDenied."""
        found = self._reference(reference)
        self._metadata.forget(found.bucket, found.path)
        self._ask("delete", found.document())

    def extend(self, reference: ReferenceLike, days: float | None = None) -> FileReference:
        """Keep a file until `days` from now, and return its reference, which says until when.

        ARGOSY_RETENTION_DAYS of the fleet when not said. Never sooner than it would go anyway;
        what is shared for as long as the file is, is shared for longer. Raises ObjectNotFound,
        also for a file whose time is over, AccessDenied where it is not the agent's to write,
        InvalidRequest for more days than the fleet allows.
        """
        found = self._reference(reference)
        self._metadata.forget(found.bucket, found.path)
        return FileReference.parse(self._ask("extend", found.document(), days))

    def share(
        self,
        reference: ReferenceLike,
        share_with: Sequence[str],
        *,
        access: str = "read",
        seconds: float | None = None,
    ) -> FileReference:
        """Let others read a file (or write it), and return its reference with its grants.

        `share_with` names agents, or `role:reader` and its like. The access ends after
        `seconds`, and no later than the file.
        """
        document = self._reference(reference).document()
        return FileReference.parse(self._ask("share", document, list(share_with), access, seconds))

    def unshare(self, reference: ReferenceLike, share_with: Sequence[str]) -> FileReference:
        """Take every access to a file from others, and return its reference with what is left."""
        document = self._reference(reference).document()
        return FileReference.parse(self._ask("unshare", document, list(share_with)))

    def signed_url(self, reference: ReferenceLike, *, seconds: int = 3600) -> str:
        """A URL by which anybody may read the file, without signing in, for so many seconds.

        It cannot be taken back: a revoked grant does not end it.
        """
        bucket, path = place_of(reference)
        return self._account.control().signed_url(bucket, path, seconds)

    # Messages

    def send(
        self,
        to: str,
        body: Any,
        attachments: Iterable[messages.Attachment] = (),
        *,
        options: UploadOptions | None = None,
    ) -> UUID:
        """Send a message to an agent, with files, and return the message's id.

        `body` is any JSON, 64 MiB at most; one above ARGOSY_MESSAGE_BYTES travels as a file and
        comes out of the inbox as it went in. What is attached is uploaded as `options` say,
        unless it is a reference. `to` may read what is attached and what the body names, as
        far as it is this agent's own, and these files are kept until the message is
        acknowledged, ARGOSY_PIN_DAYS at most.

        The broker has the message when this returns. Raises InvalidRequest for an agent that
        is not there and for a body that is no JSON, InvalidMessage for too many files,
        ObjectNotFound for a file that is gone, FleetUnavailable, and what `upload_file` raises.
        """
        return messages.send(self, to, body, attachments, options)

    # Transfers of the fleet

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
        deadline = Deadline(self._seconds(deadline_seconds))
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
        deadline = Deadline(self._seconds(deadline_seconds))
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
        deadline = Deadline(self._seconds(None) or ANSWER_SECONDS)
        anew = self._fleet.send("retry", str(transfer_id_of(transfer)))
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

    # Within

    @contextmanager
    def _transfer(
        self, options: UploadOptions | DownloadOptions
    ) -> Iterator[tuple[Deadline, Meter]]:
        """One call that moves bytes: its end, and who hears of it."""
        meter = self._meter(options.subscribers)
        try:
            _check_direct(options)
            yield Deadline(self._seconds(options.deadline_seconds)), meter
        except Error as error:
            meter.failed(error)
            raise

    def _meter(self, subscribers: tuple[Subscriber, ...]) -> Meter:
        everybody = (*self._subscribers, *subscribers)
        return Meter(everybody, every_seconds=self.settings.progress_seconds)

    def _seconds(self, seconds: float | None) -> float | None:
        return seconds if seconds is not None else self.settings.deadline_seconds

    def _ask(self, verb: str, *arguments: Any) -> Any:
        deadline = Deadline(self._seconds(None) or ANSWER_SECONDS)
        return self._fleet.ask(verb, *arguments, deadline=deadline)

    def _look(self, bucket: str, path: str, deadline: Deadline | None = None) -> FileInfo:
        deadline = deadline or Deadline(self._seconds(None))
        store = self._account.store(deadline.limit(self._account.retries()))
        return FileInfo.of_head(bucket, path, store.head(bucket, path))

    def _reference(
        self, reference: ReferenceLike, deadline: Deadline | None = None
    ) -> FileReference:
        """The reference; of `bucket/path` the one that the object's own metadata makes."""
        if isinstance(reference, str):
            return self._look(*place_of(reference), deadline).reference()
        return FileReference.parse(reference)


def _process_token() -> str:
    token = auth.current_token()
    if token is None:
        raise NotSignedIn("Set ARGOSY_AGENT and ARGOSY_AGENT_KEY, or call argosy.login first.")
    return token


def _check_direct(options: UploadOptions | DownloadOptions) -> None:
    """Raise InvalidRequest for what only the fleet does: without a word it would be left out."""
    if isinstance(options, UploadOptions) and options.process:
        raise InvalidRequest(
            "process is for background mode: use upload_later, or leave it out and send the "
            "reference to transfer.process."
        )
    if isinstance(options, UploadOptions) and options.priority:
        raise InvalidRequest("priority is for background mode: use upload_later, or leave it out.")


def _outcome(result: Any, meter: Meter) -> FileReference | str:
    if isinstance(result, str):
        meter.done(result, meter.total or 0)
        return result
    reference = FileReference.parse(result)
    meter.done(reference, reference.size)
    return reference
