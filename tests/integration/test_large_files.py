"""Files over 1 GB: equal on the other side, through processes that stay small."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Iterable, Iterator

import pytest

from argosy import FileReference
from tests.conftest import Sender
from tests.deployment import Deployment, deployed, remote
from tests.memory import PeakMemory

MIB = 1024 * 1024
GIB = 1024 * MIB
MOST_MEGABYTES = 200
OURS = ("one", "two", "beat", "supabase")

pytestmark = pytest.mark.skipif(remote(), reason="looks into the processes of the local stack")


@pytest.fixture(scope="module", params=[16, 64], ids="parts of {} MiB".format)
def with_part_size(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A deployment whose parts have this size."""
    settings = {"ARGOSY_PART_SIZE": str(request.param * MIB)}
    with deployed(tmp_path_factory.mktemp("large"), settings) as made:
        yield made


def test_one_gibibyte(with_part_size: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    _there_and_back(with_part_size, 1 * GIB, capsys)


@pytest.mark.large
@pytest.mark.timeout(1800)
def test_five_gibibytes(with_part_size: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    _there_and_back(with_part_size, 5 * GIB, capsys)


def _there_and_back(deployment: Deployment, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    sender = Sender(deployment.add_agent())
    source = deployment.make_file("large.bin", size)
    back = deployment.spool / "large.back"
    with PeakMemory(lambda: _our_processes(deployment)) as memory:
        start = time.monotonic()
        reference = FileReference.parse(sender.upload(source).get(timeout=900))
        uploaded = time.monotonic()
        sender.download(reference, back).get(timeout=900)
        downloaded = time.monotonic()
    with capsys.disabled():
        up, down = size / 1e6 / (uploaded - start), size / 1e6 / (downloaded - uploaded)
        peaks = ", ".join(f"{name} {peak:.0f}" for name, peak in sorted(memory.megabytes.items()))
        print(
            f"\n{size // GIB} GiB in {reference.chunk_count} parts of "
            f"{reference.chunk_size // MIB} MiB: up {up:.0f} MB/s, down {down:.0f} MB/s; "
            f"peak RSS in MB: {peaks}"
        )
    assert filecmp.cmp(source, back, shallow=False)
    deployment.clear_spool()
    assert max(memory.megabytes.values()) < MOST_MEGABYTES


def _our_processes(deployment: Deployment) -> Iterable[tuple[str, int]]:
    for name in OURS:
        if pid := deployment.stack_of(name).pid:
            yield name, pid
