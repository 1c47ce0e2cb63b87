"""What may be done with a stored file: steps, as they stand in requests and in rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from argosy.derived import Encoding
from argosy.media_settings import Edge, MediaSettings
from argosy.media_settings import Step as StepName
from media.thumbnail import Format

Edges = Annotated[tuple[Edge, ...], Field(strict=False, min_length=1, max_length=16)]


class _Step(BaseModel):
    """`required`: whether the caller's task fails where the step does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    required: bool = True


class InspectStep(_Step):
    """Look at the bytes. `private` positions, serial numbers and owners are told as well."""

    step: Literal["inspect"] = "inspect"
    private: bool = False

    def parameters(self) -> list[dict[str, Any]]:
        """Of each derivative that it makes."""
        return [{"private": self.private}]


class ThumbnailStep(_Step):
    """Make small pictures: one derivative for each size, in one decode."""

    step: Literal["thumbnail"] = "thumbnail"
    sizes: Edges
    format: Format
    quality: Annotated[int, Field(ge=1, le=100)]
    allow_truncated: bool = False

    @field_validator("sizes")
    @classmethod
    def _each_once(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(sizes)))

    def parameters(self) -> list[dict[str, Any]]:
        """Of each derivative that it makes."""
        said = {"format": self.format, "quality": self.quality}
        if self.allow_truncated:
            said["allow_truncated"] = True
        return [{"size": size, **said} for size in self.sizes]


class CompressStep(_Step):
    """Make a compressed copy, where that pays."""

    step: Literal["compress"] = "compress"
    encoding: Encoding
    level: int

    def parameters(self) -> list[dict[str, Any]]:
        """Of each derivative that it makes."""
        return [{"encoding": self.encoding, "level": self.level}]


class AutoStep(_Step):
    """Do what the settings say for the type of the bytes."""

    step: Literal["auto"] = "auto"
    required: bool = False


MakingStep = InspectStep | ThumbnailStep | CompressStep
"""What makes something."""
Step = Annotated[MakingStep | AutoStep, Field(discriminator="step")]
_STEPS: TypeAdapter[tuple[Step, ...]] = TypeAdapter(tuple[Step, ...])


def steps_in(documents: Sequence[Mapping[str, Any]] | None) -> tuple[MakingStep | AutoStep, ...]:
    """The steps that a row has noted."""
    return _STEPS.validate_python(documents or ())


def documents_of(steps: Iterable[MakingStep | AutoStep]) -> list[dict[str, Any]]:
    """The steps as a row notes them."""
    return [step.model_dump(mode="json") for step in steps]


def canonical(parameters: Mapping[str, Any]) -> str:
    """Parameters as the text by which a derivative is known."""
    return json.dumps(parameters, sort_keys=True, separators=(",", ":"))


def keys_of(step: MakingStep) -> list[tuple[str, str]]:
    """The derivatives that a step makes, as their rows are known."""
    return [(step.step, canonical(parameters)) for parameters in step.parameters()]


def inspecting(settings: MediaSettings, *, required: bool = True) -> InspectStep:
    """The step as the settings have it."""
    return InspectStep(private=settings.private_metadata, required=required)


def thumbnailing(
    settings: MediaSettings,
    *,
    sizes: Sequence[int] | None = None,
    form: Format | None = None,
    quality: int | None = None,
    allow_truncated: bool = False,
    required: bool = True,
) -> ThumbnailStep:
    """The step, with what is not said as the settings have it."""
    return ThumbnailStep(
        sizes=tuple(sizes or settings.thumbnail_sizes),
        format=form or settings.thumbnail_format,
        quality=quality or settings.thumbnail_quality,
        allow_truncated=allow_truncated,
        required=required,
    )


def compressing(
    settings: MediaSettings, encoding: Encoding = "zstd", *, required: bool = True
) -> CompressStep:
    """The step, at the level that the settings have."""
    level = settings.compress_level if encoding == "zstd" else min(settings.compress_level, 9)
    return CompressStep(encoding=encoding, level=level, required=required)


def called_for(settings: MediaSettings, content_type: str) -> list[MakingStep]:
    """What the settings' table has for a type of bytes; none of it is required."""
    group, suffix = content_type.partition("/")[0], content_type.rpartition("+")[2]
    patterns = (content_type, f"*/*+{suffix}", f"{group}/*", "*/*")
    names = next((settings.process[one] for one in patterns if one in settings.process), ())
    return [_STEP_OF[name](settings, required=False) for name in names]


_STEP_OF: Mapping[StepName, Callable[..., MakingStep]] = {
    "inspect": inspecting,
    "thumbnail": thumbnailing,
    "compress": compressing,
}
