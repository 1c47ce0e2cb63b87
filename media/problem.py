"""What a damaged file makes of its reading."""

from __future__ import annotations


class Unreadable(Exception):
    """The file is not what its first bytes promise; the message is a sentence about it."""
