"""Pictures with bits turned at random: each is shown or refused, and no worker dies of one.

`FUZZ_IMAGES` says how many `make test` tries; `make test-large` tries 10,000. Places and bits
are the same in every run.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from argosy.errors import MediaError
from media.thumbnail import ThumbnailOptions
from media.workshop import Limits, Workshop
from tests.corpus.pictures import CASES, flipped
from tests.unit.media.memory_source import MemorySource

FEW = int(os.environ.get("FUZZ_IMAGES", "400"))
MANY = 10_000
LIMITS = Limits(memory_mb=512, cpu_seconds=10, seconds=60)
LARGEST = 200_000
SECONDS_EACH = 0.2
OPTIONS = ThumbnailOptions((128, 512))


def originals(folder: Path) -> list[bytes]:
    """The files of the corpus that are whole pictures and no bombs."""
    found = []
    for case in CASES:
        path = folder / case.name
        case.make(path)
        if case.thumbnail is None and path.stat().st_size <= LARGEST:
            found.append(path.read_bytes())
    return found


def outcome(workshop: Workshop, content: bytes) -> str:
    """What came of one picture: anything but thumbnails or a refusal ends the test."""
    source = MemorySource(content)
    workshop.inspect(source, name="a.jpg", declared_type="", private=False, traffic=10**9)
    try:
        workshop.thumbnails(source, OPTIONS)
    except MediaError as error:
        return error.code
    return "made"


def fuzz(folder: Path, count: int) -> None:
    pictures = originals(folder)
    damaged = (flipped(pictures[n % len(pictures)], n, 1 + n % 16) for n in range(count))
    with Workshop(LIMITS) as workshop:
        workshop.thumbnails(MemorySource(pictures[0]), OPTIONS)
        server, started = workshop.server_pid, time.monotonic()
        with ThreadPoolExecutor(2) as pool:
            outcomes = Counter(pool.map(lambda one: outcome(workshop, one), damaged))
        seconds, usage = time.monotonic() - started, workshop.usage
        assert workshop.server_pid == server, "the fork server has died"
    print(
        f"{count:,} pictures in {seconds:.0f} s: {dict(outcomes)}; of {usage.jobs:,} processes "
        f"{usage.stopped} died, the largest had {usage.memory / 2**20:.0f} MiB, "
        f"{usage.cpu:.0f} s of processor time in all"
    )
    assert usage.jobs == 2 * count + 1
    assert usage.memory <= LIMITS.memory_mb * 2**20
    assert outcomes["made"] > count / 20
    assert outcomes["damaged_file"] > count / 20
    assert seconds < 30 + SECONDS_EACH * count


def test_turned_bits_kill_no_worker(tmp_path: Path) -> None:
    fuzz(tmp_path, FEW)


@pytest.mark.large
@pytest.mark.timeout(3600)
def test_ten_thousand_pictures_kill_no_worker(tmp_path: Path) -> None:
    fuzz(tmp_path, MANY)
