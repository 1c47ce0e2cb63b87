"""`make demo`: the main job, as a newcomer first sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from local.demo import command as demo_command
from local.processes import wait_until
from tests.integration.stack.looking import running_in

ROOT = Path(__file__).parents[2]
BROKERS = ["rabbitmq", "valkey"]


def demo(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end, both outputs as one."""
    command = [sys.executable, "-m", "local", "demo", *map(str, options)]
    return subprocess.run(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        check=False,
    )


def last_line(output: str) -> str:
    return output.rstrip("\n").rpartition("\n")[2]


@pytest.mark.parametrize("broker", BROKERS)
def test_files_go_up_and_come_back(tmp_path: Path, broker: str) -> None:
    done = demo("--data", tmp_path / "data", "--size-mib", "8", "--broker", broker)
    assert done.returncode == 0, done.stdout
    for name in ("cargo.bin", "argosy.jpg", "bill of lading.txt"):
        assert f"up  {name}: done" in done.stdout
        assert f"down  {name}: done" in done.stdout
    assert "MB/s up" in done.stdout
    assert "8.4 MB" in done.stdout
    assert last_line(done.stdout).startswith("Flower  http://")
    assert not running_in(tmp_path / "data")
    assert not list((tmp_path / "data" / "spool").iterdir())


def test_a_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "Liste für März [1].txt"
    file.write_text("one line\n")
    done = demo("--data", tmp_path / "data", "--file", file, "--broker", "valkey")
    assert done.returncode == 0, done.stdout
    assert "Liste für März [1].txt: done" in done.stdout
    assert "cargo.bin" not in done.stdout
    assert file.read_text() == "one line\n"
    assert not running_in(tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "does not exist"), ("folder", "is not a regular file"), ("pipe", "is not a reg")],
)
def test_a_file_that_cannot_be_sent(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    done = demo("--file", tmp_path / name)
    assert done.returncode == 1
    assert last_line(done.stdout).startswith(f"The demo failed: FILE {tmp_path / name} {reason}")


def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "valkey").write_text("in the way")
    done = demo("--data", data, "--broker", "valkey")
    assert done.returncode == 1
    assert last_line(done.stdout).startswith("The demo failed: ")
    assert not running_in(data)


def test_a_transfer_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_BUCKET_SIZE_LIMIT", "1000000")
    done = demo("--data", tmp_path / "data", "--size-mib", "8", "--broker", "valkey")
    assert done.returncode == 1
    assert last_line(done.stdout).startswith("The demo failed: The upload of cargo.bin failed: ")
    assert last_line(done.stdout).endswith("[object_too_large]")
    assert not running_in(tmp_path / "data")


def test_make_demo_ends_with_the_reason(tmp_path: Path) -> None:
    command = ["make", "demo", f"FILE={tmp_path / 'missing'}", "-o", ".venv/installed"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"The demo failed: FILE {tmp_path / 'missing'} does not exist" in last_line(done.stdout)


def test_ended_in_the_middle_it_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local", "demo", "--data", str(tmp_path / "data")]
    child = subprocess.Popen([*command, "--broker", "valkey"], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        assert wait_until((tmp_path / "data" / "run" / "worker1.json").exists, seconds=60)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 128 + signal.SIGTERM
    finally:
        child.kill()
        child.wait()
    assert not running_in(tmp_path / "data")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # this is it
def test_a_signal_is_not_lost_where_python_ignores_what_its_handler_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in the callback of a weak reference, of which the import of a module has some."""
    monkeypatch.setattr(demo_command, "_asked_to_end", [])
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    demo_command._heed_termination()
    try:
        watched = weakref.ref(Watched(), lambda _: signal.raise_signal(signal.SIGTERM))
        assert watched() is None
        with pytest.raises(SystemExit) as caught:
            demo_command._end_if_asked()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert caught.value.code == 128 + signal.SIGTERM


class Watched:
    """Gone as soon as it is made."""
