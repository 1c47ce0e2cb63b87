"""One signed request and its answer; every failure leaves here as an Argosy error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import httpx

from argosy.errors import InvalidRequest, StorageUnavailable
from argosy.storage import pool, traits
from argosy.storage.body import BLOCK_BYTES, Body, BytesBody
from argosy.storage.retry import RetryPolicy
from argosy.storage.signing import Endpoint, SessionSignature
from argosy.storage.waits import heeding

_LARGEST_ANSWER = 4 * 1024 * 1024
"""Bytes of XML that are read into memory; a page of 1,000 uploads takes about 500 KB."""

_SLOWEST_ANSWER = 60.0
"""Seconds that it may take to come, once it has begun: the client's time-out is for silence."""

_LEAST_SILENCE = 0.05
"""Seconds: a limit of none would mean for ever."""

_UNRESERVED = "-_.~"


@dataclass(frozen=True)
class Call:
    """An S3 request before it is signed, with words for what it does."""

    doing: str
    method: str
    bucket: str
    key: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_seconds: float | None = None
    """How long the answer may take to begin, where that is longer than the pool's limit."""

    @property
    def what(self) -> str:
        """What is done to which object, for messages."""
        return f"{self.doing} {self.bucket}" + (f"/{self.key}" if self.key else "")


@dataclass(frozen=True)
class Answer:
    """A success, with its (small) body."""

    headers: httpx.Headers
    body: bytes


class Sending:
    """One pass over a body on its way out; `hashing` takes every block, if that is wanted.

    `beside` the sending it takes less time, and a little more of the processor: for a body
    that is alone, and not for one of many parts at once.
    """

    def __init__(self, body: Body, hashing: Hashing | None = None, *, beside: bool = False) -> None:
        self._body, self._hashing = body, hashing
        self._beside = beside and body.size > BLOCK_BYTES
        self.headers = {"Content-Length": str(body.size)}
        self.is_whole = False
        """Whether all of it was taken: an answer may come before that."""

    def __iter__(self) -> Iterator[bytes]:
        """The blocks; whoever has taken the last one finds all of them hashed."""
        yield from self._blocks()
        self.is_whole = True

    def _blocks(self) -> Iterator[bytes]:
        blocks: Iterator[bytes] = self._body.blocks()  # type: ignore[assignment]  # as h11 takes
        if self._hashing is None:
            return blocks
        return (_hashed_beside if self._beside else _hashed)(blocks, self._hashing)


Hashing = Callable[[bytes], None]


def _hashed(blocks: Iterator[bytes], hashing: Hashing) -> Iterator[bytes]:
    for block in blocks:
        hashing(block)
        yield block


def _hashed_beside(blocks: Iterator[bytes], hashing: Hashing) -> Iterator[bytes]:
    """Each block is hashed while it is sent: after that its memory may be another's.

    `blocks` is held until the thread has ended, also where the sending breaks off.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="md5") as helper:
        for block in blocks:
            hashed = _submitted(helper, hashing, block)
            if hashed is None:
                hashing(block)
                yield block
                break
            yield block
            hashed.result()
        yield from _hashed(blocks, hashing)  # what is left


def _submitted(helper: ThreadPoolExecutor, hashing: Hashing, block: bytes) -> Future[None] | None:
    """None where no thread can be had: the interpreter ends, or the process has too many."""
    try:
        return helper.submit(hashing, block)
    except RuntimeError:
        return None


NOTHING = BytesBody(b"")


class Wire:
    """Sends calls to one endpoint on behalf of one user."""

    def __init__(
        self,
        endpoint: Endpoint,
        token: Callable[[], str],
        http: httpx.Client | None,
        retries: RetryPolicy,
    ) -> None:
        self._url = endpoint.url.rstrip("/")
        self._signature = SessionSignature(endpoint, token)
        self._http = http
        self._retries = retries

    def answer(self, call: Call, sending: Sending | None = None) -> Answer:
        """One attempt whose answer is small."""
        with self.open(call, sending) as response, heeding(self._retries):
            return Answer(response.headers, _read_small(call, response))

    @contextmanager
    def open(self, call: Call, sending: Sending | None = None) -> Iterator[httpx.Response]:
        """One attempt; its body is still to be read, within the block.

        Raises by the table in `traits`; the connection goes back to the pool, or is
        closed when the body was not read to its end.
        """
        http = self._http or pool.client()
        try:
            response = self._begun(http, self._request(http, call, sending))
            try:
                with heeding(self._retries):
                    _raise_if_refused(call, response)
                yield response
            finally:
                response.close()
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise traits.unreachable(call.what, error) from error

    def _begun(self, http: httpx.Client, request: httpx.Request) -> httpx.Response:
        """The head of the answer; its body is still to be read."""
        with heeding(self._retries):
            return http.send(request, auth=self._signature, stream=True, follow_redirects=False)

    def _request(self, http: httpx.Client, call: Call, sending: Sending | None) -> httpx.Request:
        headers = {"Accept": "*/*", "Accept-Encoding": "identity", **call.headers}
        timeout = _timeout(http, call, self._retries.left())
        if sending is None and call.method in {"GET", "HEAD", "DELETE"}:
            return http.build_request(
                call.method, self._target(call), headers=headers, timeout=timeout
            )
        content = sending or Sending(NOTHING)
        headers |= content.headers
        return http.build_request(
            call.method, self._target(call), headers=headers, content=content, timeout=timeout
        )

    def _target(self, call: Call) -> str:
        """The URL, encoded as it is signed: nothing on the way may encode it differently."""
        path = quote(_checked_bucket(call.bucket), safe=_UNRESERVED)
        if call.key is not None:
            path += "/" + quote(checked_key(call.key), safe=_UNRESERVED + "/")
        query = "&".join(
            f"{quote(name, safe=_UNRESERVED)}={quote(value, safe=_UNRESERVED)}"
            for name, value in sorted(call.query.items())
        )
        return f"{self._url}/{path}" + (f"?{query}" if query else "")


def _timeout(http: httpx.Client, call: Call, left: float) -> httpx.Timeout:
    """The pool's limits, the call's own, and none beyond the `left` seconds of the whole work."""
    limits = http.timeout.as_dict()
    if call.silence_seconds:
        limits["read"] = call.silence_seconds
    if math.isfinite(left):
        most = max(left, _LEAST_SILENCE)
        limits = {name: min(limit or most, most) for name, limit in limits.items()}
    return httpx.Timeout(**limits)


def checked_key(key: str) -> str:
    """The key. Raises InvalidRequest for one that would reach something else on the way.

    Proxies resolve `.` and `..`; without a name, deleting an object deletes its bucket.
    """
    if not key or key.startswith("/") or {".", ".."} & set(key.split("/")):
        raise InvalidRequest(f"object name {key!r}: empty, or with a folder '', '.' or '..'")
    return key


def _checked_bucket(name: str) -> str:
    if name in {"", ".", ".."} or "/" in name:
        raise InvalidRequest(f"bucket name {name!r} is not one")
    return name


def _read_small(call: Call, response: httpx.Response) -> bytes:
    """A body of at most a few MiB. Raises StorageUnavailable when it is more, or drips."""
    body, end = bytearray(), time.monotonic() + (call.silence_seconds or _SLOWEST_ANSWER)
    for block in response.iter_raw():
        body += block
        if time.monotonic() > end:
            raise StorageUnavailable(f"{call.what}: the answer takes too long; try again later")
        if len(body) > _LARGEST_ANSWER:
            raise StorageUnavailable(f"{call.what}: the answer is too long; try again later")
    return bytes(body)


def _raise_if_refused(call: Call, response: httpx.Response) -> None:
    if response.is_success:
        return
    refusal = traits.read_refusal(response.status_code, _read_small(call, response))
    raise traits.refused(call.what, refusal, traits.retry_after(response.headers))
