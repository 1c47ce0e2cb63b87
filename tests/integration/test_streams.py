"""A line on which one connection is slow: what is learnt of it, and forgotten."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy import Client, FileReference, UploadOptions
from argosy.storage.streams import LEAST_BYTES, Streams
from local.network.apart import Network, network
from local.network.line import Conditions
from tasks import transfer
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, deployed, remote, until

SIZE = 17 * 1024**2
"""Over a part of the usual size, and under what goes in one piece."""
LEAST, USUAL = 16 * 1024**2, 100_000_000
NARROW, WIDE = Conditions(rate=8_000_000), Conditions()

pytestmark = pytest.mark.skipif(remote(), reason="its network is that of the local stack")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Network]]:
    """A worker of one process, with a network before Storage."""
    with deployed(tmp_path_factory.mktemp("far"), workers={}) as made:
        port = int(made.settings.supabase_url.rpartition(":")[2])
        with network(port) as way:
            made.start_worker("far", 1, SUPABASE_URL=way.url)
            yield made, way


def parts_up(deployment: Deployment, own: Sender, source: Path) -> tuple[int, FileReference]:
    reference = FileReference.parse(own.upload(source).get(timeout=RESULT_SECONDS))
    return parts_of(deployment, str(reference.id)), reference


def parts_down(deployment: Deployment, own: Sender, reference: FileReference, source: Path) -> int:
    back = deployment.spool / "back.bin"
    asked = transfer.download.apply_async((reference, str(back)), headers=own.headers)
    asked.get(timeout=RESULT_SECONDS)
    assert back.read_bytes() == source.read_bytes()
    back.unlink()
    return parts_of(deployment, asked.id)


def parts_of(deployment: Deployment, transfer_id: str) -> int:
    [row] = deployment.query(
        "SELECT part_count FROM argosy.transfers WHERE id = :id", id=transfer_id
    )
    return int(row.part_count)


def test_the_next_file_goes_in_parts_until_it_is_wide_again(
    far: tuple[Deployment, Network],
) -> None:
    deployment, way = far
    own, source = Sender(deployment.add_agent()), deployment.make_file("source.bin", SIZE)

    def there_and_back() -> tuple[int, int]:
        count, reference = parts_up(deployment, own, source)
        return count, parts_down(deployment, own, reference, source)

    way.change(NARROW)
    assert [there_and_back(), there_and_back()] == [(1, 1), (2, 2)]
    way.change(WIDE)
    assert there_and_back() == (2, 2)
    until(lambda: there_and_back() == (1, 1), what="one piece each way")


def test_the_client_learns_it_too(far: tuple[Deployment, Network], tmp_path: Path) -> None:
    """Parts are of no use to who sends one at a time."""
    deployment, way = far
    agent, content = deployment.add_agent(), os.urandom(SIZE)
    there = {"supabase_url": way.url, "journal_dir": tmp_path, "cache_dir": tmp_path}
    settings = agent.settings.model_copy(update=there)
    with Client(settings, agent=agent.name, key=agent.key) as client:
        way.change(NARROW)
        counts = [client.upload_file(content).chunk_count for _ in range(2)]
        alone = UploadOptions(parallel=1)
        counts.append(client.upload_file(content, options=alone).chunk_count)
        way.change(WIDE)
        counts.append(client.upload_file(content).chunk_count)
        assert counts == [1, 2, 1, 2]
        until(lambda: client.upload_file(content).chunk_count == 1, what="one piece")


def test_little_tells_nothing() -> None:
    streams = Streams()
    with streams.measured("upload", LEAST_BYTES - 1):
        pass
    assert streams.at_once("upload", USUAL, LEAST) == USUAL


def test_what_broke_tells_nothing() -> None:
    streams = Streams()
    with pytest.raises(ConnectionError), streams.measured("upload", LEAST_BYTES):
        raise ConnectionError
    assert streams.at_once("upload", USUAL, LEAST) == USUAL


def test_ways_are_told_apart() -> None:
    streams = Streams()
    streams.note("upload", 10e6)
    streams.note("upload", 30e6)
    assert streams.at_once("upload", USUAL, LEAST) == 40_000_000
    assert streams.at_once("download", USUAL, LEAST) == USUAL


def test_neither_less_than_a_part_nor_more_than_usual() -> None:
    streams = Streams()
    streams.note("upload", 1)
    streams.note("download", 1e12)
    assert streams.at_once("upload", USUAL, LEAST) == LEAST
    assert streams.at_once("download", USUAL, LEAST) == USUAL
