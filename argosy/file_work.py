"""What an agent has the fleet do with stored files: look into them, picture, compress, copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from argosy.base_client import BaseClient
from argosy.derived import Encoding
from argosy.errors import InvalidRequest
from argosy.given import ReferenceLike, said
from argosy.options import UploadOptions
from argosy.reference import FileReference

PictureFormat = Literal["webp", "jpeg", "png", "avif"]


class FileWork(BaseClient):
    """The part of `Client` that asks the fleet for more than bytes.

    Each method waits for the answer, `deadline_seconds` at most where they are given (else
    ARGOSY_DEADLINE_SECONDS), and returns the reference with what came of it. The same work
    on the same file is done once. Raises ObjectNotFound, AccessDenied where something is to be
    stored beside a file that is not the agent's to write, FleetUnavailable, DeadlineExceeded.
    """

    def inspect(
        self, reference: ReferenceLike, *, deadline_seconds: float | None = None
    ) -> FileReference:
        """Have the fleet look at a file's bytes: the reference's `facts` say what it found."""
        return self._work("inspect", reference, deadline_seconds)

    def thumbnail(
        self,
        reference: ReferenceLike,
        *,
        sizes: Sequence[int] | None = None,
        format: PictureFormat | None = None,  # noqa: A002  what the task calls it
        quality: int | None = None,
        allow_truncated: bool = False,
        required: bool = True,
        deadline_seconds: float | None = None,
    ) -> FileReference:
        """Have thumbnails made of a picture, a video or a PDF: they are `derivatives` then.

        `sizes` are longest edges in pixels. Raises UnsupportedType, DamagedFile,
        TooManyPixels, DecoderStopped; where it is not `required`, the derivatives say that
        it failed, and why.
        """
        return self._work(
            "thumbnail",
            reference,
            deadline_seconds,
            sizes=list(sizes) if sizes else None,
            format=format,
            quality=quality,
            allow_truncated=allow_truncated or None,
            required=required,
        )

    def compress(
        self,
        reference: ReferenceLike,
        *,
        encoding: Encoding = "zstd",
        deadline_seconds: float | None = None,
    ) -> FileReference:
        """Have a compressed copy stored, and return the reference to that.

        Where it does not pay the reference is the one that was given: its derivatives say why.
        """
        return self._work("compress", reference, deadline_seconds, encoding=encoding)

    def process(
        self, reference: ReferenceLike, *, deadline_seconds: float | None = None
    ) -> FileReference:
        """Have done what the fleet's settings say for the type of the file's bytes."""
        return self._work("process", reference, deadline_seconds)

    def provenance(self, reference: ReferenceLike) -> list[dict[str, Any]]:
        """How everything that was made of a file was made, in the order it was done.

        Of each `step` its `parameters`, `outcome`, the SHA-256 of its source and of its
        output, and the versions of the `code`.
        """
        deadline = self._deadline()
        document = self._reference(reference, deadline).document()
        found: list[dict[str, Any]] = self._fleet.ask("provenance", document, deadline=deadline)
        return found

    def copy(
        self, reference: ReferenceLike, *, options: UploadOptions | None = None
    ) -> FileReference:
        """Copy a file inside Storage; the copy is the agent's own, in `options.bucket`.

        What was made of the file goes along. The fleet does it: when this process ends, the
        copy goes on. The options `bucket`, `name`, `share_with`, `idempotency_key` and
        `priority` count. Raises ObjectChanged, ChecksumMismatch.
        """
        options = options or UploadOptions()
        _check_copy(options)
        wanted = said(
            bucket=options.bucket,
            name=options.name,
            share_with=list(options.share_with),
            idempotency_key=options.idempotency_key,
            priority=options.priority,
        )
        own = replace(options, priority=None, idempotency_key=None)  # the rest is as in direct mode
        with self._transfer(own) as (deadline, meter):
            found = self._reference(reference, deadline)
            task_id = self._fleet.send("copy", found.document(), deadline=deadline, **wanted)
            meter.begin(task_id, options.name or found.name, found.size)
            done = FileReference.parse(self._fleet.wait(task_id, deadline, meter.reached))
            meter.done(done, done.size)
        return done

    def persist(
        self, reference: ReferenceLike, *, options: UploadOptions | None = None
    ) -> FileReference:
        """Copy a file to the bucket of those that are kept. As `copy`."""
        options = options or UploadOptions()
        bucket = options.bucket or self.settings.persistent_bucket
        return self.copy(reference, options=options.in_bucket(bucket))

    def _work(
        self, verb: str, reference: ReferenceLike, seconds: float | None, **options: Any
    ) -> FileReference:
        deadline = self._deadline(seconds)
        given = {name: value for name, value in options.items() if value is not None}
        document = self._reference(reference, deadline).document()
        return FileReference.parse(self._fleet.ask(verb, document, deadline=deadline, **given))


def _check_copy(options: UploadOptions) -> None:
    """Raise InvalidRequest for what a copy cannot have: it is the file as it lies there."""
    for name in ("content_type", "compress", "process", "part_size", "parallel"):
        if getattr(options, name) is not None:
            raise InvalidRequest(f"{name} is for uploads: a copy is what its original is.")
