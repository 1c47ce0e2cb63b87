"""Which queue the work on a transfer goes to."""

from __future__ import annotations

from typing import NamedTuple


class Lane(NamedTuple):
    """What decides it: the transfer's priority, and the path of its file, for whose spool it is."""

    priority: str
    path: str
