"""The file in which an agent's processes share one session: safe, whole, and used by all."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argosy import auth, locks, session_file
from argosy.auth import SignIn
from argosy.errors import AccessDenied, StorageUnavailable
from argosy.session import Session
from argosy.session_file import SessionFile
from tests.agent_process import KILLED_BEFORE_IT_WRITES, KILLED_WHILE_IT_WRITES, AgentProcess
from tests.unit.auth_server import KEY, LIFE, AuthServer, agent_settings

AGENT = "Märzwetter/../x"
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def server() -> Iterator[AuthServer]:
    made = AuthServer()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "argosy"


def file_of(server: AuthServer, folder: Path, agent: str = AGENT) -> SessionFile:
    return SessionFile(folder, server.url, agent)


def process(server: AuthServer, folder: Path, key: str = KEY, agent: str = AGENT) -> SignIn:
    """What a new process of the agent has."""
    return SignIn(agent_settings(server.url), agent, key, file_of(server, folder, agent))


def aged(server: AuthServer, folder: Path, share: float) -> None:
    """Make the session in the file one of which this share is over."""
    file = file_of(server, folder)
    found = file.read(KEY)
    assert found
    began = time.time() - LIFE * share
    file.write(replace(found, issued_at=began, expires_at=began + LIFE), KEY)


def path_in(folder: Path) -> Path:
    [path] = folder.glob("*.json")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# A session outlives its process


def test_the_next_process_goes_on(server: AuthServer, folder: Path) -> None:
    assert process(server, folder).token() == "access-1"
    assert process(server, folder).token() == "access-1"
    aged(server, folder, 5)  # long expired
    assert process(server, folder).token() == "access-2"
    assert server.grants == ["password", "refresh_token"]


def test_what_is_refreshed_is_in_the_file_first(
    server: AuthServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in = process(server, folder)
    seen: list[tuple[str, str]] = []
    take = SignIn._take

    def look(self: SignIn, session: Session) -> None:
        seen.append(
            (session.refresh_token, json.loads(path_in(folder).read_text())["refresh_token"])
        )
        take(self, session)

    monkeypatch.setattr(SignIn, "_take", look)
    sign_in.token()
    aged(server, folder, 5)
    sign_in._session = None
    sign_in._newest = 0
    sign_in.token()
    assert seen[0] == ("refresh-1", "refresh-1")
    assert seen[-1] == ("refresh-2", "refresh-2")


def test_what_is_written_is_on_disk_before_it_has_its_name(
    server: AuthServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_rename(*names: Any, **folders: Any) -> None:
        steps.append("rename")
        rename(*names, **folders)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    file_of(server, folder).write(Session("a", "r", 0, 1), KEY)
    assert steps == ["file", "rename", "folder"]


def test_a_session_that_auth_refused_is_not_taken_from_the_file_again(
    server: AuthServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in = process(server, folder)
    sign_in.token()
    sign_in._session = replace(sign_in._session, issued_at=0)  # type: ignore[type-var]
    server.key = server.active = "another"
    monkeypatch.setattr(auth, "PAUSE_SECONDS", 0)
    for number in (3, 4):
        with pytest.raises(AccessDenied):
            sign_in.token()
        assert len(server.asked) == number


def test_another_process_s_session_is_adopted(server: AuthServer, folder: Path) -> None:
    one, other = process(server, folder), process(server, folder)
    one.token()
    other.token()
    aged(server, folder, 0.95)
    one._session, one._newest = None, 0
    assert one.token() == "access-2"
    other._session = replace(other._session, issued_at=0)  # type: ignore[type-var]
    assert other.token() == "access-2"
    assert server.grants == ["password", "refresh_token"]


def test_a_good_session_in_the_file_does_while_auth_is_away(
    server: AuthServer, folder: Path
) -> None:
    process(server, folder).token()
    aged(server, folder, 0.9)
    for _ in range(2):
        server.say(503)
        assert process(server, folder).token() == "access-1"
    aged(server, folder, 1.1)
    server.say(503)
    with pytest.raises(StorageUnavailable):
        process(server, folder).token()


def test_each_agent_and_project_has_its_own(
    server: AuthServer, folder: Path, tmp_path: Path
) -> None:
    names = {
        SessionFile(folder, url, agent).name
        for url in ("http://one", "http://two")
        for agent in ("a", "A", "a/b", "a-b", "../a", "ä", "\udcff", "x" * 300)
    }
    assert len(names) == 16
    for agent in ("a/b", "../../a", "x" * 300, "\udcff"):
        file_of(server, folder, agent).write(Session("a", "r", 0, 1), KEY)
    assert len(list(folder.glob("*.json"))) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_another_key_means_another_session(server: AuthServer, folder: Path) -> None:
    """A key that was replaced is not covered up by the session that it opened."""
    process(server, folder).token()
    with pytest.raises(AccessDenied):
        process(server, folder, "a key that Auth does not take").token()
    assert process(server, folder).token() == "access-1"  # not its to throw away
    server.key = "the new key"
    assert process(server, folder, "the new key").token() == "access-3"
    assert file_of(server, folder).read(KEY) is None
    assert server.grants == ["password"] * 3


def test_the_key_is_not_in_the_file(server: AuthServer, folder: Path) -> None:
    process(server, folder).token()
    first = json.loads(path_in(folder).read_text())
    assert KEY not in path_in(folder).read_text()
    file_of(server, folder).write(Session("a", "r", 0, 1), KEY)
    assert json.loads(path_in(folder).read_text())["key_hash"] != first["key_hash"]  # salted


# Nobody else's eyes


@pytest.mark.parametrize("umask", [0, 0o077])
def test_only_the_owner_may_read(server: AuthServer, folder: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        process(server, folder).token()
    finally:
        os.umask(old)
    assert mode(folder) & 0o077 == 0
    assert mode(path_in(folder)) == 0o600
    [lock] = folder.glob("*.lock")
    assert mode(lock) & 0o077 == 0


def replaced_safely(server: AuthServer, folder: Path) -> None:
    """A new process does not use what is there, and puts a file of its own in its place."""
    asked = len(server.asked)
    assert process(server, folder).token() == f"access-{asked + 1}"
    assert server.grants[-1] == "password"
    path = path_in(folder)
    assert stat.S_ISREG(path.lstat().st_mode)
    assert (mode(path), path.lstat().st_uid) == (0o600, os.geteuid())
    assert process(server, folder).token() == f"access-{asked + 1}"


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o620, 0o602, 0o777])
def test_a_file_that_others_may_read_or_write(
    server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture, bits: int
) -> None:
    process(server, folder).token()
    path_in(folder).chmod(bits)
    replaced_safely(server, folder)
    assert "session.ignored" in caplog.messages


def test_a_symbolic_link(server: AuthServer, folder: Path, tmp_path: Path) -> None:
    process(server, folder).token()
    path, elsewhere = path_in(folder), tmp_path / "elsewhere"
    path.rename(elsewhere)
    before = elsewhere.read_bytes()
    path.symlink_to(elsewhere)
    replaced_safely(server, folder)
    assert elsewhere.read_bytes() == before


def test_a_dangling_symbolic_link(server: AuthServer, folder: Path, tmp_path: Path) -> None:
    process(server, folder).token()
    path = path_in(folder)
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    replaced_safely(server, folder)
    assert not (tmp_path / "nowhere").exists()


def test_a_link_where_the_new_file_is_written(
    server: AuthServer, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    folder.mkdir(parents=True, mode=0o700)
    (folder / f"{file_of(server, folder).name}.json.new").symlink_to(target)
    replaced_safely(server, folder)
    assert target.read_text() == "precious"


def test_a_fifo(server: AuthServer, folder: Path) -> None:
    process(server, folder).token()
    path = path_in(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    replaced_safely(server, folder)


@as_root
def test_a_file_of_somebody_else(server: AuthServer, folder: Path) -> None:
    process(server, folder).token()
    os.chown(path_in(folder), NOBODY, NOBODY)
    replaced_safely(server, folder)


DAMAGED = {
    "empty": b"",
    "cut": b'{"access_token": "a", "refre',
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "binary": bytes(range(256)),
    "without members": b"{}",
    "deep": b"[" * 60_000,
    "large": b" " * 1_000_000,
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file(
    server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    process(server, folder).token()
    path_in(folder).write_bytes(DAMAGED[what])
    replaced_safely(server, folder)
    assert "session.ignored" in caplog.messages


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": 5},
        {"refresh_token": None},
        {"issued_at": float("nan")},
        {"expires_at": float("inf")},
        {"expires_at": "tomorrow"},
        {"key_salt": "zz"},
        {"key_hash": None},
        {"key_hash": "ä"},
    ],
)
def test_a_file_with_odd_members(server: AuthServer, folder: Path, changes: dict[str, Any]) -> None:
    process(server, folder).token()
    path = path_in(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    replaced_safely(server, folder)


# When it cannot be kept


def in_memory_only(server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The session works, is said once not to be kept, and is renewed as any other."""
    sign_in = process(server, folder)
    assert sign_in.token() == "access-1"
    for number in (2, 3):
        sign_in._session = replace(sign_in._session, issued_at=0)  # type: ignore[type-var]
        assert sign_in.token() == f"access-{number}"
    assert server.grants == ["password", "refresh_token", "refresh_token"]
    assert caplog.messages.count("session.in_memory_only") == 1
    [record] = [one for one in caplog.records if one.message == "session.in_memory_only"]
    assert vars(record)["reason"]


def test_a_folder_that_cannot_be_made(
    server: AuthServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    in_memory_only(server, tmp_path / "file" / "argosy", caplog)


@pytest.mark.parametrize("bits", [0o770, 0o777, 0o1777, 0o702])
def test_a_folder_that_others_may_write_to(
    server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture, bits: int
) -> None:
    folder.mkdir(parents=True)
    folder.chmod(bits)
    in_memory_only(server, folder, caplog)
    assert list(folder.iterdir()) == []


@as_root
def test_a_folder_of_somebody_else(
    server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir(parents=True, mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    in_memory_only(server, folder, caplog)


def test_a_folder_in_the_place_of_the_file(
    server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / f"{file_of(server, folder).name}.json").mkdir(parents=True)
    folder.chmod(0o700)
    in_memory_only(server, folder, caplog)


def test_a_full_disk(
    server: AuthServer,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_room(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_room)
        in_memory_only(server, folder, caplog)
    assert not list(folder.glob("*.json"))


def test_after_a_full_disk_the_file_is_written_again(
    server: AuthServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in = process(server, folder)
    sign_in.token()
    aged(server, folder, 0.95)
    sign_in._session = replace(sign_in._session, issued_at=0)  # type: ignore[type-var]
    with monkeypatch.context() as full:
        full.setattr(session_file, "_write_private", _fail)
        assert sign_in.token() == "access-2"
    sign_in._session = replace(sign_in._session, issued_at=0)  # type: ignore[type-var]
    assert sign_in.token() == "access-3"
    assert server.asked[-1][1] == {"refresh_token": "refresh-2"}  # not the older one on disk
    assert process(server, folder).token() == "access-3"
    assert server.grants == ["password", "refresh_token", "refresh_token"]


def _fail(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# Only one at a time


@contextmanager
def somebody_elses_turn(server: AuthServer, folder: Path) -> Iterator[None]:
    with (folder / f"{file_of(server, folder).name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_while_another_process_renews_the_token_that_holds_is_used(
    server: AuthServer, folder: Path
) -> None:
    sign_in = process(server, folder)
    sign_in.token()
    began = time.time() - LIFE * 0.9
    sign_in._session = Session("mine", "refresh-1", began, began + LIFE)
    with somebody_elses_turn(server, folder):
        assert sign_in.token() == "mine"
    assert len(server.asked) == 1


def test_a_turn_ends_even_if_somebody_has_a_copy_of_the_lock(
    server: AuthServer, folder: Path
) -> None:
    """As a child has that was forked in a bad moment."""
    file = file_of(server, folder)
    with file.turn(0) as first:
        copies = [os.dup(lock) for lock in locks._owned]
        with file.turn(0) as second:
            assert (first, second) == (True, False)
    with file.turn(0) as third:
        assert third
    for copy in copies:
        os.close(copy)


def test_a_process_that_stands_still_in_its_turn(
    server: AuthServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "TURN_SECONDS", 0.1)
    process(server, folder).token()
    sign_in = process(server, folder)
    with somebody_elses_turn(server, folder), pytest.raises(StorageUnavailable, match="renewing"):
        sign_in.token()
    assert sign_in.token() == "access-1"


def agent_process(server: AuthServer, folder: Path, first: str = "") -> AgentProcess:
    return AgentProcess(server.url, AGENT, KEY, folder, first=first)


@pytest.mark.parametrize(("share", "grants"), [(None, ["password"]), (1.5, ["refresh_token"])])
def test_processes_and_threads_share_one_request(
    server: AuthServer, folder: Path, share: float | None, grants: list[str]
) -> None:
    if share:
        process(server, folder).token()
        aged(server, folder, share)
    before = len(server.asked)
    children = [agent_process(server, folder) for _ in range(4)]
    for child in children:
        child.go()
    assert set().union(*(child.tokens() for child in children)) == {f"access-{before + 1}"}
    assert server.grants[before:] == grants


def test_while_the_token_holds_one_of_many_processes_renews_it(
    server: AuthServer, folder: Path
) -> None:
    process(server, folder).token()
    aged(server, folder, 0.9)
    children = [agent_process(server, folder) for _ in range(4)]
    for child in children:
        child.go()
    tokens = set().union(*(child.tokens() for child in children))
    assert "access-2" in tokens
    assert tokens <= {"access-1", "access-2"}
    assert server.grants == ["password", "refresh_token"]


@pytest.mark.parametrize("how", [KILLED_BEFORE_IT_WRITES, KILLED_WHILE_IT_WRITES])
def test_a_kill_between_the_answer_and_the_file(server: AuthServer, folder: Path, how: str) -> None:
    process(server, folder).token()
    aged(server, folder, 1.5)
    child = agent_process(server, folder, how)
    child.go()
    assert child.is_killed()
    assert server.active == "refresh-2"  # which only the dead one has seen
    assert process(server, folder).token() == "access-3"
    assert server.grants == ["password", "refresh_token", "refresh_token"]
    assert json.loads(path_in(folder).read_text())["refresh_token"] == "refresh-2"
    assert not list(folder.glob("*.new"))


def test_a_killed_process_gives_up_its_turn(server: AuthServer, folder: Path) -> None:
    server.open.clear()
    child = agent_process(server, folder)
    child.go()
    until(lambda: len(server.asked) == 1)
    child.kill()
    server.open.set()
    assert process(server, folder).token() == "access-2"


def test_a_forked_child_gets_on_with_the_file(server: AuthServer, folder: Path) -> None:
    """Forked while a thread of its parent renews the session: it waits, then adopts it."""
    sign_in = process(server, folder)
    server.open.clear()
    opening = threading.Thread(target=sign_in.token)
    opening.start()
    until(lambda: len(server.asked) == 1)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        os.write(writer, b"l" if _holds_a_lock(folder) else b".")
        os._exit(0 if sign_in.token() == "access-1" else 1)
    assert os.read(reader, 1) == b"."  # the turn ends with its parent, not with the child
    server.open.set()
    opening.join(30)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(reader)
    os.close(writer)
    assert len(server.asked) == 1


def _holds_a_lock(folder: Path) -> bool:
    opened = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return any(path.parent == folder and path.suffix == ".lock" for path in opened)


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


# Where it is


def test_where_sessions_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert session_file.default_folder() == tmp_path / "xdg" / "argosy"
    for unusable in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert session_file.default_folder() == tmp_path / ".local" / "state" / "argosy"


@pytest.mark.parametrize("named", [True, False])
def test_login_keeps_its_session(
    server: AuthServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    monkeypatch.setattr(auth, "_signed_in", None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    expected = tmp_path / "named" if named else tmp_path / "xdg" / "argosy"
    settings = agent_settings(server.url, session_dir=expected if named else None)
    auth.login("name", KEY, settings)
    assert path_in(expected).name.startswith("name-")
    auth.login("name", KEY, settings)
    assert len(server.asked) == 1


def test_without_login_nothing_is_kept(
    server: AuthServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    SignIn(agent_settings(server.url), "name", KEY).token()
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_is_signed_in_all_the_same(
    server: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(auth, "_signed_in", None)
    auth.login("name", KEY, agent_settings(server.url))
    assert auth.current_token() == "access-1"


def test_the_log_names_no_secret(
    server: AuthServer, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    process(server, folder).token()
    path_in(folder).write_text('{"access_token": "access-1", "refresh_token": "refresh-1"}')
    process(server, folder).token()
    shown = [str(vars(record)) for record in caplog.records]
    assert "session.ignored" in caplog.messages
    for secret in (KEY, "access-1", "refresh-1"):
        assert not [text for text in shown if secret in text]
