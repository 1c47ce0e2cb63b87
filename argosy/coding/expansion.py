"""How far a compressed file may expand before nobody decodes it."""

from __future__ import annotations

ALWAYS_EXPANDED = 64 * 1024 * 1024
"""Bytes that any compressed file may have, however few are stored."""


def most_expanded(stored: int, expansion: int) -> int:
    """Bytes that a compressed file of `stored` bytes may have."""
    return max(ALWAYS_EXPANDED, expansion * stored)
