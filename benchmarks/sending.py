"""Many requests at once: all are sent, then all are waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks import transfer

AT_A_TIME = 1000
"""Files of one message, at most."""
_SECONDS = 900

Published = Mapping[str, float]
"""When each path was sent, in seconds since 1970."""
Sender = Callable[[Sequence[Path]], tuple[Published, Sequence[Any]]]
"""Sends files, and waits for their references."""


def one_by_one(paths: Sequence[Path]) -> tuple[Published, Sequence[Any]]:
    """A message and a result for each file."""
    published, sent = {}, []
    for path in map(str, paths):
        published[path] = time.time()
        sent.append(transfer.upload.delay(path))
    return published, [one.get(timeout=_SECONDS) for one in sent]


def many_at_a_time(paths: Sequence[Path]) -> tuple[Published, Sequence[Any]]:
    """By as few messages as they take."""
    published: dict[str, float] = {}
    sent = []
    for at in range(0, len(paths), AT_A_TIME):
        page = [str(path) for path in paths[at : at + AT_A_TIME]]
        published |= dict.fromkeys(page, time.time())
        sent.append(transfer.upload_many.delay(page))
    return published, [one for each in sent for one in each.get(timeout=_SECONDS)]
