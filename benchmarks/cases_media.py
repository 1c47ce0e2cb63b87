"""Thumbnails of a camera's JPEGs: by the fleet's decoders, by Pillow, by vipsthumbnail."""

from __future__ import annotations

import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks import pictures
from benchmarks.apart import apart
from benchmarks.cargo import BenchmarkFailed
from benchmarks.deployment import Deployment
from benchmarks.measure import Block, Sample, Series, timed_with_cpu
from benchmarks.processes import Tree
from media.thumbnail import ThumbnailOptions
from media.workshop import Limits, Workshop

GROUP = "thumbnails"
FLEET, PILLOW = "the fleet's workshop", "Pillow thumbnail()"
VIPS = "vipsthumbnail"
SIZES: Mapping[str, tuple[int, ...]] = {
    "256 px": (256,),
    "1024 px": (1024,),
    "1024 and 256 px": (1024, 256),
}
QUALITY = 80

Format = Literal["webp", "jpeg"]
_FORMATS: tuple[Format, ...] = ("webp", "jpeg")
_EVERYTHING = "all processes"
"""Whose CPU time counts: this thread, what it has started, and what these have started."""
_VIPS_ENVIRONMENT = {"VIPS_CONCURRENCY": "1"}

Maker = Callable[[Sequence[int], Format], None]


class LocalFile:
    """A file on this machine, in place of one in Storage."""

    def __init__(self, fd: int) -> None:
        self.size = os.fstat(fd).st_size
        self._fd = fd

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`."""
        return os.pread(self._fd, length, offset)


class Thumbnails:
    """So many pictures, and everybody who can make them small; `remarks` says who cannot."""

    def __init__(self, deployment: Deployment, folder: Path, count: int) -> None:
        self._deployment = deployment
        self._folder = folder / "pictures"
        self._count = count
        self._pictures: list[Path] = []
        self._made = folder / "thumbnails"
        self._workshop = Workshop(Limits())
        self._process: ProcessPoolExecutor | None = None
        self._pillow_cpu = 0.0
        self._makers: dict[str, Maker] = {FLEET: self._by_fleet, PILLOW: self._by_pillow}
        if shutil.which(VIPS):
            self._makers[f"{VIPS}, a file a call"] = self._by_vips
            self._makers[f"{VIPS}, all in one call"] = self._by_vips_at_once

    @property
    def remarks(self) -> list[str]:
        """What to know about the figures of this run, if there are any."""
        if not self._pictures:
            return []
        sizes = sorted(path.stat().st_size / 1e6 for path in self._pictures)
        memory = self._workshop.usage.memory / 1e6
        return [
            f"Thumbnails are of {len(sizes)} JPEGs of 4000 x 3000 pixels and {sizes[0]:.1f} to "
            f"{sizes[-1]:.1f} MB; no decoder of the fleet had more than {memory:.0f} MB resident."
        ]

    def block(self) -> Block:
        """Every size in every format, by one after the other. Makes the pictures."""
        with apart() as process:
            made = process.submit(pictures.make_pictures, self._folder, self._count)
            self._pictures = made.result()
        asked = [(name, kind) for kind in _FORMATS for name in SIZES]
        return Block(GROUP, self._running, [partial(self._case, *each) for each in asked])

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Decoders and libraries are loaded unmeasured."""
        with self._workshop, apart() as self._process:
            for _ in self._case("256 px", "webp"):
                pass
            yield

    def _case(self, sizes: str, kind: Format) -> Iterator[Sample]:
        edges, bytes_in = SIZES[sizes], sum(path.stat().st_size for path in self._pictures)
        for subject, maker in self._makers.items():
            series = Series(
                GROUP,
                subject,
                f"{sizes}, {kind}",
                bytes_in,
                _EVERYTHING,
                items=len(self._pictures),
            )
            self._made.mkdir()
            sample, _ = timed_with_cpu(series, partial(maker, edges, kind), self._cpu)
            self._check(edges, kind)
            shutil.rmtree(self._made)
            yield sample

    def _cpu(self) -> dict[str, float]:
        """Decoders are children of the fork server, which says what each has taken.

        The process of Pillow says it too; those of vipsthumbnail were waited for.
        """
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        server = self._workshop.server_pid
        forking = Tree(server, descendants=False).cpu() if server else 0.0
        decoders = self._workshop.usage.cpu + forking + self._pillow_cpu
        return {_EVERYTHING: time.thread_time() + ended.ru_utime + ended.ru_stime + decoders}

    def _by_fleet(self, edges: Sequence[int], kind: Format) -> None:
        """A process for each picture, one after the other."""
        options = ThumbnailOptions(tuple(edges), kind, QUALITY)
        for path in self._pictures:
            with path.open("rb") as file:
                for one in self._workshop.thumbnails(LocalFile(file.fileno()), options):
                    self._path(path, one.edge, kind).write_bytes(one.data)

    def _by_pillow(self, edges: Sequence[int], kind: Format) -> None:
        """In a process that has it loaded."""
        if self._process is None:
            raise BenchmarkFailed("Pillow is not running")
        shrink = partial(pictures.shrink, self._pictures, self._made, edges, kind, QUALITY)
        self._pillow_cpu += self._process.submit(shrink).result()

    def _by_vips(self, edges: Sequence[int], kind: Format) -> None:
        for path in self._pictures:
            self._run_vips([path], edges, kind)

    def _by_vips_at_once(self, edges: Sequence[int], kind: Format) -> None:
        self._run_vips(self._pictures, edges, kind)

    def _run_vips(self, paths: Sequence[Path], edges: Sequence[int], kind: Format) -> None:
        """It knows one size a call."""
        environment = {**os.environ, **_VIPS_ENVIRONMENT}
        for edge in edges:
            target = f"{self._made}/%s-{edge}.{kind}[Q={QUALITY},strip]"
            command = [VIPS, *map(str, paths), "--size", f"{edge}", "--output", target]
            self._deployment.run(command, environment=environment)

    def _path(self, picture: Path, edge: int, kind: Format) -> Path:
        return self._made / f"{picture.stem}-{edge}.{kind}"

    def _check(self, edges: Sequence[int], kind: Format) -> None:
        """Raise BenchmarkFailed unless every thumbnail is there, as large as was asked."""
        wanted = {self._path(path, edge, kind): edge for path in self._pictures for edge in edges}
        for path, edge in wanted.items():
            found = pictures.size_of(path, kind)
            if found != (edge, edge * 3 // 4):
                raise BenchmarkFailed(f"{path.name} is of {found} pixels")
