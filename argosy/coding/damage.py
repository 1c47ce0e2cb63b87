"""What is wrong with a frame. Who knows the file's name makes an error of it."""

from __future__ import annotations


class FrameDamaged(Exception):
    """It cannot be decoded, or not to as much as it should; the text says what was found."""


class FrameTooLarge(FrameDamaged):
    """It decodes to more than it should."""
