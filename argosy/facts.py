"""What the bytes of a file say about it, as `transfer.inspect` gives it.

Every text is cut to a stated length, every list to a stated number, so that the whole
document stays below 16 KiB: it travels in the file's reference and lies in a row.
Sizes are bytes, durations seconds, angles degrees.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Kind = Literal["image", "audio", "video", "pdf", "text", "archive", "other"]
Word = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]
Sentence = Annotated[str, StringConstraints(max_length=300, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]

MAX_COLUMNS = 100
"""Columns of a table that are named; `column_count` says how many there are."""


def _is_none(value: Any) -> bool:
    return value is None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Position(_Part):
    """Where a picture was taken: degrees north and east, metres above the sea."""

    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False)
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False)
    altitude: float | None = Field(None, allow_inf_nan=False)


class PrivateFacts(_Part):
    """What leads to a person: there only where the fleet's setting asks for it."""

    position: Position | None = None
    camera_serial: Word | None = None
    lens_serial: Word | None = None
    owner: Word | None = None
    artist: Word | None = None
    copyright: Word | None = None


class ExifFacts(_Part):
    """What a camera wrote into its picture. `exposure` is in seconds, `focal_length` in mm,
    `aperture` the f-number; `taken_at` is ISO 8601, without a zone where the camera gave none.
    """

    make: Word | None = None
    model: Word | None = None
    lens: Word | None = None
    software: Word | None = None
    taken_at: Word | None = None
    exposure: Amount | None = None
    aperture: Amount | None = None
    iso: Count | None = None
    focal_length: Amount | None = None


class ImageFacts(_Part):
    """`width` and `height` are as stored: `orientation` (EXIF, 1 to 8) turns them.

    `mode` is Pillow's word for the pixels' form. With `more_frames` there are at least
    `frames`: counting stopped there.
    """

    width: Count
    height: Count
    mode: Word | None = None
    frames: Count = 1
    more_frames: bool = False
    orientation: int = Field(1, ge=1, le=8)
    colour_profile: Word | None = None
    exif: ExifFacts | None = None
    private: PrivateFacts | None = Field(None, exclude_if=_is_none)


class VideoTrack(_Part):
    """`rotation` is how far a player turns the frames clockwise; `frame_rate` is per second."""

    codec: Word | None = None
    width: Count
    height: Count
    rotation: int = Field(0, ge=0, lt=360)
    frame_rate: Amount | None = None


class AudioTrack(_Part):
    """`sample_rate` is in Hz."""

    codec: Word | None = None
    sample_rate: Count | None = None
    channels: Count | None = None


class RecordingFacts(_Part):
    """A sound or a video; of several tracks the first. `bit_rate` is bits per second, whole."""

    format: Word
    duration: Amount | None = None
    bit_rate: Count | None = None
    video: VideoTrack | None = None
    audio: AudioTrack | None = None


class PdfFacts(_Part):
    """`pages` is None where a password is needed to count them."""

    version: Word | None = None
    pages: Count | None = None
    encrypted: bool | None = None


class TableFacts(_Part):
    """A text of columns. `columns` are those of the first line, cut to 100 of 100 characters
    and some 6,000 characters in all."""

    delimiter: Word
    columns: tuple[Word, ...] = Field((), max_length=MAX_COLUMNS)
    column_count: Count


class TextFacts(_Part):
    """`encoding` is a Python codec's name, or `unknown-8bit`. `lines` is counted, or, with
    `lines_estimated`, worked out from a sample. `json_form` is None where the text is neither
    JSON nor JSON lines, or was too long to be read whole. `root` is the name of the outermost
    XML element.
    """

    encoding: Word
    lines: Count
    lines_estimated: bool = False
    json_form: Literal["document", "lines"] | None = None
    table: TableFacts | None = None
    root: Word | None = None


class ArchiveFacts(_Part):
    """By the archive's directory: nothing was unpacked. `size` is what it says the files come to.

    `form` is the outer format, `content` what a compressed file holds where that is known
    (`tar`). With `more_entries` there are at least `entries`, of at least `size`. What is None
    the directory does not tell.
    """

    form: Word
    content: Word | None = None
    entries: Count | None = None
    more_entries: bool = False
    size: Count | None = None
    encrypted: bool | None = None


class Facts(_Part):
    """What `transfer.inspect` has found.

    `content_type` is by the bytes, never by the name; `declared_type` is what was said of
    the file, where that is another one. `problem` says in a sentence why facts are missing:
    the file is damaged, or finding out more would have cost too much.
    """

    kind: Kind
    content_type: Word
    declared_type: Word | None = None
    problem: Sentence | None = None
    image: ImageFacts | None = Field(None, exclude_if=_is_none)
    recording: RecordingFacts | None = Field(None, exclude_if=_is_none)
    pdf: PdfFacts | None = Field(None, exclude_if=_is_none)
    text: TextFacts | None = Field(None, exclude_if=_is_none)
    archive: ArchiveFacts | None = Field(None, exclude_if=_is_none)
