"""What a caller may give; what would be misread is refused before anything is asked."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from argosy import Client, UploadOptions
from argosy.direct.source import opened
from argosy.errors import InvalidRequest, SourceMissing, SourceNotAFile

A_LIST = r'Argument share_with: give a list of names: \["printer"\]\.'


@pytest.mark.parametrize("verb", [Client.share, Client.unshare])
def test_one_name_is_no_list_of_its_letters(verb: object) -> None:
    nobody = Client.__new__(Client)  # that it has no session shows that nothing is asked
    with pytest.raises(InvalidRequest, match=A_LIST):
        verb(nobody, "bucket/path", "printer")  # type: ignore[operator]


def test_one_name_is_no_list_in_the_options() -> None:
    with pytest.raises(InvalidRequest, match=A_LIST):
        UploadOptions(share_with="printer")  # type: ignore[arg-type]
    assert UploadOptions(share_with=("printer",)).share_with == ("printer",)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "it"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
    with pytest.raises(SourceNotAFile) as caught, opened(path):
        pass
    assert caught.value.message.startswith(f"{path}: it is a {kind}: ")
    streamed = "argosy upload - --name NAME" in caught.value.message
    assert streamed is (kind in ("pipe", "device"))


def test_a_path_that_is_empty_is_named() -> None:
    with pytest.raises(SourceMissing, match="'': there is no such file"), opened(""):
        pass
