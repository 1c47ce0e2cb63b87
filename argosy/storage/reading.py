"""Reads an object, or a range of it, over as many connections as it takes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import httpx

from argosy.errors import Error, ObjectChanged, StorageRefused, StorageUnavailable
from argosy.storage.checksum import plain_etag
from argosy.storage.retry import Budget, RetryPolicy
from argosy.storage.wire import Call, Wire

_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")
_RENEWS_BUDGET = 1024 * 1024
"""Bytes after which a connection counts as having got somewhere."""
_STALL_BYTES = 64 * 1024


@dataclass(frozen=True)
class _Extent:
    """The bytes an answer carries: from `first` up to, not including, `end`."""

    first: int
    end: int


def length_of(call: Call, headers: Mapping[str, str]) -> int:
    """Bytes of the object, as an answer says. Raises StorageUnavailable when it does not."""
    length = headers.get("content-length", "")
    if not length.isdecimal():
        raise StorageUnavailable(f"{call.what}: the answer does not say how long it is")
    return int(length)


class Reading:
    """One read: where it is, where it ends, and of which version of the object."""

    def __init__(
        self,
        wire: Wire,
        call: Call,
        *,
        start: int,
        length: int | None,
        etag: str | None,
        retries: RetryPolicy,
        stall_seconds: float,
    ) -> None:
        self._wire = wire
        self._call = call
        self._position = start
        self._end = None if length is None else start + length
        self._etag = None if etag is None else plain_etag(etag)
        self._retries = retries
        self._stall_seconds = stall_seconds

    def blocks(self) -> Iterator[bytes]:
        """The bytes, in order, each once; a cut connection is continued where it was cut."""
        budget = Budget(self._retries)
        renewed_at = self._position
        while self._end is None or self._position < self._end:
            try:
                yield from self._one_connection()
            except Error as error:
                if self._position - renewed_at >= _RENEWS_BUDGET:
                    budget.renew()
                    renewed_at = self._position
                budget.spend(error)

    def _one_connection(self) -> Iterator[bytes]:
        with self._wire.open(self._ranged_call()) as response:
            self._pin_version(response)
            extent = self._extent(response)
            self._end = extent.end
            for block in self._unstalled(response.iter_raw()):
                if self._position + len(block) > extent.end:
                    raise StorageUnavailable(f"{self._call.what}: more bytes than announced")
                self._position += len(block)
                yield block
        if self._position < extent.end:
            raise StorageUnavailable(f"{self._call.what}: the body ended at {self._position}")

    def _ranged_call(self) -> Call:
        if self._position == 0 and self._end is None:
            return self._call
        last = "" if self._end is None else self._end - 1
        return replace(self._call, headers={"Range": f"bytes={self._position}-{last}"})

    def _pin_version(self, response: httpx.Response) -> None:
        """Storage has no If-Match: compare each answer's ETag ourselves."""
        found = plain_etag(response.headers.get("etag", ""))
        if not found:
            raise StorageRefused(f"{self._call.what}: the answer has no ETag; check the gateway")
        if self._etag is None:
            self._etag = found
        if found != self._etag:
            raise ObjectChanged(f"{self._call.what}: the object was replaced; start anew")

    def _extent(self, response: httpx.Response) -> _Extent:
        """The announced bytes, which must be the ones that were asked for."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise StorageRefused(f"{self._call.what}: a gateway re-encoded it; switch that off")
        asked = self._position > 0 or self._end is not None
        if asked != (response.status_code == 206):
            raise StorageRefused(
                f"{self._call.what}: asked for {'a range' if asked else 'the whole'}, "
                f"answered {response.status_code}; check the gateway"
            )
        return self._partial(response) if asked else self._whole(response)

    def _whole(self, response: httpx.Response) -> _Extent:
        return _Extent(0, length_of(self._call, response.headers))

    def _partial(self, response: httpx.Response) -> _Extent:
        said = response.headers.get("content-range", "")
        match = _CONTENT_RANGE.fullmatch(said)
        if match is None:
            raise StorageRefused(f"{self._call.what}: no usable Content-Range in the answer")
        first, last, total = (int(number) for number in match.groups())
        wanted = total if self._end is None else self._end
        if first != self._position or last + 1 != wanted:
            raise StorageRefused(
                f"{self._call.what}: asked for bytes {self._position} to {wanted}, got {said}"
            )
        return _Extent(first, last + 1)

    def _unstalled(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The same blocks; gives up on a server that drips.

        The HTTP client's time-out is for silence: a byte now and then would hold a worker
        for ever. Only the time spent waiting for the network counts.
        """
        waited, received = 0.0, 0
        while True:
            asked_at = time.monotonic()
            block = next(blocks, None)
            waited += time.monotonic() - asked_at
            if block is None:
                return
            received += len(block)
            yield block
            if received >= _STALL_BYTES:
                waited, received = 0.0, 0
            elif waited > self._stall_seconds:
                raise StorageUnavailable(
                    f"{self._call.what}: {received} bytes in {waited:.0f} s is too slow; "
                    "try again later"
                )
