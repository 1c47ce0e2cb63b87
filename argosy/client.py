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
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from argosy import messages
from argosy.background import Background
from argosy.direct import download, remote_file, stream, upload
from argosy.file_work import FileWork
from argosy.given import ReferenceLike
from argosy.options import DownloadOptions, UploadOptions
from argosy.reference import FileReference
from argosy.stored_files import StoredFiles


class Client(Background, StoredFiles, FileWork):
    """Files of one agent in Supabase Storage. Any number of threads may use it.

    `agent` and `key` default to ARGOSY_AGENT and ARGOSY_AGENT_KEY, or to whom the process
    signed in as with `argosy.login`. Every method raises subclasses of `argosy.Error`:
    AccessDenied or ObjectNotFound where row-level security says no, StorageUnavailable
    when Storage stays away, DeadlineExceeded, and what is named with the method.
    """

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
                self._account, found, destination, options, deadline, meter, cache
            )

    def iter_bytes(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> Iterator[bytes]:
        """The file's bytes, in blocks of at most 1 MiB; the last one comes once all are verified.

        Raises ChecksumMismatch at the end when the bytes are not the reference's.
        """
        options = options or DownloadOptions()
        deadline = self._deadline(options.deadline_seconds)
        return download.iter_bytes(self._account, self._reference(reference, deadline), deadline)

    def open_file(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> remote_file.RemoteFile:
        """A read-only, seekable file object over the stored file, read ahead as it is read.

        A pass from beginning to end is verified; reads here and there cannot be.
        """
        options = options or DownloadOptions()
        found = self._reference(reference, self._deadline(options.deadline_seconds))
        return remote_file.RemoteFile(self._account, found, options)

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
