"""Settings of what is carried: from where, which files, and in what pieces."""

from __future__ import annotations

import os

from pydantic import Field

from argosy.base_settings import ArgosySettings
from argosy.setting_types import SpoolPaths, Types
from argosy.sizes import MIB, S3_MAX_PART_BYTES, S3_MIN_PART_BYTES


class CargoSettings(ArgosySettings):
    """Folders, buckets and pieces of the files that the fleet carries."""

    spool: SpoolPaths = Field(
        min_length=1,
        description=f"Folders that sources and destinations are in, separated by `{os.pathsep}`. "
        "An agent that has it refuses at once to have a file uploaded that is elsewhere.",
    )
    bucket_size_limit: int = Field(
        50 * 1024**3, gt=0, description="Bytes that a file in the fleet's buckets may have."
    )
    allowed_types: Types | None = Field(
        None,
        description="Content types that the fleet's buckets take, separated by commas "
        "(`image/*` works); all when not set.",
    )
    window: int = Field(
        8, ge=1, le=10_000, description="Chunk messages of one transfer in the queue at once."
    )
    whole_md5: bool = Field(
        True,
        description="Whether the reference of a file that the fleet uploads in parts has the MD5 "
        "of the whole: 1.5 s of a core for each GiB. SHA-256 of the whole and MD5 of every part "
        "are taken anyway.",
    )
    copy_threshold: int = Field(
        S3_MAX_PART_BYTES,
        ge=S3_MIN_PART_BYTES,
        le=S3_MAX_PART_BYTES,
        description="Bytes up to which Storage copies a file at once; larger ones in parts.",
    )
    copy_part_size: int = Field(
        1024 * MIB,
        ge=S3_MIN_PART_BYTES,
        le=S3_MAX_PART_BYTES,
        description="Bytes of each such part, grown where there would be more than 10,000.",
    )
