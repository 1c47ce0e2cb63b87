"""Signs of life: what `argosy health` makes of the files that a worker writes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from argosy.settings import FleetSettings
from worker import signs
from worker.child import Pulse
from worker.probes import health

AT_MOST = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return signs.folder_of(tmp_path, "argosy@host")


def _shown(folder: Path, name: str, ago: float = 0) -> signs.Sign:
    return signs.Sign(folder, name, clock=lambda: time.monotonic() - ago)


def _dead_pid() -> int:
    return int(subprocess.check_output([sys.executable, "-c", "import os; print(os.getpid())"]))


def test_a_worker_that_lives(folder: Path) -> None:
    _shown(folder, signs.MAIN)
    _shown(folder, "child-1", ago=AT_MOST + 1)
    _shown(folder, "child-2", ago=AT_MOST / 2)
    assert signs.why_unwell(folder, AT_MOST) is None


def test_no_worker(folder: Path) -> None:
    assert "there is no worker" in str(signs.why_unwell(folder, AT_MOST))
    _shown(folder, "child-1")
    assert "there is no worker" in str(signs.why_unwell(folder, AT_MOST))


def test_a_main_process_that_stands_still(folder: Path) -> None:
    _shown(folder, signs.MAIN, ago=AT_MOST + 5)
    _shown(folder, "child-1")
    told = f"its main process {os.getpid()} has shown no life for 65 s"
    assert signs.why_unwell(folder, AT_MOST) == told


def test_a_main_process_that_has_ended(folder: Path) -> None:
    """A killed one leaves its file."""
    _shown(folder, signs.MAIN)
    (folder / signs.MAIN).write_text(f"{time.monotonic():020.3f} {_dead_pid():010}\n")
    assert "has ended" in str(signs.why_unwell(folder, AT_MOST))


def test_a_machine_that_has_started_anew(folder: Path) -> None:
    """The clock began at zero again: the sign is from long ago, not from the future."""
    _shown(folder, signs.MAIN, ago=-1_000_000)
    _shown(folder, "child-1")
    assert "started anew" in str(signs.why_unwell(folder, AT_MOST))


def test_a_sign_of_just_now(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not rounded into the future, where a machine that has started anew has its signs."""
    now = 1000.0006
    monkeypatch.setattr(signs.time, "monotonic", lambda: now)
    for name in (signs.MAIN, "child-1"):
        signs.Sign(folder, name, clock=lambda: now)
    assert signs.why_unwell(folder, AT_MOST) is None


def test_children_that_all_stand_still(folder: Path) -> None:
    _shown(folder, signs.MAIN)
    for number in (1, 2):
        _shown(folder, f"child-{number}", ago=AT_MOST + 10 * number)
    assert signs.why_unwell(folder, AT_MOST) == "none of its 2 processes has shown life for 70 s"


def test_dead_children_count_for_nothing(folder: Path) -> None:
    _shown(folder, signs.MAIN)
    _shown(folder, "child-1")
    (folder / "child-1").write_text(f"{time.monotonic():020.3f} {_dead_pid():010}\n")
    assert signs.why_unwell(folder, AT_MOST) == "it has no process that works"
    signs.drop_dead(folder)
    assert [one.name for one in signs.read(folder)] == [signs.MAIN]


def test_a_file_that_is_no_sign(folder: Path) -> None:
    _shown(folder, signs.MAIN)
    (folder / "child-1").write_text("half of")
    assert [one.name for one in signs.read(folder)] == [signs.MAIN]


def test_a_name_stays_in_its_folder(tmp_path: Path) -> None:
    assert signs.folder_of(tmp_path, "../../etc@host").parent == tmp_path / "workers"


def test_a_task_that_is_stuck(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse(_shown(folder, "child-1"))
    assert not pulse.is_stuck()
    pulse.begin_task(task_id="some")
    assert not pulse.is_stuck()
    monkeypatch.setattr(signs, "LONGEST_TASK_SECONDS", -1)
    assert pulse.is_stuck()
    pulse.end_task(task_id="some")
    assert not pulse.is_stuck()


def test_the_folder_is_where_the_settings_say() -> None:
    """The probe reads the variable itself: the settings cost ten times what it does."""
    [option] = [one for one in health.params if one.name == "state_dir"]
    assert option.default == FleetSettings.model_fields["state_dir"].default
