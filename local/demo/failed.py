"""What the demo says when it cannot go on."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demo cannot go on; the message is a sentence."""
