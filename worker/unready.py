"""Why the database cannot be made ready."""

from __future__ import annotations


class DatabaseUnready(Exception):
    """Something that an operator has to put right; the message is a sentence."""
