"""Whatever a stack has started ends with it, however it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from local.processes import Process
from local.stack import Stack

from .looking import all_gone, born, everything_of, nothing_runs_in, of_each, running_in

ROOT = Path(__file__).parents[3]

STACK_THAT_WAITS = """
import json, sys
from pathlib import Path
from local.servers import fleet
from local.stack import Stack
data, fleet.ARGOSY = Path(sys.argv[1]), sys.argv[2]
stack = Stack(data, broker="rabbitmq")
stack.start_backends()
stack.start_worker("w1")
print("ready", flush=True)
sys.stdin.read()
"""


def test_stop_and_two_at_once(stack: Stack, tmp_path: Path, fake_fleet: Path) -> None:
    with Stack(tmp_path / "data", broker="rabbitmq") as other:
        other.start_backends()
        other.start_worker("w1")
        assert other.secrets != stack.secrets
        ours, theirs = ({s.port for s in each.servers if s.port} for each in (stack, other))
        assert not ours & theirs
        with psycopg.connect(other.postgres.url) as connection:
            assert connection.execute("SELECT to_regclass('cargo')").fetchone() == (None,)
        everything = everything_of(other)
        assert len(everything) > 10
    assert all_gone(everything)
    assert nothing_runs_in(other.data)
    assert all(server.is_running() for server in (stack.postgres, stack.valkey, stack.rabbitmq))


def test_the_stacks_own_process_is_killed(tmp_path: Path, fake_fleet: Path) -> None:
    command = [sys.executable, "-c", STACK_THAT_WAITS, tmp_path / "data", fake_fleet]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout.readline() == "ready\n"
        left = [p for p in running_in(tmp_path / "data") if p.pid != owner.pid]
        assert {"postgres", "valkey-server", "beam.smp", "epmd"} <= set(
            of_each(left, psutil.Process.name)
        )
        owner.kill()
    assert all_gone(left), [p for p in left if p.is_running()]
    assert nothing_runs_in(tmp_path / "data")


def test_kill_ends_everything(small_stack: Stack, fake_fleet: Path) -> None:
    small_stack.start_backends()
    small_stack.start_worker("w1", concurrency=3)
    everything = everything_of(small_stack)
    small_stack.kill()
    assert all_gone(everything)
    assert nothing_runs_in(small_stack.data)


def test_a_leftover_is_ended_by_the_next_start(tmp_path: Path) -> None:
    """Where there is no parent-death signal (macOS), the note in the folder has to do."""
    left = subprocess.Popen(["sleep", "60"])
    (tmp_path / "run").mkdir()
    [(pid, birth)] = born([psutil.Process(left.pid)])
    (tmp_path / "run" / "nap.json").write_text(json.dumps({"pid": pid, "born": birth}))
    process = Process("nap", tmp_path)
    process.spawn(["sleep", "60"], environment={"PATH": "/bin:/usr/bin"}, folder=tmp_path)
    assert left.wait(20) == -9
    assert process.is_running()
    process.stop()
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("birth", [0.0, 1e12])
def test_a_pid_that_is_anothers_by_now_is_let_alone(tmp_path: Path, birth: float) -> None:
    other = subprocess.Popen(["sleep", "60"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "nap.json").write_text(json.dumps({"pid": other.pid, "born": birth}))
    process = Process("nap", tmp_path)
    process.spawn(["sleep", "60"], environment={"PATH": "/bin:/usr/bin"}, folder=tmp_path)
    process.kill()
    assert other.poll() is None
    other.kill()
    other.wait()
