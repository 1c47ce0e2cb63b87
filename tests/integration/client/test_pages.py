"""Every code block of the pages for agents' developers, run as a reader would run it.

Python blocks of a page run one after the other in one process of the agent `forecast`; one
that begins with `# name.py` is a program, and is put into the folder. Shell blocks run in
that folder. A comment above a block says what is different: `<!-- operator -->`, `<!-- as:
NAME -->` (another agent, in the background), `<!-- in the background -->`, `<!-- not run:
why -->`. A text block holds lines that what was just started prints.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from tests.deployment import Deployment, until
from tests.integration.client.agents import add_agent, end, process_environment

ROOT = Path(__file__).parents[3]
PAGES = (
    "README.md",
    "docs/start.md",
    "docs/guide/files.md",
    "docs/guide/streams.md",
    "docs/guide/background.md",
    "docs/guide/turns.md",
    "docs/guide/processing.md",
    "docs/guide/retention.md",
    "docs/guide/messages.md",
    "docs/guide/celery-agent.md",
    "docs/guide/asyncio.md",
    "docs/guide/failures.md",
    "docs/operations/install.md",
    "docs/operations/flower.md",
    "docs/operations/history.md",
    "docs/operations/keys.md",
)
AGENTS = ("forecast", "printer", "agent-b")
_BLOCK = re.compile(r"(?:<!-- (?P<how>[^\n]*?) -->\n)?```(?P<kind>\w+)\n(?P<text>.*?)```\n", re.S)
_PROGRAM = re.compile(r"# ([\w]+\.py)\n")
READER = """
import json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    try:
        exec(compile(json.loads(line), "block", "exec"), names)
    except BaseException:
        traceback.print_exc()
        print("FAILED", flush=True)
    else:
        print("PASSED", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    kind: str
    how: str
    text: str


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text()
    return [
        Block(found["kind"], found["how"] or "", found["text"]) for found in _BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def agents(deployment: Deployment) -> dict[str, dict[str, str]]:
    """The agents that the pages speak of."""
    return {name: add_agent(deployment, name) for name in AGENTS}


class Reader:
    """Somebody who does what a page says."""

    def __init__(
        self, deployment: Deployment, agents: Mapping[str, dict[str, str]], folder: Path
    ) -> None:
        self._deployment = deployment
        self._agents = agents
        self._folder = folder
        self._last: Path | None = None
        self._stack = ExitStack()
        self._python: subprocess.Popen[str] | None = None
        for number, where in enumerate((folder, deployment.spool)):
            (where / "report.bin").write_bytes(os.urandom(5000 + number))
            (where / "film.mkv").write_bytes(os.urandom(3_000_000))
            Image.effect_mandelbrot((900, 600), (-2, -1, 1, 1), 50).save(where / "photo.jpg")
            (where / "server.log").write_text(f"GET /index.html {number} 200\n" * 20_000)
        (folder / "downloads").mkdir()
        (deployment.spool / "readings").mkdir()
        for number in range(3):
            (deployment.spool / "readings" / f"{number}.csv").write_text(f"{number},20.5\n")

    def close(self) -> None:
        self._stack.close()

    def run(self, block: Block) -> None:
        if block.how.startswith("not run: "):
            return
        text = block.text.replace("/spool/", f"{self._deployment.spool}/")
        if block.kind == "python":
            self._run_python(text)
        elif block.kind == "sh":
            self._run_shell(text, block.how)
        elif block.kind == "sql":
            self._run_sql(text)
        elif block.kind == "text":
            self._expect(text)
        else:
            raise AssertionError(f"nothing runs a block of {block.kind}")

    def _run_python(self, text: str) -> None:
        if program := _PROGRAM.match(text):
            (self._folder / program[1]).write_text(text)
            return
        python = self._python = self._python or self._start([sys.executable, "-c", READER])
        assert python.stdin
        before = self._said().count("PASSED")
        python.stdin.write(json.dumps(text) + "\n")
        python.stdin.flush()
        until(lambda: self._said().count("PASSED") > before or "FAILED" in self._said(), 90)
        assert "FAILED" not in self._said(), self._said()

    def _said(self) -> str:
        return (self._folder / "python.log").read_text()

    def _run_shell(self, text: str, how: str) -> None:
        name = how.removeprefix("as: ") if how.startswith("as: ") else "forecast"
        if how == "in the background" or how.startswith("as: "):
            self._last = self._folder / f"{name}.log"
            self._start(["bash", "-ec", f"exec {text}"], name, self._last)
            return
        environment = self._deployment.operator_environment if how == "operator" else None
        if how == "operator":
            text = re.sub(r"agents add \w+", "agents list", text)  # they are there already
        done = subprocess.run(
            ["bash", "-ec", text],
            cwd=self._folder,
            env=self._environment(name, environment),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

    def _run_sql(self, text: str) -> None:
        """As the operator; nothing stays."""
        with psycopg.connect(self._deployment.settings.operator_url) as connection:
            connection.execute(text.encode())
            connection.rollback()

    def _expect(self, text: str) -> None:
        log = self._last
        assert log, "nothing was started"
        for line in text.splitlines():
            until(lambda line=line: line in log.read_text(), 60, what=f"{line!r} in {log.name}")

    def _start(
        self, command: list[str], name: str = "forecast", log: Path | None = None
    ) -> subprocess.Popen[str]:
        out = self._stack.enter_context((log or self._folder / "python.log").open("w"))
        started = subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment(name),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            text=True,
        )
        self._stack.callback(end, started)
        return started

    def _environment(self, name: str, whole: Mapping[str, str] | None = None) -> dict[str, str]:
        return process_environment(dict(whole or self._agents[name]), self._folder)


@pytest.fixture
def reader(
    deployment: Deployment, agents: dict[str, dict[str, str]], spool: Path, tmp_path: Path
) -> Iterator[Reader]:
    made = Reader(deployment, agents, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, reader: Reader) -> None:
    blocks = blocks_of(page)
    assert len(blocks) == (ROOT / page).read_text().count("```") // 2
    for block in blocks:
        reader.run(block)
