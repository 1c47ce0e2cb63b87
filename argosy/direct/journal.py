"""How far one transfer is, on disk: for whoever goes on with it after a crash.

A file of JSON lines, one for each fact, each appended by one write: what a killed process
had noted is there, and a line that was torn is not believed. It survives the process, not
the machine: after a power cut a transfer may begin anew. It holds no token.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from argosy.closing import Closing
from argosy.locks import let_go, own
from argosy.session_file import default_folder
from argosy.settings import AgentSettings

log = logging.getLogger(__name__)

LARGEST_FILE = 8 * 1024 * 1024
"""Bytes; 10,000 parts take less than one MiB."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_told: set[str] = set()
"""Troubles that were logged: once each is enough."""


class Journal(Closing):
    """The journal of one transfer: its header, and the parts that are there.

    `header` is {} when there is nothing to go on with; `parts` has the ETag (or "") of each
    part that is there, by its number, and `hashes` the XXH3 of those that were hashed. Where
    no file can be kept (`is_kept` is False: the folder is not usable, or another call is at
    the same transfer) everything works, and is forgotten with the process. Any number of
    threads may note parts.
    """

    def __init__(self, file: int | None = None, path: Path | None = None) -> None:
        self._file = file
        self._path = path
        self._lock = threading.Lock()
        self._size = 0
        self.is_kept = file is not None
        """Whether another process could go on with it."""
        self.header: dict[str, Any] = {}
        self.parts: dict[int, str] = {}
        self.hashes: dict[int, int] = {}
        if file is not None:
            self._read(file)

    @classmethod
    def open(cls, settings: AgentSettings, kind: str, key: Mapping[str, str]) -> Self:
        """The journal of the transfer that `kind` and `key` name, locked until it is closed."""
        name = hashlib.sha256(json.dumps([kind, dict(key)], sort_keys=True).encode()).hexdigest()
        try:
            folder = settings.journal_dir or default_folder() / "journal"
            path = folder.absolute() / name
            file = _open_locked(path)
            try:
                return cls(file, path)
            except OSError:
                let_go(file)
                raise
        except BlockingIOError:
            log.info("journal.busy", extra={"kind": kind})
        except (OSError, RuntimeError) as error:
            _tell_once("journal.unusable", str(error))
        return cls()

    def begin(self, header: Mapping[str, Any]) -> None:
        """Forget what was there: a transfer begins. `header` is JSON."""
        with self._lock:
            self.header, self.parts, self.hashes = dict(header), {}, {}
            self._write({"header": self.header}, anew=True)

    def amend(self, **facts: Any) -> None:
        """Add facts to the header."""
        with self._lock:
            self.header.update(facts)
            self._write({"header": facts})

    def note(self, number: int, etag: str, xxh3: int | None = None) -> None:
        """A part is there."""
        fact = {"part": number, "etag": etag} | ({} if xxh3 is None else {"xxh3": xxh3})
        with self._lock:
            self._take_in(fact)
            self._write(fact)

    def remove(self) -> None:
        """The transfer needs it no more."""
        with self._lock:
            self.header, self.parts, self.hashes = {}, {}, {}
            self._discard()
            self._close()

    def close(self) -> None:
        """Leave it to the next who opens it. An empty one is removed."""
        if self.header:
            self._close()
        else:
            self.remove()

    def _discard(self) -> None:
        if self._file is None or self._path is None:
            return
        try:
            os.ftruncate(self._file, 0)  # says nothing, should it have to stay
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _tell_once("journal.unusable", str(error))

    def _close(self) -> None:
        if self._file is not None:
            let_go(self._file)
            self._file = None
            self.is_kept = False

    def _read(self, file: int) -> None:
        """Take in every sound line, and cut off what follows the last one."""
        for line in os.pread(file, LARGEST_FILE, 0).splitlines(keepends=True):
            if not (line.endswith(b"\n") and self._believe(line)):
                break
            self._size += len(line)
        os.ftruncate(file, self._size)
        if not self.header:
            self.parts, self.hashes = {}, {}

    def _believe(self, line: bytes) -> bool:
        try:
            fact = json.loads(line)
            if "header" in fact:
                self.header |= fact["header"]
            else:
                self._take_in(fact)
        except (ValueError, TypeError, KeyError):
            return False
        return True

    def _take_in(self, fact: Mapping[str, Any]) -> None:
        number = int(fact["part"])
        if "xxh3" in fact:
            self.hashes[number] = int(fact["xxh3"])
        self.parts[number] = str(fact["etag"])

    def _write(self, fact: Mapping[str, Any], *, anew: bool = False) -> None:
        """Append a line. What the disk does not take is not noted: the transfer goes on."""
        if self._file is None:
            return
        line = json.dumps(fact, separators=(",", ":")).encode() + b"\n"
        self._size = 0 if anew else self._size
        try:
            os.ftruncate(self._file, self._size)  # of a line that the disk took half of
            if os.write(self._file, line) == len(line):
                self._size += len(line)
        except OSError as error:
            _tell_once("journal.unusable", str(error))


def _open_locked(path: Path) -> int:
    """The file, ours alone. Raises BlockingIOError when it is somebody else's, OSError."""
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(path.parent.stat(), 0o022)
        file = own(os.open(path, _FLAGS, 0o600))
        try:
            _check_private(os.fstat(file), 0o077)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:  # else its holder removed it while we opened it
                return file
        except BaseException:
            let_go(file)
            raise
        let_go(file)


def _check_private(found: os.stat_result, others: int) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if found.st_uid != os.geteuid() or found.st_mode & others:
        raise PermissionError(errno.EPERM, "not this user's alone: chmod 700")
    if kind not in (stat.S_IFDIR, stat.S_IFREG):
        raise PermissionError(errno.EPERM, "neither a file nor a folder")


def _tell_once(event: str, reason: str) -> None:
    if reason not in _told:
        _told.add(reason)
        log.warning(event, extra={"reason": reason})
