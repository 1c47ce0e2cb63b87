"""What an agent has the fleet do with stored files: look into them, picture, compress, copy."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from argosy.deadline import Deadline
from argosy.derived import Encoding
from argosy.errors import InvalidRequest
from argosy.given import ReferenceLike
from argosy.options import UploadOptions
from argosy.reference import FileReference

if TYPE_CHECKING:
    from argosy.fleet import Fleet
    from argosy.progress import Meter
    from argosy.settings import AgentSettings

PictureFormat = Literal["webp", "jpeg", "png", "avif"]


class FileWork:
    """The part of `Client` that asks the fleet for more than bytes.

    Each method waits for the answer, `deadline_seconds` at most where they are given (else
    ARGOSY_DEADLINE_SECONDS), and returns the reference with what came of it. The same work
    on the same file is done once. Raises ObjectNotFound, AccessDenied where something is to be
    stored beside a file that is not the agent's to write, FleetUnavailable, DeadlineExceeded.
    """

    settings: AgentSettings
    _fleet: Fleet

    if TYPE_CHECKING:

        def _transfer(
            self, options: UploadOptions
        ) -> AbstractContextManager[tuple[Deadline, Meter]]: ...

        def _reference(
            self, reference: ReferenceLike, deadline: Deadline | None = None
        ) -> FileReference: ...

        def _seconds(self, seconds: float | None) -> float | None: ...

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
        deadline = Deadline(self._seconds(None))
        document = self._reference(reference, deadline).document()
        found: list[dict[str, Any]] = self._fleet.ask("provenance", document, deadline=deadline)
        return found

    def copy(
        self, reference: ReferenceLike, *, options: UploadOptions | None = None
    ) -> FileReference:
        """Copy a file inside Storage; the copy is the agent's own, in `options.bucket`.

        What was made of the file goes along. The fleet does it: when this process ends, the
        copy goes on. The options `bucket`, `name`, `share_with` and `idempotency_key` count.
        Raises ObjectChanged, ChecksumMismatch.
        """
        options = options or UploadOptions()
        _check_copy(options)
        wanted = {
            "bucket": options.bucket,
            "name": options.name,
            "share_with": list(options.share_with),
            "idempotency_key": options.idempotency_key,
        }
        with self._transfer(options) as (deadline, meter):
            found = self._reference(reference, deadline)
            given: dict[str, Any] = {name: value for name, value in wanted.items() if value}
            task_id = self._fleet.send("copy", found.document(), **given)
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
        deadline = Deadline(self._seconds(seconds))
        given = {name: value for name, value in options.items() if value is not None}
        document = self._reference(reference, deadline).document()
        return FileReference.parse(self._fleet.ask(verb, document, deadline=deadline, **given))


def _check_copy(options: UploadOptions) -> None:
    """Raise InvalidRequest for what a copy cannot have: it is the file as it lies there."""
    for name in ("content_type", "compress", "process", "part_size", "parallel"):
        if getattr(options, name) is not None:
            raise InvalidRequest(f"{name} is for uploads: a copy is what its original is.")
