"""Downloads from Storage itself, as agents that may read and agents that may not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from argosy import Client, FileReference, errors
from argosy.description import object_metadata
from argosy.options import DownloadOptions
from argosy.storage.body import FileRange
from argosy.storage.parts import part_ranges
from argosy.storage.s3 import StoredPart
from tests.deployment import AgentInTest, Deployment

from .conftest import MakeClient
from .stored import make_content, reference_to

MIB = 1024 * 1024
MOST_BYTES = 100_000_000
"""Of memory above the baseline, whatever the file's size."""


def put(client: Client, content: Path, *, part_size: int = 8 * MIB) -> FileReference:
    """Store a file as the client's agent, by the protocol's own means."""
    store, owner, size = client._account.store(), client.agent_id, content.stat().st_size
    reference = reference_to(content, bucket=client.settings.bucket)
    path = f"{owner}/{reference.path.partition('/')[2]}"
    reference = reference.model_copy(update={"owner": owner, "path": path})
    place = (reference.bucket, reference.path)
    metadata = object_metadata(
        name=reference.name, owner=owner, transfer=reference.id, sha256=reference.sha256
    )
    upload = store.create_multipart(*place, content_type=reference.content_type, metadata=metadata)
    with content.open("rb") as file:
        parts = [
            StoredPart(
                number,
                store.upload_part(*place, upload, number, FileRange(file.fileno(), *extent)),
            )
            for number, extent in enumerate(part_ranges(size, part_size), 1)
        ]
    store.complete_multipart(*place, upload, parts, size=size)
    return reference


def entries(client: Client) -> list[Path]:
    folder = client.settings.cache_dir
    return [path for path in (folder or Path()).glob("??/*") if path.is_file()]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture(params=[3 * MIB, 40 * MIB + 17], ids=["small", "large"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_content(tmp_path / "content", request.param)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_content(tmp_path / "content", 100_000)


def test_there_it_is(client: Client, content: Path, there: Path) -> None:
    reference = put(client, content)
    assert client.download_file(reference, there) == there / "cargo.bin"
    assert (there / "cargo.bin").read_bytes() == content.read_bytes()
    by_place = f"{reference.bucket}/{reference.path}"
    again = client.download_file(by_place, there / "again")
    assert again.read_bytes() == content.read_bytes()
    assert b"".join(client.iter_bytes(reference.document())) == content.read_bytes()
    with client.open_file(reference) as file:
        assert file.read() == content.read_bytes()
    assert sorted(entry.name for entry in there.iterdir()) == ["again", "cargo.bin"]


def test_the_second_time_it_comes_from_the_cache(
    client: Client, content: Path, there: Path
) -> None:
    reference = put(client, content)
    hits = REGISTRY.get_sample_value("argosy_cache_hits_total", {"cache": "files"}) or 0
    client.download_file(reference, there / "first")
    assert client.cache
    assert (client.cache.stats.hits, client.cache.stats.misses) == (0, 1)
    # A small file's first fetch is one request, which does not tell that its ETag is no MD5.
    client.download_file(reference, there / "second")
    client.download_file(reference, there / "third")
    assert client.cache.stats.hits >= 1
    assert REGISTRY.get_sample_value("argosy_cache_hits_total", {"cache": "files"}) == (
        hits + client.cache.stats.hits
    )
    [entry] = {path.name[:64] for path in entries(client)}
    assert entry == reference.sha256
    for name in ("first", "second", "third"):
        assert (there / name).read_bytes() == content.read_bytes()
        assert not any((there / name).samefile(path) for path in entries(client))


def test_a_rotten_entry_is_fetched_anew(client: Client, there: Path, tmp_path: Path) -> None:
    reference = put(client, make_content(tmp_path / "content", 20 * MIB))
    client.download_file(reference, there / "first")
    [entry] = entries(client)
    entry.chmod(0o600)
    with entry.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"rot")
    client.download_file(reference, there / "second")
    assert (there / "second").read_bytes() == (there / "first").read_bytes()
    client.download_file(reference, there / "third")
    assert client.cache
    assert (client.cache.stats.hits, client.cache.stats.misses) == (1, 2)


def test_the_cache_may_be_left_out(client: Client, small: Path, there: Path) -> None:
    reference = put(client, small)
    client.download_file(reference, there / "it", options=DownloadOptions(cache=False))
    assert not entries(client)


def test_the_cache_may_be_off(
    make_client: MakeClient, agent: AgentInTest, small: Path, there: Path
) -> None:
    client = make_client(agent, cache_bytes=0)
    assert client.cache is None
    client.download_file(put(client, small), there / "it")
    assert (there / "it").read_bytes() == small.read_bytes()
    assert not entries(client)


def test_no_access_no_bytes_from_the_cache(
    client: Client, make_client: MakeClient, deployment: Deployment, small: Path, there: Path
) -> None:
    reader = deployment.add_agent()
    theirs = make_client(reader)
    reference = put(client, small)
    with pytest.raises(errors.ObjectNotFound):
        theirs.download_file(reference, there / "before")
    deployment.query(
        "INSERT INTO argosy.grants (bucket, path, agent_id, access, granted_by) "
        "VALUES (:bucket, :path, :reader, 'read', :owner) RETURNING id",
        bucket=reference.bucket,
        path=reference.path,
        reader=reader.id,
        owner=client.agent_id,
    )
    theirs.download_file(reference, there / "granted")
    assert entries(theirs)
    deployment.query(
        "DELETE FROM argosy.grants WHERE agent_id = :reader RETURNING id", reader=reader.id
    )
    with pytest.raises(errors.ObjectNotFound):
        theirs.download_file(reference, there / "revoked")
    assert [entry.name for entry in there.iterdir()] == ["granted"]


def test_a_reference_to_one_object_gives_no_other_from_the_cache(
    client: Client, small: Path, there: Path, tmp_path: Path
) -> None:
    """Who knows a file's SHA-256 alone does not have its reader take it from its cache."""
    secret = put(client, small)
    client.download_file(secret, there / "secret")
    decoy = put(client, make_content(tmp_path / "decoy", small.stat().st_size))
    forged = decoy.model_copy(update={"sha256": secret.sha256, "md5": secret.md5})
    with pytest.raises(errors.ChecksumMismatch):
        client.download_file(forged, there / "forged")
    assert [entry.name for entry in there.iterdir()] == ["secret"]


@pytest.mark.parametrize("what", ["deleted", "other bucket", "another agent's"])
def test_what_cannot_be_read(
    client: Client, other: Client, small: Path, there: Path, what: str
) -> None:
    reference = put(client, small)
    reader = other if what == "another agent's" else client
    if what == "deleted":
        client._account.store().delete(reference.bucket, reference.path)
    elif what == "other bucket":
        reference = reference.model_copy(update={"bucket": "no-such-bucket"})
    wanted = (errors.ObjectNotFound, errors.BucketNotFound, errors.AccessDenied)
    with pytest.raises(wanted):
        reader.download_file(reference, there / "it")
    with pytest.raises(wanted):
        list(reader.iter_bytes(reference))
    with pytest.raises(wanted):
        reader.open_file(reference)
    assert not list(there.iterdir())


READINGS = ["download_file", "download_file, cached", "iter_bytes", "open_file"]


def measure(
    deployment: Deployment, agent: AgentInTest, reference: FileReference, how: str, folder: Path
) -> dict[str, float]:
    """What a process of its own needs for it: bytes and seconds."""
    own = {"ARGOSY_JOURNAL_DIR": str(folder / "j"), "ARGOSY_CACHE_DIR": str(folder / "c")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.client.measured"],
        input=json.dumps([agent.name, agent.key, reference.document(), how, str(folder / "it")]),
        env={**os.environ, **deployment.environment, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("size", "how"),
    [
        (256 * MIB, "download_file, cached"),
        (256 * MIB, "open_file"),
        *(pytest.param(1024 * MIB, how, marks=pytest.mark.large) for how in READINGS),
    ],
)
def test_memory_does_not_know_the_size(
    deployment: Deployment,
    large_file: dict[int, tuple[AgentInTest, FileReference]],
    size: int,
    how: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent, reference = large_file[size]
    found = measure(deployment, agent, reference, how, tmp_path)
    above = found["peak"] - found["baseline"]
    with capsys.disabled():
        print(
            f"\n{how} of {size // MIB} MiB: {above / 1e6:.0f} MB above the baseline of "
            f"{found['baseline'] / 1e6:.0f} MB, {size / 1e6 / found['seconds']:.0f} MB/s"
        )
    assert above < MOST_BYTES
    if "download" in how:
        assert (tmp_path / "it").stat().st_size == size


class LargeFiles(dict[int, tuple[AgentInTest, FileReference]]):
    """Files of these sizes, each stored once it is asked for."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment, self._folder = deployment, folder

    def __missing__(self, size: int) -> tuple[AgentInTest, FileReference]:
        agent = self._deployment.add_agent()
        content = make_content(self._folder / f"{size}", size)
        with Client(agent.settings, agent=agent.name, key=agent.key) as client:
            self[size] = agent, put(client, content, part_size=64 * MIB)
        content.unlink()
        return self[size]


@pytest.fixture(scope="module")
def large_file(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, tuple[AgentInTest, FileReference]]:
    return LargeFiles(deployment, tmp_path_factory.mktemp("large"))
