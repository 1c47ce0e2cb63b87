"""Where a download goes, by what was said."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from argosy.deadline import Deadline
from argosy.direct.destination import destination
from argosy.errors import DestinationExists, DestinationUnwritable, TransferCancelled

MIB = 1024 * 1024
TIB = 1024**2 * MIB


@pytest.mark.parametrize("end", ["/", "//", "/."])
def test_a_folder_that_is_not_there_is_no_files_name(tmp_path: Path, end: str) -> None:
    said = f"{tmp_path}/new{end}"
    with (
        pytest.raises(DestinationUnwritable, match="there is no such folder: make it first") as no,
        destination(said, "report.bin"),
    ):
        pass
    assert no.value.message.startswith(f"{said} cannot be written")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DestinationUnwritable, match="it is no folder: name another"),
        destination(f"{tmp_path}/file/", "report.bin"),
    ):
        pass


@pytest.mark.parametrize("end", ["", "/", "/."])
def test_a_folder_gets_the_file_by_its_own_name(tmp_path: Path, end: str) -> None:
    with destination(f"{tmp_path}{end}", "report.bin") as found:
        assert found.path == tmp_path / "report.bin"


def test_a_name_without_a_slash_is_a_new_files(tmp_path: Path) -> None:
    with destination(f"{tmp_path}/new", "report.bin") as found:
        assert found.path == tmp_path / "new"


def _download(said: Path) -> None:
    with destination(said, "report.bin") as found, found.partial("owner") as partial:
        os.pwrite(partial.fd, b"abc", 0)
        partial.publish()


def _broken(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_folder_that_cannot_be_flushed_gets_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, fail = os.fsync, _broken(errno.EIO)
    monkeypatch.setattr(
        os, "fsync", lambda fd: (fail if stat.S_ISDIR(os.fstat(fd).st_mode) else flush)(fd)
    )
    with pytest.raises(DestinationUnwritable, match="Input/output error"):
        _download(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_that_cannot_go_leaves_the_name_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink, fail = os.unlink, _broken(errno.EACCES)

    def refuse(name: os.PathLike[str] | str, *, dir_fd: int | None = None) -> None:
        (fail if str(name).endswith(".part") else unlink)(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(DestinationUnwritable, match="Permission denied"):
        _download(tmp_path / "new")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", _broken(number))
    _download(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new").read_bytes() == b"abc"


def test_without_links_nothing_is_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", _broken(errno.EPERM))
    with destination(tmp_path / "new", "report.bin") as found, found.partial("owner") as partial:
        (tmp_path / "new").write_bytes(b"theirs")
        with pytest.raises(DestinationExists):
            partial.publish()
    assert (tmp_path / "new").read_bytes() == b"theirs"


def test_what_has_no_room_takes_none_from_others(tmp_path: Path) -> None:
    """Not even for the moment in which the file system finds out."""
    disk = os.statvfs(tmp_path)
    too_much = disk.f_bfree * disk.f_frsize + TIB
    with destination(tmp_path / "it", "it") as found, found.partial("me") as partial:
        with pytest.raises(OSError, match="No space left"):
            partial.reserve(too_much, Deadline().check)
        assert os.fstat(partial.fd).st_blocks == 0


def test_reserving_ends_when_the_call_does(tmp_path: Path) -> None:
    deadline, asked = Deadline(), []

    def check() -> None:
        asked.append(None)
        if len(asked) == 2:
            deadline.cancel()
        deadline.check()

    with destination(tmp_path / "it", "it") as found, found.partial("me") as partial:
        with pytest.raises(TransferCancelled):
            partial.reserve(200 * MIB, check)
        assert 0 < os.fstat(partial.fd).st_blocks * 512 < 100 * MIB
