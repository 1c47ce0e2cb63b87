"""Requests to look into a stored file, and to make something of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from argosy.derived import Encoding
from argosy.media_settings import MediaSettings
from media.thumbnail import Format
from tasks.requests.stored import StoredFileRequest
from tasks.steps import (
    AutoStep,
    Edges,
    MakingStep,
    compressing,
    inspecting,
    thumbnailing,
)

Steps = list[MakingStep | AutoStep]


class StepRequest(StoredFileRequest):
    """What names a stored file. Where the step is not `required`, the result comes all the same
    if it fails, and says so."""

    required: bool = True

    def steps(self, settings: MediaSettings) -> Steps:
        """What is to be done, with what is not said as the settings have it."""
        raise NotImplementedError


class InspectRequest(StepRequest):
    """`transfer.inspect`."""

    def steps(self, settings: MediaSettings) -> Steps:
        """One."""
        return [inspecting(settings, required=self.required)]


class ThumbnailRequest(StepRequest):
    """`transfer.thumbnail`."""

    sizes: Edges | None = None
    format: Format | None = None
    quality: Annotated[int, Field(ge=1, le=100)] | None = None
    allow_truncated: bool = False

    def steps(self, settings: MediaSettings) -> Steps:
        """One."""
        return [
            thumbnailing(
                settings,
                sizes=self.sizes,
                form=self.format,
                quality=self.quality,
                allow_truncated=self.allow_truncated,
                required=self.required,
            )
        ]


class CompressRequest(StepRequest):
    """`transfer.compress`."""

    encoding: Encoding = "zstd"

    def steps(self, settings: MediaSettings) -> Steps:
        """One."""
        return [compressing(settings, self.encoding, required=self.required)]


class ProcessRequest(StepRequest):
    """`transfer.process`."""

    process: Literal["auto"] = "auto"

    def steps(self, settings: MediaSettings) -> Steps:  # noqa: ARG002  they count later
        """Those that the file's type will call for."""
        return [AutoStep()]
