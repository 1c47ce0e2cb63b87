"""Bodies go through the gateway, they do not stay there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx
import pytest

from local.processes import wait_until
from local.servers.supabase import Supabase
from tests.integration.gateway.servers import ORIGIN, Gateway

MB = 1_000_000
SIZE = 200 * MB
BLOCK = bytes(range(250)) * 4000
MOST_MEGABYTES = 20


class Upload:
    """A body of 200 MB that looks, half way and at its end, at what has become of it."""

    def __init__(self, gateway: Gateway, supabase: Supabase) -> None:
        self.gateway = gateway
        self.stored_before = stored(supabase)
        self.supabase = supabase
        self.arrived_early = False
        self.on_disk: list[str] = []
        self.megabytes = 0.0

    def __iter__(self) -> Iterator[bytes]:
        for sent in range(0, SIZE, MB):
            if sent == SIZE // 2:
                self.arrived_early = wait_until(self._has_arrived, seconds=30)
            if sent % (10 * MB) == 0:
                self.look()
            yield BLOCK
        self.look()

    def _has_arrived(self) -> bool:
        """Nearly all that was sent is in Supabase's folder; the rest is still unsent."""
        return stored(self.supabase) - self.stored_before >= SIZE // 2 - 10 * MB

    def look(self) -> None:
        self.on_disk += self.gateway.bodies_on_disk()
        self.megabytes = max(self.megabytes, self.gateway.resident_megabytes())


def stored(supabase: Supabase) -> int:
    """Bytes in Supabase's folder, temporary files included."""
    return sum(path.stat().st_size for path in supabase.data.rglob("*") if path.is_file())


def test_an_upload_streams(
    gateway: Gateway, supabase: Supabase, rest: httpx.Client, bucket: str
) -> None:
    body = Upload(gateway, supabase)
    headers = {"content-length": str(SIZE), "content-type": "application/x-test", "origin": ORIGIN}
    answered = rest.post(f"/object/{bucket}/large.bin", content=body, headers=headers)
    assert answered.status_code == 200, answered.text
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    assert body.arrived_early
    assert body.on_disk == []
    assert body.megabytes < MOST_MEGABYTES
    assert rest.head(f"/object/{bucket}/large.bin").headers["content-length"] == str(SIZE)


def test_an_upload_of_unknown_length_streams(
    gateway: Gateway, supabase: Supabase, rest: httpx.Client, bucket: str
) -> None:
    body = Upload(gateway, supabase)
    answered = rest.post(f"/object/{bucket}/chunked.bin", content=body)
    assert answered.status_code == 200, answered.text
    assert body.arrived_early
    assert body.on_disk == []


@pytest.fixture(scope="module")
def large(gateway: Gateway, keys: tuple[str, str]) -> str:
    """The path of an object of 200 MB."""
    headers = {"authorization": f"Bearer {keys[1]}", "content-length": str(SIZE)}
    with httpx.Client(base_url=f"{gateway.url}/storage/v1", headers=headers, timeout=60) as client:
        body = (BLOCK for _ in range(0, SIZE, MB))
        client.post("/bucket", content=b'{"name": "large"}', headers={"content-length": "17"})
        assert client.post("/object/large/large.bin", content=body).status_code == 200
    return "/object/large/large.bin"


def test_a_download_streams(gateway: Gateway, rest: httpx.Client, large: str) -> None:
    sha256, on_disk, megabytes = hashlib.sha256(), list[str](), 0.0
    with rest.stream("GET", large) as answered:
        for number, block in enumerate(answered.iter_bytes(MB)):
            sha256.update(block)
            if number % 20 == 0:
                on_disk += gateway.bodies_on_disk()
                megabytes = max(megabytes, gateway.resident_megabytes())
    assert sha256.hexdigest() == hashlib.sha256(BLOCK * (SIZE // MB)).hexdigest()
    assert on_disk == []
    assert megabytes < MOST_MEGABYTES


def test_a_client_that_reads_slowly_fills_no_disk(
    gateway: Gateway, rest: httpx.Client, large: str
) -> None:
    """Supabase waits as well: what the client has not taken is not read from it."""
    with rest.stream("GET", large) as answered:
        next(answered.iter_raw(1000))
        settled = _settled(gateway.resident_megabytes)
        assert gateway.bodies_on_disk() == []
        assert settled < MOST_MEGABYTES


def _settled(measure: Callable[[], float]) -> float:
    """The value once it has stayed the same for half a second."""
    seen, since = measure(), time.monotonic()

    def quiet() -> bool:
        nonlocal seen, since
        now = measure()
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > 0.5

    assert wait_until(quiet, seconds=20)
    return seen


def test_a_range_of_a_download(rest: httpx.Client, large: str) -> None:
    first, last = 99_999_990, 100_000_009
    headers = {"range": f"bytes={first}-{last}", "origin": ORIGIN}
    answered = rest.get(large, headers=headers)
    assert answered.status_code == 206
    assert answered.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answered.content == (BLOCK * 2)[MB - 10 : MB + 10]
    assert "Content-Range" in answered.headers["access-control-expose-headers"]


def test_a_condition_on_a_download(rest: httpx.Client, large: str) -> None:
    etag = rest.head(large).headers["etag"]
    assert rest.get(large, headers={"if-none-match": etag}).status_code == 304


@pytest.mark.parametrize("length", [{"content-length": str(SIZE)}, {}], ids=["known", "chunked"])
def test_a_refusal_before_the_body_is_over_arrives(
    gateway: Gateway, length: dict[str, str]
) -> None:
    """The client learns what Supabase said, not that a connection broke."""
    body = (BLOCK for _ in range(0, SIZE, MB))
    headers = {"authorization": "Bearer no-token", "origin": ORIGIN, **length}
    url = f"{gateway.url}/storage/v1/object/{uuid4()}/large.bin"
    answered = httpx.post(url, content=body, headers=headers, timeout=60)
    assert (answered.status_code, answered.json()["statusCode"]) == (400, "403")
    assert answered.headers["access-control-allow-origin"] == ORIGIN


def test_the_limit_of_a_bucket_is_told(rest: httpx.Client) -> None:
    name = f"small-{uuid4()}"
    rest.post("/bucket", json={"name": name, "file_size_limit": 10 * MB})
    body = (BLOCK for _ in range(0, SIZE, MB))
    headers = {"content-length": str(SIZE), "origin": ORIGIN}
    answered = rest.post(f"/object/{name}/large.bin", content=body, headers=headers)
    assert (answered.status_code, answered.json()["statusCode"]) == (400, "413")
    assert answered.headers["access-control-allow-origin"] == ORIGIN
