"""Where a download goes, by what was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy.direct.destination import destination
from argosy.errors import DestinationUnwritable


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
