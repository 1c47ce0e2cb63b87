"""The file in which an agent's processes share one session, and its lock."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from argosy.locks import let_go, own
from argosy.session import Session

log = logging.getLogger(__name__)

LARGEST_FILE = 64 * 1024
_POLL_SECONDS = 0.02
_PRIVATE = os.O_CLOEXEC | os.O_NOFOLLOW


class _Document(BaseModel):
    """The file's content."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    access_token: str
    refresh_token: str
    issued_at: float
    expires_at: float
    key_salt: str = Field(pattern=r"^[0-9a-f]{32}$")
    key_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


def default_folder() -> Path:
    """`$XDG_STATE_HOME/argosy`, or `~/.local/state/argosy` (XDG Base Directory 0.8).

    Raises RuntimeError for a user without a home.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "argosy"


class SessionFile:
    """One agent's session with one Supabase project, for its owner's eyes only.

    The file also has a salted hash of the key that opened the session: with
    another key it is as if there were none. Every method may raise OSError when
    the folder cannot be used, or is not ours alone to write to.
    """

    def __init__(self, folder: Path, supabase_url: str, agent: str) -> None:
        self.folder = folder.absolute()
        digest = hashlib.sha256(
            f"{supabase_url}\0{agent}".encode(errors="surrogatepass")
        ).hexdigest()
        readable = re.sub(r"[^a-z0-9-]+", "-", agent.lower())[:40]
        self.name = f"{readable}-{digest[:16]}"
        self._file = f"{self.name}.json"

    @contextmanager
    def turn(self, wait_seconds: float) -> Iterator[bool]:
        """Be the only thread and process that renews the session.

        Gives False when another one holds the lock for longer than that.
        """
        with self._open_folder() as folder:
            flags = os.O_RDWR | os.O_CREAT | _PRIVATE
            lock = own(os.open(f"{self.name}.lock", flags, 0o600, dir_fd=folder))
            try:
                yield _lock_within(lock, wait_seconds)
            finally:
                let_go(lock)

    def read(self, key: str) -> Session | None:
        """The session that this key opened, if a sound one is there."""
        with self._open_folder() as folder:
            try:
                return _session(self._text(folder), key, self.name)
            except FileNotFoundError:
                return None
            except OSError as error:
                self._ignore(error.strerror)
            except ValidationError:
                self._ignore("damaged")
            return None

    def write(self, session: Session, key: str) -> None:
        """Put the session in place of the old one, on disk before this returns.

        Only in one's turn.
        """
        with self._open_folder() as folder:
            new = f"{self._file}.new"
            with suppress(FileNotFoundError):  # of a writer that was killed
                os.unlink(new, dir_fd=folder)
            _write_private(folder, new, _document(session, key, self.name))
            os.rename(new, self._file, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def _ignore(self, reason: str | None) -> None:
        log.warning("session.ignored", extra={"file": self._file, "reason": reason})

    @contextmanager
    def _open_folder(self) -> Iterator[int]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = os.fstat(folder)
            if found.st_uid != os.geteuid() or found.st_mode & 0o022:
                raise PermissionError(errno.EPERM, "not this user's alone to write to: chmod 700")
            yield folder
        finally:
            os.close(folder)

    def _text(self, folder: int) -> bytes:
        # O_NONBLOCK: a FIFO of that name must not keep us waiting.
        file = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK | _PRIVATE, dir_fd=folder)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "not a file of this user's")
            if found.st_mode & 0o077:
                raise PermissionError(errno.EPERM, "others may read or write it")
            return os.read(file, LARGEST_FILE)
        finally:
            os.close(file)


def _lock_within(lock: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_POLL_SECONDS)  # the kernel's own wait knows no end
        else:
            return True


def _write_private(folder: int, name: str, text: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PRIVATE
    with open(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:  # noqa: PTH123
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _document(session: Session, key: str, name: str) -> bytes:
    salt = secrets.token_hex(16)
    return (
        _Document(
            access_token=session.access_token,
            refresh_token=session.refresh_token,
            issued_at=session.issued_at,
            expires_at=session.expires_at,
            key_salt=salt,
            key_hash=_hash(key, salt, name),
        )
        .model_dump_json()
        .encode()
    )


def _session(text: bytes, key: str, name: str) -> Session | None:
    found = _Document.model_validate_json(text)
    if not hmac.compare_digest(_hash(key, found.key_salt, name), found.key_hash):
        return None
    return Session(found.access_token, found.refresh_token, found.issued_at, found.expires_at)


def _hash(key: str, salt: str, name: str) -> str:
    """Of the key and the file it is for; slow, should somebody have chosen a short key."""
    password, salted = key.encode(errors="surrogatepass"), f"{salt}/{name}".encode()
    return hashlib.scrypt(password, salt=salted, n=2**13, r=8, p=1, dklen=32).hex()
