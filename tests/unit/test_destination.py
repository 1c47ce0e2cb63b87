"""Where a download goes, by what was said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from argosy.deadline import Deadline
from argosy.direct.destination import destination
from argosy.errors import DestinationUnwritable, TransferCancelled

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
