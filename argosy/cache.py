"""Files that were fetched before, on disk: addressed by SHA-256, bounded, safe between processes.

    <folder>/lock              held while entries come and go; its content is their bytes in all
    <folder>/ab/ab12…-<tag>    a file of SHA-256 ab12…, that came under the ETag which `tag` hashes
    <folder>/new/<random>      a file on its way in, locked by whoever writes it

The tag is there since a reference is anybody's word: with the SHA-256 of a file that its
writer never could read, and the path of one that its reader can, it would have the reader
take the first from its cache. Nobody makes Storage say an ETag to order.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from argosy.cache_entry import Found, open_sized, opened, size_of
from argosy.cache_folder import Books, Insertion, begin, coming, locked, tag_of, tell_once, used_in
from argosy.cache_stats import Stats, Tally
from argosy.files import write_at
from argosy.metadata_cache import MetadataCache
from argosy.settings import AgentSettings

__all__ = ["FileCache", "Insertion", "MetadataCache", "Stats"]

log = logging.getLogger(__name__)

_ENTRY = re.compile(r"[0-9a-f]{64}-[0-9a-f]{16}")
_SPARE = 16
"""When something must go, a 16th of the bound goes with it: to look through all is work."""


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    used_at: int


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/argosy`, or `~/.cache/argosy` (XDG Base Directory 0.8).

    Raises RuntimeError for a user without a home.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".cache") / "argosy"


class FileCache:
    """A folder of at most `bound` bytes of files. Any thread and any process may use it.

    Entries are verified on their way in and on their way out. Where the folder cannot be
    used every method does without, and the log says so once.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        self._folder = folder.absolute()
        self._bound = bound
        self._tally = Tally("files")

    @classmethod
    def of(cls, settings: AgentSettings) -> Self | None:
        """The cache that the settings ask for, if they ask for one."""
        if not settings.cache_bytes:
            return None
        try:
            return cls(settings.cache_dir or default_folder(), settings.cache_bytes)
        except (RuntimeError, OSError) as error:
            tell_once(error)
            return None

    @property
    def stats(self) -> Stats:
        """How often it helped this process, and what is in it by now."""
        return replace(self._tally.stats, bytes=used_in(self._folder))

    def has(self, sha256: str, size: int) -> bool:
        """Whether such a file is there: a hint, before Storage is asked for the ETag."""
        return any(size_of(path) == size for path in self._paths(sha256))

    def missed(self) -> None:
        """Count a file that was looked for with `has` and had to be fetched."""
        self._tally.missed()

    def copy_to(
        self,
        sha256: str,
        size: int,
        fd: int,
        *,
        etag: str | None = None,
        on_bytes: Callable[[int], None] | None = None,
    ) -> bool:
        """Write a cached file to an open one, from its beginning, and verify it on the way.

        False when it is not there, or was not sound any more (and is gone now): then `fd`
        may have some of it. `etag` is the object's, as Storage says it to this agent; a
        caller who leaves it out answers for the reference. `on_bytes` hears what was
        copied, and the negative sum when that was for nothing. Raises OSError of `fd`.
        """
        hear = on_bytes or (lambda _count: None)
        offset = 0

        def use(block: bytes) -> None:
            nonlocal offset
            write_at(fd, block, offset)
            offset += len(block)
            hear(len(block))

        with self._sound(sha256, size, etag, use) as found:
            if found is None and offset:
                hear(-offset)
            return found is not None

    def begin(self, size: int) -> Insertion | None:
        """Make room for a file. None when it is too large, or others take the room."""
        if size > self._bound:
            return None
        try:
            with locked(self._folder) as books:
                return self._begin(books, size)
        except OSError as error:
            tell_once(error)
            return None

    def _begin(self, books: Books, size: int) -> Insertion | None:
        used = self._swept(books.read())
        if used is None or used + size > self._bound:
            used = self._make_room(size)
        if used + size > self._bound:  # others are on their way in
            books.write(used)
            return None
        books.write(used + size)  # first: after a crash it is too much, never too little
        self._tally.holds(used + size)
        return begin(self._folder, size)

    def _make_room(self, size: int) -> int:
        """Remove what was used least lately until `size` bytes fit; the bytes that are left."""
        entries = sorted(self._entries(), key=lambda entry: entry.used_at)
        used = sum(entry.size for entry in entries) + sum(map(size_of, self._coming()))
        if used + size <= self._bound:
            return used
        goal = max(self._bound - size - self._bound // _SPARE, 0)
        for entry in entries:
            if used <= goal:
                break
            entry.path.unlink(missing_ok=True)
            used -= entry.size
            self._tally.evicted()
        return used

    def _swept(self, used: int | None) -> int | None:
        """Remove what dead processes left on the way in; the bytes that are used without it."""
        for path in self._coming():
            with suppress(FileNotFoundError), opened(path) as fd:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                used = None if used is None else max(0, used - os.fstat(fd).st_size)
                path.unlink()
        return used

    def _coming(self) -> list[Path]:
        return list(coming(self._folder).iterdir())

    def _entries(self) -> Iterator[_Entry]:
        for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
            for found in os.scandir(folder):
                if _ENTRY.fullmatch(found.name):
                    status = found.stat(follow_symlinks=False)
                    yield _Entry(Path(found.path), status.st_size, status.st_mtime_ns)

    def _paths(self, sha256: str, etag: str | None = None) -> list[Path]:
        """Where such a file is: under several ETags perhaps."""
        tag = "*" if etag is None else tag_of(etag)
        try:
            return list((self._folder / sha256[:2]).glob(f"{sha256}-{tag}"))
        except OSError as error:
            tell_once(error)
            return []

    @contextmanager
    def _sound(
        self, sha256: str, size: int, etag: str | None, use: Callable[[bytes], None]
    ) -> Iterator[Found | None]:
        """The entry, open, once `use` has had all of its blocks and they were the right ones."""
        for path in self._paths(sha256, etag):
            if (fd := open_sized(path, size)) is None:
                continue
            try:
                found = Found(fd, path, size)
                if found.sha256(use) != sha256:
                    self._drop(found)
                    break
                found.touch()
                self._tally.hit()
                yield found
                return
            finally:
                os.close(fd)
        self._tally.missed()
        yield None

    def _drop(self, found: Found) -> None:
        log.warning("cache.corrupt", extra={"sha256": found.path.name.partition("-")[0]})
        try:
            with locked(self._folder) as books:
                if not os.path.samestat(found.path.lstat(), os.fstat(found.fd)):
                    return  # somebody has dropped it before us, and has a good one by now
                found.path.unlink()
                books.release(os.fstat(found.fd).st_size)
        except FileNotFoundError:
            return
        except OSError as error:
            tell_once(error)
