"""`python -m local up`: what it shows, what it hides, and that it leaves no process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import psutil

from local.processes import wait_until

from .looking import all_gone, nothing_runs_in, of_each, running_in

ROOT = Path(__file__).parents[3]

BUILT = bool(find_spec("worker.cli") and find_spec("local.supabase.__main__"))

WITH_FAKES = """
import sys
from local.__main__ import main
from local.ports import HOST
from local.servers import fleet
from local.servers.base import Launch
from local.servers.supabase import Supabase

def prepare(self):
    (self.data / "health").write_text("well")
    command = [sys.executable, "-m", "http.server", str(self.port), "--bind", HOST]
    return Launch(command, {}, self.data)

fleet.ARGOSY = sys.argv.pop(1)
Supabase._prepare = prepare
main()
"""


@contextmanager
def up(data: Path, fake: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    how = ["-m", "local"] if BUILT else ["-c", WITH_FAKES, str(fake)]
    command = [sys.executable, *how, "up", "--data", str(data), *options]
    with (data.parent / "said").open("wb") as said:
        child = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def said(data: Path) -> str:
    return (data.parent / "said").read_text()


def wait_for(words: str, data: Path, child: subprocess.Popen[bytes]) -> None:
    assert wait_until(lambda: words in said(data) or child.poll() is not None, seconds=180)
    assert words in said(data), said(data)


def test_up_until_interrupted(tmp_path: Path, fake_fleet: Path) -> None:
    data = tmp_path / "data"
    with up(data, fake_fleet, "--workers", "1", "--concurrency", "1") as child:
        wait_for("Ctrl-C ends it all", data, child)
        everything = [p for p in running_in(data) if p.pid != child.pid]
        names = set(of_each(everything, psutil.Process.name))
        assert {"beam.smp", "epmd", "postgres", "valkey-server"} <= names

        worker = next(p for p in psutil.process_iter() if _is_worker(p, data))
        worker.kill()
        wait_for("worker1 runs again", data, child)
        assert f"worker1 (pid {worker.pid}) ended by itself" in said(data)

        everything = [p for p in running_in(data) if p.pid != child.pid]
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 0, said(data)
    assert all_gone(everything)
    assert nothing_runs_in(data)
    _shows_no_secret(data)


def _is_worker(process: psutil.Process, data: Path) -> bool:
    note = (data / "run" / "worker1.json").read_text()
    return f'"pid": {process.pid},' in note


def _shows_no_secret(data: Path) -> None:
    secrets = json.loads((data / "secrets.json").read_text())
    assert "\x1b" not in said(data)
    for name, secret in secrets.items():
        assert secret not in said(data), name
    for_agents = data / "agent.env"
    assert str(for_agents) in said(data)
    for file in (for_agents, data / "operator.env"):
        assert file.stat().st_mode & 0o777 == 0o600
    exported = _sourced(for_agents)
    needed = {"SUPABASE_URL", "SUPABASE_ANON_KEY", "RESULT_URL", "ARGOSY_SPOOL"}
    assert needed <= exported.keys()
    assert not {"SUPABASE_SERVICE_ROLE_KEY", "DATABASE_URL", "BROKER_URL"} & exported.keys()
    assert "`argosy agents add NAME` prints the rest" in for_agents.read_text()
    assert exported["RESULT_URL"].startswith(f"redis://agents:{secrets['valkey_agents']}@")
    for name in secrets.keys() - {"valkey_agents", "project_ref"}:
        assert secrets[name] not in for_agents.read_text(), name
    everything = _sourced(data / "operator.env")
    assert everything["SUPABASE_SERVICE_ROLE_KEY"] not in said(data) + for_agents.read_text()


def _sourced(file: Path) -> dict[str, str]:
    script = ["/bin/sh", "-c", '. "$0"; /usr/bin/env -0', file]
    output = subprocess.run(script, env={}, capture_output=True, check=True).stdout
    return dict(line.split("=", 1) for line in output.decode().split("\0") if line)


def test_a_second_signal_kills_at_once(tmp_path: Path, fake_fleet: Path) -> None:
    data = tmp_path / "data"
    with up(data, fake_fleet, "--workers", "0", "--no-flower") as child:
        assert wait_until((data / "run" / "rabbitmq.json").exists, seconds=60)
        everything = [p for p in running_in(data) if p.pid != child.pid]
        child.send_signal(signal.SIGTERM)  # while it starts
        wait_for("once more to kill it at once", data, child)
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 128 + signal.SIGTERM
    assert all_gone(everything)
    assert nothing_runs_in(data)
