"""Bytes on disk.

    tmp/<version>                    being written; also the journal of what is not yet committed
    objects/<aa>/<version>           an object of one piece
    objects/<aa>/<version>/<n>       an object of many pieces, with their sizes in `manifest.json`
    uploads/<upload id>/<part id>    the parts of an unfinished multipart upload

A version's bytes never change, so copying and completing are hard links. The entry in `tmp` is
removed only after the commit: what it names without a row is swept at the next start.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local.supabase.etag import Etag

BLOCK = 1024 * 1024
_MANIFEST = "manifest.json"
_PART = "part-"


@dataclass(frozen=True)
class Written:
    """What a writer has put on disk."""

    size: int
    etag: str


class Writer:
    """One temporary file, hashed as it is written. Its methods block: call them in a thread."""

    def __init__(self, path: Path, etag: Etag) -> None:
        self._path = path
        self._file = path.open("xb", buffering=0)
        self._etag = etag
        self._size = 0

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append the chunks; both hashing and writing let other threads run."""
        for chunk in chunks:
            self._etag.update(chunk)
        left = sum(map(len, chunks))
        self._size += left
        while left:
            written = os.writev(self._file.fileno(), chunks)
            left -= written
            if left:  # a nearly full disk takes what it can, then says so
                chunks = [b"".join(chunks)[written:]]

    def finish(self) -> Written:
        """Close the file."""
        self._file.close()
        return Written(self._size, self._etag.value())

    def discard(self) -> None:
        """Close the file and remove it."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class Disk:
    """The server's folder."""

    def __init__(self, root: Path, upload_part_size: int | None = None) -> None:
        """`upload_part_size`: see `Etag`."""
        self._upload_part_size = upload_part_size
        self._tmp = root / "tmp"
        self._objects = root / "objects"
        self._uploads = root / "uploads"
        for folder in (self._tmp, self._objects, self._uploads):
            folder.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="disk")

    @property
    def threads(self) -> ThreadPoolExecutor:
        """The threads that read, write and hash beside the event loop."""
        return self._threads

    def in_background(self, work: Callable[..., object], *args: object) -> Future[object]:
        """Let a thread do the work; nobody waits for it."""
        return self._threads.submit(work, *args)

    # ------------------------------------------------------------ where things are

    def object_path(self, version: str) -> Path:
        """Return the place of a version's bytes."""
        return self._objects / version[:2] / version

    def part_path(self, upload_id: str, part_id: str) -> Path:
        """Return the place of a part's bytes."""
        return self._uploads / upload_id / part_id

    # ------------------------------------------------------------ writing

    def object_writer(self, version: str) -> Writer:
        """Begin a new object."""
        return Writer(self._tmp / version, Etag(self._upload_part_size))

    def part_writer(self, part_id: str) -> Writer:
        """Begin a new part."""
        return Writer(self._tmp / (_PART + part_id), Etag())

    def place_object(self, version: str) -> None:
        """Give a finished file its final name; it stays in the journal until `settle`."""
        _link(self._tmp / version, self.object_path(version))

    def settle(self, version: str) -> None:
        """Take a version off the journal: its row is committed."""
        (self._tmp / version).unlink(missing_ok=True)

    def place_part(self, upload_id: str, part_id: str) -> None:
        """Give a finished part its final name."""
        target = self.part_path(upload_id, part_id)
        target.parent.mkdir(exist_ok=True)
        (self._tmp / (_PART + part_id)).rename(target)

    def assemble(self, version: str, upload_id: str, parts: Iterable[tuple[str, int]]) -> None:
        """Make an object of the parts, (id, size) in order, without copying a byte."""
        chosen = list(parts)
        sources = [self.part_path(upload_id, part_id) for part_id, _ in chosen]
        self._journal(version)
        if len(chosen) == 1:
            _link(sources[0], self.object_path(version))
            return
        self._link_all(version, sources, [size for _, size in chosen])

    def copy(self, source: str, version: str) -> None:
        """Make a new version with the same bytes."""
        self._journal(version)
        origin = self.object_path(source)
        if not origin.is_dir():
            _link(origin, self.object_path(version))
            return
        sizes = _sizes(origin)
        self._link_all(version, [origin / str(n) for n in range(len(sizes))], sizes)

    def _journal(self, version: str) -> None:
        (self._tmp / version).touch()

    def _link_all(self, version: str, sources: Sequence[Path], sizes: Sequence[int]) -> None:
        folder = self.object_path(version)
        folder.mkdir(parents=True)
        for number, source in enumerate(sources):
            os.link(source, folder / str(number))
        (folder / _MANIFEST).write_text(json.dumps(list(sizes)))

    # ------------------------------------------------------------ reading

    def segments(self, version: str) -> list[tuple[Path, int]]:
        """Return an object's files and their sizes, in order."""
        path = self.object_path(version)
        if path.is_dir():
            return [(path / str(n), size) for n, size in enumerate(_sizes(path))]
        return [(path, path.stat().st_size)]

    # ------------------------------------------------------------ removing

    def remove_object(self, version: str) -> None:
        """Remove a version's bytes and its journal entry."""
        _remove(self.object_path(version))
        self.settle(version)

    def remove_part(self, upload_id: str, part_id: str) -> None:
        """Remove one part, and the upload's folder if it was the last."""
        path = self.part_path(upload_id, part_id)
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()

    def remove_upload(self, upload_id: str) -> None:
        """Remove all parts of an upload."""
        _remove(self._uploads / upload_id)

    # ------------------------------------------------------------ after a crash

    def unsettled(self) -> list[str]:
        """Return the versions whose commit is in doubt, and remove half-written parts."""
        versions = []
        for path in self._tmp.iterdir():
            if path.name.startswith(_PART):
                path.unlink()
            else:
                versions.append(path.name)
        return versions

    def pending_uploads(self) -> list[str]:
        """Return the ids of the multipart uploads that have parts here."""
        return [path.name for path in self._uploads.iterdir()]


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        target.parent.mkdir(exist_ok=True)
        os.link(source, target)


def _sizes(folder: Path) -> list[int]:
    sizes: list[int] = json.loads((folder / _MANIFEST).read_text())
    return sizes


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
