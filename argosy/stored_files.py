"""What lies in Storage: looked at, kept longer, shared, deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from argosy.base_client import BaseClient
from argosy.given import ReferenceLike, check_names, place_of
from argosy.info import FileInfo
from argosy.options import ListOptions
from argosy.reference import FileReference


class StoredFiles(BaseClient):
    """The part of `Client` that looks at files in Storage, and says who may have them."""

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
        deadline = self._deadline(options.deadline_seconds)
        bucket = bucket or self.settings.bucket
        control = self._account.control(deadline.limit(self._account.retries()))
        for found in islice(control.list_objects(bucket, prefix, options.page), options.limit):
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
        try:
            self._ask("delete", found.document())
        finally:  # whoever looked meanwhile has seen it still there
            self._metadata.forget(found.bucket, found.path)

    def extend(self, reference: ReferenceLike, days: float | None = None) -> FileReference:
        """Keep a file until `days` from now, and return its reference, which says until when.

        ARGOSY_RETENTION_DAYS of the fleet when not said. Never sooner than it would go anyway;
        what is shared for as long as the file is, is shared for longer. Raises ObjectNotFound,
        also for a file whose time is over, AccessDenied where it is not the agent's to write,
        InvalidRequest for more days than the fleet allows.
        """
        found = self._reference(reference)
        try:
            return FileReference.parse(self._ask("extend", found.document(), days))
        finally:
            self._metadata.forget(found.bucket, found.path)

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
        check_names(share_with)
        document = self._reference(reference).document()
        return FileReference.parse(self._ask("share", document, list(share_with), access, seconds))

    def unshare(self, reference: ReferenceLike, share_with: Sequence[str]) -> FileReference:
        """Take every access to a file from others, and return its reference with what is left."""
        check_names(share_with)
        document = self._reference(reference).document()
        return FileReference.parse(self._ask("unshare", document, list(share_with)))

    def signed_url(self, reference: ReferenceLike, *, seconds: int = 3600) -> str:
        """A URL by which anybody may read the file, without signing in, for so many seconds.

        It cannot be taken back: a revoked grant does not end it.
        """
        bucket, path = place_of(reference)
        retries = self._deadline().limit(self._account.retries())
        return self._account.control(retries).signed_url(bucket, path, seconds)
