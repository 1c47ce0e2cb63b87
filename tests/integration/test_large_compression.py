"""A log of 1 GB in one line: inspected and compressed by processes that stay small."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from argosy import FileReference
from tasks import transfer
from tests.conftest import Sender
from tests.deployment import Deployment, deployed, remote
from tests.integration.test_large_files import MOST_MEGABYTES
from tests.memory import PeakMemory

GB = 1_000_000_000
SECONDS = 600

pytestmark = [
    pytest.mark.skipif(remote(), reason="looks into the processes of the local stack"),
    pytest.mark.large,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, whose workers' memory is watched from the start."""
    with deployed(tmp_path_factory.mktemp("small")) as made:
        yield made


@pytest.fixture
def line(small: Deployment) -> Path:
    dice = random.Random(1)
    words = [f"{dice.getrandbits(24):x}" for _ in range(5000)]
    path = small.spool / "one-line.log"
    with path.open("w") as file:
        while file.tell() < GB:
            file.write(" ".join(dice.choices(words, k=20_000)) + " ")
        file.truncate(GB)
    return path


def test_a_log_of_one_line(
    small: Deployment, line: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sender = Sender(small.add_agent())
    with PeakMemory(lambda: _workers(small)) as memory:
        start = time.monotonic()
        plain = _reference(sender, transfer.upload.s(str(line), process="auto"))
        processed = time.monotonic()
        packed = _reference(sender, transfer.upload.s(str(line), compress="auto"))
        compressed = time.monotonic()
    with capsys.disabled():
        peaks = ", ".join(f"{name} {peak:.0f}" for name, peak in sorted(memory.megabytes.items()))
        print(
            f"\n1 GB of one line: uploaded, inspected and compressed in {processed - start:.0f} s, "
            f"uploaded compressed in {compressed - processed:.0f} s; peak RSS in MB: {peaks}"
        )
    assert plain.facts
    assert plain.facts.kind == "text"
    assert plain.facts.text
    assert plain.encoding == packed.encoding == "zstd"
    assert plain.stored == packed.stored  # the same bytes, however they came there
    assert max(memory.megabytes.values()) < MOST_MEGABYTES


def _reference(sender: Sender, signature: object) -> FileReference:
    sent = signature.apply_async(headers=sender.headers)  # type: ignore[attr-defined]
    return FileReference.parse(sent.get(timeout=SECONDS))


def _workers(deployment: Deployment) -> Iterable[tuple[str, int]]:
    for name in ("one", "two"):
        if pid := deployment.stack_of(name).pid:
            yield name, pid
