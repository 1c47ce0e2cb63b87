"""The real command, as an agent and an operator run it, in processes of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from kombu import Connection

from argosy.mailbox import queue_of
from models import State, Transfer, pins
from tests.deployment import ARGOSY, Deployment, remote, until

pytestmark = pytest.mark.skipif(remote(), reason="its agents need the broker's own users")

MB = 1_000_000
ODD = "Bericht [red]\x1b[31m für März 日本.bin"
TIMEOUT = 240
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Shell:
    """Runs `argosy` with an environment and nothing else, in a folder of its own."""

    environment: dict[str, str]
    folder: Path

    @property
    def agent(self) -> str:
        """Whose it is."""
        return self.environment["ARGOSY_AGENT"]

    def __call__(
        self, *arguments: str, given: bytes = b"", **changes: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [ARGOSY, *arguments],
            env={**self.environment, **changes},
            cwd=self.folder,
            input=given,
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )

    def json(self, *arguments: str, code: int = 0, **options: Any) -> list[dict[str, Any]]:
        """What it prints with --json, which must end so."""
        done = self(*arguments, "--json", **options)
        assert done.returncode == code, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen[bytes]:
        """Begin, and do not wait."""
        return subprocess.Popen(
            [ARGOSY, *arguments],
            env={**self.environment, **changes},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def on_screen(self, *arguments: str, columns: int, **changes: str) -> tuple[int, str]:
        """The exit code, and all that a terminal of that width is sent."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        with subprocess.Popen(
            [ARGOSY, *arguments],
            env={**self.environment, "TERM": "xterm-256color", **changes},
            cwd=self.folder,
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        ) as process:
            os.close(its)
            seen = b"".join(_read_all(ours))
            return process.wait(TIMEOUT), seen.decode()


def _read_all(screen: int) -> Iterator[bytes]:
    while True:
        try:
            yield os.read(screen, 65536)
        except OSError:  # EIO: the other end is closed
            os.close(screen)
            return


def at_once(*calls: Any) -> list[Any]:
    """Do some things side by side: most of their time is a process's start."""
    with ThreadPoolExecutor(3) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def _shell(deployment: Deployment, folder: Path) -> Shell:
    assert deployment.stack
    name = f"cli-{uuid4().hex[:8]}"
    told = json.loads(deployment.run("agents", "add", name, "--json"))
    assert (told["name"], told["role"]) == (name, "worker")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        **deployment.stack.agent_environment,
        "ARGOSY_AGENT": name,
        "ARGOSY_AGENT_KEY": told["key"],
        "BROKER_URL": told["broker_url"],
    }
    return Shell(environment, folder)


@pytest.fixture(scope="module")
def shell(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An agent's shell."""
    return _shell(deployment, tmp_path_factory.mktemp("shell"))


@pytest.fixture(scope="module")
def other(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Another agent's."""
    return _shell(deployment, tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def operator(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The operator's, who is no agent."""
    base = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "ARGOSY_AGENT": "", "HOME": "/"}
    environment = {**base, **deployment.operator_environment}
    return Shell(environment, tmp_path_factory.mktemp("operator"))


def make(shell: Shell, name: str, size: int = 64) -> bytes:
    content = os.urandom(size)
    (shell.folder / name).write_bytes(content)
    return content


def error_in(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The one mistake that is told as JSON."""
    [line] = done.stderr.splitlines()
    found: dict[str, Any] = json.loads(line)["error"]
    return found


@pytest.fixture(scope="module")
def reference(shell: Shell) -> dict[str, Any]:
    """A stored file, with its reference in `reference.json`."""
    make(shell, "shared.bin")
    [told] = shell.json("upload", "shared.bin", "--metadata", "project=x y")
    (shell.folder / "reference.json").write_text(json.dumps(told))
    return told


def place(reference: dict[str, Any]) -> str:
    return f"{reference['bucket']}/{reference['path']}"


# Files


def test_several_files_of_which_one_is_not_there(shell: Shell) -> None:
    content = make(shell, ODD, 3 * MB)
    make(shell, "small.txt")
    done = shell("upload", ODD, "small.txt", "missing", "--json")
    assert done.returncode == 3
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["name"], one["size"]) for one in told] == [(ODD, 3 * MB), ("small.txt", 64)]
    mistake = error_in(done)
    assert (mistake["code"], mistake["about"]) == ("source_missing", "missing")
    assert b"\x1b" not in done.stdout + done.stderr

    (shell.folder / "odd.json").write_text(json.dumps(told[0]))
    (shell.folder / "out").mkdir()
    fetched = shell("download", "odd.json", "out")
    assert (fetched.returncode, fetched.stderr) == (0, b"")
    [file] = (shell.folder / "out").iterdir()
    assert file.read_bytes() == content
    assert b"\x1b" not in fetched.stdout
    assert "März 日本.bin" in fetched.stdout.decode()


def test_a_file_that_is_stored_compressed(shell: Shell, other: Shell) -> None:
    content = b"1,2,3,4\n" * 500_000
    (shell.folder / "table.csv").write_bytes(content)
    [told] = shell.json("upload", "table.csv", "--compress", "auto", "--share-with", other.agent)
    assert (told["encoding"], told["size"]) == ("zstd", len(content))
    (shell.folder / "facts.json").write_text(json.dumps({**told, **FACTS}))
    by_place, of_reference, [as_json], downloaded = at_once(
        lambda: shell("stat", place(told)),
        lambda: shell("stat", "facts.json"),
        lambda: shell.json("stat", "facts.json"),
        lambda: other("download", place(told), "-"),
    )
    assert downloaded.stdout == content
    lines = by_place.stdout.decode().splitlines()
    stored = told["stored"]["size"]
    assert f"size         4.0 MB ({len(content)} bytes)" in lines
    assert "encoding     zstd" in lines
    assert [line for line in lines if line.startswith("stored size") and f"{stored} byte" in line]
    assert not [line for line in lines if line.startswith(("facts", "thumbnail"))]
    more = [line for line in of_reference.stdout.decode().splitlines() if line not in lines]
    assert more == [
        "facts.kind   text",
        "facts.content_type text/csv",
        "facts.text.encoding utf-8",
        "facts.text.lines 500000",
        "facts.text.lines_estimated false",
        "thumbnail    made: image/webp, 128 x 64, 1.2 kB, a/b/derived/thumbnail-128",
        "compress     skipped: It is compressed by itself.",
    ]
    assert (as_json["encoding"], as_json["stored_size"]) == ("zstd", stored)
    assert as_json["facts"]["text"]["lines"] == 500_000
    assert [made["state"] for made in as_json["derivatives"]] == ["made", "skipped"]
    refused = shell("upload", "table.csv", "--process", "auto")
    assert (refused.returncode, b"add --later" in refused.stderr) == (2, True)
    absent = shell("ls", "--bucket", "nobucket")
    assert (absent.returncode, absent.stdout) == (0, b"")
    assert b"There is no bucket nobucket, or none of its files" in absent.stderr


FACTS: dict[str, Any] = {
    "facts": {
        "kind": "text",
        "content_type": "text/csv",
        "text": {"encoding": "utf-8", "lines": 500_000},
    },
    "derivatives": [
        {
            "kind": "thumbnail",
            "state": "made",
            "path": "a/b/derived/thumbnail-128",
            "content_type": "image/webp",
            "size": 1200,
            "width": 128,
            "height": 64,
        },
        {"kind": "compress", "state": "skipped", "reason": "It is compressed by itself."},
    ],
}


def test_what_is_known_of_a_file(shell: Shell, other: Shell, reference: dict[str, Any]) -> None:
    file = place(reference)
    listed, [stat], shared, url = at_once(
        lambda: shell("ls", f"{reference['bucket']}/{reference['owner']}", "--long"),
        lambda: shell.json("stat", file),
        lambda: shell("share", "reference.json", "--with", other.agent, "--for", "1h"),
        lambda: shell("url", file, "--for", "10m"),
    )
    [line] = [line for line in listed.stdout.decode().splitlines() if file in line]
    assert line.split()[:2] == ["64", "bytes"]
    assert (stat["sha256"], stat["metadata"]) == (reference["sha256"], {"project": "x y"})
    assert shared.stdout.decode().splitlines() == [file, f"  read:{other.agent}"]
    assert httpx.get(url.stdout.decode().strip(), timeout=20).status_code == 200
    assert "cannot be taken back" in url.stderr.decode()

    fetched, [unshared], [kept] = at_once(
        lambda: other("download", file, "-"),
        lambda: shell.json("unshare", file, "--with", "role:reader"),
        lambda: shell.json("persist", reference["id"]),
    )
    assert fetched.stdout == (shell.folder / "shared.bin").read_bytes()
    assert unshared["grants"] == [f"read:{other.agent}"]
    assert (kept["bucket"], kept["sha256"]) == ("persistent-data", reference["sha256"])

    deleted = shell("rm", place(kept), "agent-transfers/nobody/knows")
    assert deleted.stdout.decode() == f"deleted {place(kept)}\n"
    assert (deleted.returncode, deleted.stderr.count(b"\n")) == (3, 1)


def test_pipes(shell: Shell) -> None:
    content = os.urandom(6 * MB)
    [told] = shell.json("upload", "-", "--name", "piped", given=content)
    assert (told["name"], told["size"]) == ("piped", 6 * MB)
    done = shell("download", "-", "-", given=json.dumps(told).encode())
    assert (done.returncode, done.stdout == content, done.stderr) == (0, True, b"")


def test_a_message_with_a_file(shell: Shell, other: Shell) -> None:
    make(shell, "attached.bin")
    [sent] = shell.json("send", other.agent, "-", "--attach", "attached.bin", given=b'{"do": 1}')
    with Connection(other.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue(queue_of(other.agent), queue_opts={"no_declare": True})
        message = queue.get(timeout=20)
        message.ack()
    body = message.payload if isinstance(message.payload, dict) else json.loads(message.body)
    assert (body["id"], body["from"], body["body"]) == (sent["message"], shell.agent, {"do": 1})
    assert [file["name"] for file in body["attachments"]] == ["attached.bin"]


def test_bars_in_a_terminal(shell: Shell) -> None:
    for name in ("one.bin", "two.bin"):
        make(shell, name, 20 * MB)
    (code, wide), (narrow_code, narrow) = at_once(
        lambda: shell.on_screen("upload", "one.bin", ODD, columns=100),
        lambda: shell.on_screen("upload", "two.bin", columns=36, NO_COLOR="1"),
    )
    assert (code, narrow_code) == (0, 0)
    assert ANSI_COLOUR.search(wide)
    assert not ANSI_COLOUR.search(narrow)
    for bar in ("All ", "one.bin", "MB/s", r"[red]\x1b[31m"):
        assert bar in ANSI_COLOUR.sub("", wide), bar
    assert "%" in narrow
    assert "━" not in narrow  # no room for a bar
    assert len(re.findall(r"agent-transfers/\S+/\S+/.+?\.bin\r\n", wide)) == 2
    assert "\x1b[31m für" not in wide


def test_a_killed_upload_goes_on(shell: Shell, deployment: Deployment) -> None:
    make(shell, "long.bin", 90 * MB)
    in_parts = {
        "ARGOSY_CHUNK_THRESHOLD": "1",
        "ARGOSY_PART_SIZE": str(5 * 1024**2),
        "ARGOSY_PARALLEL": "1",
    }
    owner = deployment.query("SELECT id FROM argosy.agents WHERE name = :name", name=shell.agent)

    def stored() -> list[Any]:
        rows = deployment.query(
            "SELECT key, part_number, version FROM storage.s3_multipart_uploads_parts "
            "WHERE key LIKE :folder",
            folder=f"{owner[0].id}/%long.bin",
        )
        return rows if len(rows) >= 2 else []

    first = shell.start("upload", "long.bin", **in_parts)
    try:
        begun = until(stored, what="two stored parts")
    finally:
        first.kill()
        first.communicate()
    assert first.returncode == -signal.SIGKILL
    [told] = shell.json("upload", "long.bin", **in_parts)
    assert {row.key for row in begun} == {told["path"]}
    assert not stored()


# Transfers


@contextmanager
def waiting(deployment: Deployment, *, agent: str, **columns: Any) -> Iterator[str]:
    """A transfer that no message tells a worker of."""
    later = datetime.now(UTC) + timedelta(hours=1)
    [owner] = deployment.query("SELECT id FROM argosy.agents WHERE name = :name", name=agent)
    transfer_id = uuid4()
    common = {
        "id": transfer_id,
        "kind": "upload",
        "agent_id": owner.id,
        "request_sha256": "",
        "bucket": "agent-transfers",
        "object_name": f"{owner.id}/{transfer_id}/waiting.bin",
        "name": "waiting\x1b.bin",
        "content_type": "text/plain",
        "path": f"{deployment.spool}/not-there",
        "admitted_at": datetime.now(UTC),
        "republish_at": later,
    }
    deployment.transact(lambda session: session.add(Transfer(**{**common, **columns})))
    yield str(transfer_id)
    deployment.query(
        "UPDATE argosy.transfers SET state = 'failed', cleaned_at = now() "
        "WHERE id = :id RETURNING id",
        id=transfer_id,
    )


def test_the_fleet_uploads_and_tells(shell: Shell, deployment: Deployment, spool: Path) -> None:
    source = deployment.make_file(f"later-{uuid4().hex}.bin", 2 * MB)
    [later], waited, outside = at_once(
        lambda: shell.json("upload", str(source), "--later"),
        lambda: shell("upload", str(source), "--later", "--wait", "--name", "for people"),
        lambda: shell("upload", "/etc/hostname", "--later"),
    )
    assert (outside.returncode, outside.stdout) == (1, b"")
    assert b"is not inside the spool" in outside.stderr
    assert waited.returncode == 0
    assert re.fullmatch(r"agent-transfers/\S+/for people\n", waited.stdout.decode())
    watched, history, again = at_once(
        lambda: shell.json("status", later["transfer"], "--watch"),
        lambda: shell.json("history", "--limit", "20"),
        lambda: shell("cancel", str(uuid4()), "--json"),
    )
    assert (watched[-1]["state"], watched[-1]["bytes_done"]) == ("completed", 2 * MB)
    assert later["transfer"] in {one["id"] for one in history}
    assert (again.returncode, error_in(again)["code"]) == (3, "transfer_not_found")


def test_a_transfer_is_held_and_goes_on(shell: Shell, deployment: Deployment) -> None:
    with (
        waiting(deployment, agent=shell.agent) as held,
        waiting(deployment, agent=shell.agent) as ended,
    ):
        paused, [cancelled] = at_once(
            lambda: shell("pause", held), lambda: shell.json("cancel", ended)
        )
        assert paused.stdout.decode() == f"{held}  paused  waiting\\x1b.bin\n"
        assert cancelled["error"]["code"] == "transfer_cancelled"
        unknown, told, [looked_at] = at_once(
            lambda: shell("status", str(uuid4())),
            lambda: shell("status", held),
            lambda: shell.json("watch", "--once"),
        )
        assert (unknown.returncode, unknown.stdout) == (3, b"")
        assert f"paused by {shell.agent} since" in told.stdout.decode()
        assert b"\x1b" not in told.stdout
        assert (looked_at["id"], looked_at["state"]) == (held, "paused")
        [resumed] = shell.json("resume", held)
        assert resumed["state"] == "queued"


def test_the_operator_watches(shell: Shell, operator: Shell, deployment: Deployment) -> None:
    with waiting(deployment, agent=shell.agent) as held:
        [status], history = at_once(
            lambda: operator.json("status", held),
            lambda: operator("history", "--all", "--limit", "10"),
        )
        assert (status["agent"], status["state"]) == (shell.agent, "queued")
        assert "it has its turn" in " ".join(status["waits"])
        assert f"\n{held}  " in history.stdout.decode()

        watching = operator.start("watch", "--interval", "0.2")
        assert watching.stdout
        try:
            first = next(line for line in watching.stdout if held.encode() in line)
            deployment.query(
                "UPDATE argosy.transfers SET state = 'cancelled' WHERE id = :id RETURNING id",
                id=UUID(held),
            )
            last = next(line for line in watching.stdout if held.encode() in line)
            watching.send_signal(signal.SIGINT)
            said = watching.communicate(timeout=30)[1]
        finally:
            watching.kill()
        assert (b"queued" in first, b"cancelled" in last) == (True, True)
        assert (watching.returncode, said) == (130, b"Interrupted.\n")


# What an operator asks


def test_what_a_sweep_would_remove(shell: Shell, operator: Shell, deployment: Deployment) -> None:
    over = {"state": "completed", "size": 5 * MB, "expires_at": datetime.now(UTC)}
    with (
        waiting(deployment, agent=shell.agent, **over) as gone,
        waiting(deployment, agent=shell.agent, **over) as pinned,
        waiting(deployment, agent=shell.agent, state="completed") as kept,
    ):
        row = deployment.transfer(pinned)
        deployment.transact(
            lambda session: pins.pin(
                session, uuid4(), [(row.bucket, row.object_name)], agent_id=row.agent_id
            )
        )
        swept, [made] = at_once(
            lambda: operator.json("sweep", "--dry-run"),
            lambda: operator.json("bootstrap", "--dry-run"),
        )
        told = {one["transfer"]: one for one in swept}
        assert made.keys() == {"changed", "dry_run"}
        assert deployment.transfer(gone).state == State.COMPLETED
    assert {told[gone]["act"], told[pinned]["act"]} == {"remove", "keep"}
    assert told[gone]["size"] == 5 * MB
    assert kept not in told
    deployment.query("DELETE FROM argosy.pins WHERE path = :p RETURNING id", p=row.object_name)


# Mistakes


def test_mistakes_of_settings(shell: Shell) -> None:
    """A sentence each, in time, and no traceback."""
    wrong_key, nobody_there, no_url = at_once(
        lambda: shell("ls", ARGOSY_AGENT_KEY="wrong"),
        lambda: shell("ls", "--json", SUPABASE_URL="http://127.0.0.1:9"),
        lambda: shell("ls", SUPABASE_URL="nonsense"),
    )
    assert (wrong_key.returncode, b"ARGOSY_AGENT_KEY" in wrong_key.stderr) == (3, True)
    assert (nobody_there.returncode, error_in(nobody_there)["code"]) == (75, "storage_unavailable")
    assert error_in(nobody_there)["retryable"] is True
    assert (no_url.returncode, b"SUPABASE_URL" in no_url.stderr) == (2, True)
    for done in (wrong_key, nobody_there, no_url):
        assert b"Traceback" not in done.stderr
        assert done.stdout == b""
