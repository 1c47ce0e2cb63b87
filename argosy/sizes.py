"""Sizes in bytes, and what S3 lets a part have."""

from __future__ import annotations

MIB = 1024 * 1024
S3_MAX_PART_BYTES = 5 * 1024 * MIB
"""S3: a part is at most 5 GiB."""
S3_MIN_PART_BYTES = 5 * MIB
"""S3: every part but the last is at least 5 MiB."""
