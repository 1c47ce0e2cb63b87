"""`transfer.thumbnail`: small pictures of a picture, a video or a PDF, stored beside it."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from argosy.reference import FileReference
from tasks.ask import ask
from tasks.base import RequestTask
from tasks.requests import ThumbnailRequest


@shared_task(bind=True, base=RequestTask, name="transfer.thumbnail")
def thumbnail(
    self: RequestTask,
    reference: dict[str, Any],
    sizes: list[int] | None = None,
    format: str | None = None,  # noqa: A002  what a sender calls it
    quality: int | None = None,
    allow_truncated: bool = False,  # noqa: FBT001, FBT002  a message's argument
    required: bool = True,  # noqa: FBT001, FBT002
) -> FileReference:
    """Make thumbnails; the result is the reference with `derivatives`.

    `sizes` are longest edges in pixels; no picture is enlarged. `format` is webp, jpeg, png
    or avif. A picture that is cut short is refused unless `allow_truncated`. Where it is not
    `required`, a failure is noted among the derivatives, and the chain goes on. Fails with
    unsupported_type, damaged_file, too_many_pixels, decoder_stopped; the file stays as it is.
    """
    return ask(
        self,
        ThumbnailRequest,
        reference=reference,
        sizes=sizes,
        format=format,
        quality=quality,
        allow_truncated=allow_truncated,
        required=required,
    )
