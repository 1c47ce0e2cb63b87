"""What an agent that knows the spool refuses to have uploaded, before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy import Client
from argosy.errors import SourceOutsideSpool
from argosy.spooled import check_spooled
from tests.unit.auth_server import agent_settings


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["../report.bin", "../spool2/x", "a/../../x", "/etc/hostname"])
def test_what_is_elsewhere(spool: Path, name: str) -> None:
    with pytest.raises(SourceOutsideSpool, match=rf"is not inside the spool \({spool}\): put the"):
        check_spooled(spool / name, [spool])


def test_the_folder_itself(spool: Path) -> None:
    with pytest.raises(SourceOutsideSpool, match="is the spool folder itself: name a file in it"):
        check_spooled(spool, [spool])


def test_what_the_fleet_may_have(spool: Path, tmp_path: Path) -> None:
    check_spooled(spool / "missing.bin", [spool])
    check_spooled(Path("/anywhere"), [])
    check_spooled(Path("/spool/b/x"), [spool], ["/spool/b"])
    (tmp_path / "link").symlink_to(spool)
    check_spooled(tmp_path / "link" / "x", [spool])


def test_the_client_sends_nothing(spool: Path) -> None:
    client = Client.__new__(Client)  # that it reaches no fleet shows that nothing is sent
    client.settings = agent_settings("http://localhost:1", spool=str(spool))
    with pytest.raises(SourceOutsideSpool):
        client.upload_later(spool.parent / "report.bin")
    with pytest.raises(SourceOutsideSpool):
        client.upload_many_later([spool / "good.bin", spool.parent / "report.bin"])
