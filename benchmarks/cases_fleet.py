"""The fleet: from `.delay()` to the verified result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

from argosy import FileReference
from argosy.derived import Encoding
from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.deployment import CHILDREN, WORKER, Deployment
from benchmarks.measure import MIB, Block, Case, Sample, Series, timed_alone
from tasks import transfer

GROUP = "fleet"
WITHOUT_MD5 = "fleet, no MD5 of the whole"
"""One that leaves it out of files in parts; what is asked of Storage is compared all the same."""
_RESULT_SECONDS = 600
ENCODINGS: Sequence[Encoding | None] = (None, "zstd", "gzip")
_WARM_UP = 8
"""Transfers for each child; the pool hands them out unevenly."""


class Fleet:
    """An agent's view of a fleet that cuts files into parts of one size, or as is usual."""

    def __init__(
        self,
        deployment: Deployment,
        part_size: int | None = None,
        *,
        name: str = GROUP,
        **settings: str,
    ) -> None:
        self._deployment = deployment
        self._part_size = part_size
        self._settings = settings
        self.name = name if part_size is None else f"fleet, parts of {part_size // MIB} MiB"

    def block(
        self, tiny: Cargo, cargos: Sequence[Cargo], *, group: str = GROUP, latencies: int = 0
    ) -> Block:
        """Round trips of the cargos, and so many of the tiny one for its latency."""
        cases: list[Case] = [partial(self.round_trip, group, cargo) for cargo in cargos]
        if latencies:
            cases.insert(0, partial(self._latency, tiny, latencies))
        return Block(self.name, partial(self.running, tiny), cases)

    def compressing(self, tiny: Cargo, cargo: Cargo) -> Block:
        """Round trips of one cargo that can be compressed, as it is and in every encoding."""
        cases = [partial(self.round_trip, GROUP, cargo, encoding) for encoding in ENCODINGS]
        return Block(f"{GROUP}, compressing", partial(self.running, tiny), cases)

    def upload(self, cargo: Cargo, compress: Encoding | None = None) -> FileReference:
        """Bring a file into Storage."""
        sent = transfer.upload.delay(str(cargo.path), compress=compress)
        return FileReference.parse(sent.get(timeout=_RESULT_SECONDS))

    def download(self, reference: FileReference) -> Path:
        """Bring a file from Storage into the spool."""
        destination = self._deployment.stack.spool / f"back-{uuid4()}"
        sent = transfer.download.delay(reference, str(destination))
        return Path(sent.get(timeout=_RESULT_SECONDS))

    @contextmanager
    def running(self, tiny: Cargo, children: int = CHILDREN) -> Iterator[None]:
        """Workers that have moved something before."""
        with self._deployment.fleet(self._part_size, children, **self._settings):
            self.warm_up(tiny, children)
            yield

    def warm_up(self, tiny: Cargo, children: int = CHILDREN) -> None:
        """Keep all children busy at once, so that each makes its connections unmeasured."""
        each = _WARM_UP if children <= CHILDREN else _WARM_UP // 2
        sent = [transfer.upload.delay(str(tiny.path)) for _ in range(each * children)]
        arrived = [FileReference.parse(one.get(timeout=_RESULT_SECONDS)) for one in sent]
        self._deployment.remove(*(reference.path for reference in arrived))

    def round_trip(
        self, group: str, cargo: Cargo, compress: Encoding | None = None
    ) -> Iterator[Sample]:
        """There and back; what comes back is compared."""
        gauged = self._deployment.gauged
        series = self._series("upload", cargo, compress, group)
        sample, reference = gauged(series, lambda: self.upload(cargo, compress))
        _must_name(reference, cargo, compress)
        yield replace(sample, stored=reference.stored_size)
        series = self._series("download", cargo, compress, group)
        sample, arrived = gauged(series, lambda: self.download(reference))
        yield sample
        self._tidy(cargo, reference, arrived)

    def _latency(self, tiny: Cargo, times: int) -> Iterator[Sample]:
        for _ in range(times):
            yield from self._latency_of_one(tiny)

    def _latency_of_one(self, tiny: Cargo) -> Iterator[Sample]:
        sample, reference = timed_alone(self._series("upload", tiny), lambda: self.upload(tiny))
        yield sample
        series = self._series("download", tiny)
        sample, arrived = timed_alone(series, lambda: self.download(reference))
        yield sample
        self._tidy(tiny, reference, arrived)

    def _series(
        self, action: str, cargo: Cargo, compress: Encoding | None = None, group: str = GROUP
    ) -> Series:
        by = f", {compress}" if compress else ""
        return Series(group, f"{self.name}{by}", action, cargo.size, WORKER, of=cargo.kind)

    def _tidy(self, cargo: Cargo, reference: FileReference, arrived: Path) -> None:
        cargo.must_equal(arrived)
        arrived.unlink()
        self._deployment.remove(reference.path)


def _must_name(reference: FileReference, cargo: Cargo, compress: Encoding | None) -> None:
    if reference.encoding != compress:
        raise BenchmarkFailed(f"{cargo.path.name} is stored as {reference.encoding}: not as asked")
    if (reference.size, reference.sha256) != (cargo.size, cargo.sha256):
        raise BenchmarkFailed(f"the reference of {cargo.path.name} is not of its bytes")
