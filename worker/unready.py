"""Why the database or the broker cannot be made ready."""

from __future__ import annotations


class DatabaseUnready(Exception):
    """Something that an operator has to put right; the message is a sentence."""


class BrokerUnready(Exception):
    """The same of the broker."""
