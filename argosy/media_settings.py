"""Settings of what the fleet makes of a file's type, and of what it spends on it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import NoDecode

from argosy.base_settings import ArgosySettings
from argosy.setting_types import FROM_JSON
from argosy.sizes import MIB

Edge = Annotated[int, Field(ge=1, le=16_384)]
Step = Literal["inspect", "thumbnail", "compress"]

PROCESS: dict[str, tuple[Step, ...]] = {
    "image/*": ("inspect", "thumbnail"),
    "video/*": ("inspect", "thumbnail"),
    "application/pdf": ("inspect", "thumbnail"),
    "text/*": ("inspect", "compress"),
    "image/bmp": ("inspect", "thumbnail", "compress"),
    "*/*+json": ("inspect", "compress"),
    "*/*+xml": ("inspect", "compress"),
    **{
        f"application/{name}": ("inspect", "compress")
        for name in ("json", "x-ndjson", "xml", "yaml", "javascript", "sql")
    },
    "*/*": ("inspect",),
}
"""What `process="auto"` does, by the type of the bytes; the most particular entry counts."""


class MediaSettings(ArgosySettings):
    """How files are looked at, pictured and compressed."""

    process: Annotated[dict[str, tuple[Step, ...]], NoDecode, FROM_JSON] = Field(
        PROCESS,
        description='What is done with a file that is uploaded with `process="auto"`, as JSON: '
        "steps by content type, of which the most particular counts.",
    )
    decoder_memory_mb: int = Field(
        2048,
        ge=512,
        description="MB of address space that a decoding process may have: 200 are its own, and "
        "WebP needs 16 bytes a pixel.",
    )
    decoder_cpu_seconds: int = Field(
        30, ge=1, description="Processor time that a decoding process may take."
    )
    decoder_seconds: float = Field(
        300, gt=0, description="Time that a decoding process may take, waiting included."
    )
    image_pixels: int = Field(
        90_000_000, ge=1, description="Pixels of the largest picture that is decoded."
    )
    inspect_bytes: int = Field(
        16_000_000, ge=MIB, description="Bytes that `inspect` fetches of one file at most."
    )
    private_metadata: bool = Field(
        False,
        description="Whether `inspect` gives positions, serial numbers and owners' names.",
    )
    thumbnail_sizes: Annotated[tuple[Edge, ...], NoDecode, FROM_JSON] = Field(
        (128, 512), min_length=1, max_length=16, description="Longest edges of thumbnails, as JSON."
    )
    thumbnail_format: Literal["webp", "jpeg", "png", "avif"] = Field(
        "webp", description="Format of thumbnails that name none."
    )
    thumbnail_quality: int = Field(80, ge=1, le=100, description="Quality of thumbnails.")
    compress_level: int = Field(3, ge=1, le=12, description="Level of zstd; of gzip 9 at most.")
    compress_saving: float = Field(
        0.05, ge=0, lt=1, description="Share that compression must save to be done."
    )
