"""An agent's process with eight threads that all want the access token at the same moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, threading
from argosy import auth
from argosy.settings import AgentSettings

settings = AgentSettings()
key = settings.agent_key.get_secret_value()
sign_in = auth.SignIn(settings, settings.agent, key, auth._session_file(settings, settings.agent))
together, got = threading.Barrier(8), []

def one():
    together.wait()
    got.append(sign_in.token())

print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=one) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*got, flush=True)
"""

_KILL = "import os, signal; from argosy import session_file\n"
KILLED_BEFORE_IT_WRITES = f"""{_KILL}
session_file.SessionFile.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_WHILE_IT_WRITES = f"""{_KILL}
session_file.os.rename = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
"""


class AgentProcess:
    """A process that waits for `go`."""

    def __init__(
        self,
        url: str,
        agent: str,
        key: str,
        folder: Path,
        *,
        anon_key: str = "anon",
        first: str = "",
    ) -> None:
        own = {
            "SUPABASE_URL": url,
            "SUPABASE_ANON_KEY": anon_key,
            "BROKER_URL": "amqp://localhost",
            "RESULT_URL": "redis://localhost",
            "ARGOSY_AGENT": agent,
            "ARGOSY_AGENT_KEY": key,
            "ARGOSY_SESSION_DIR": str(folder),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", first + PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **own},
            cwd=Path(__file__).parents[1],
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def go(self) -> None:
        """Let all threads ask."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def tokens(self) -> set[str]:
        """What they were given, once all have been."""
        output, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0
        return set(output.split())

    def is_killed(self) -> bool:
        """Whether it was killed, as it was told to."""
        self._process.communicate(timeout=60)
        return self._process.returncode == -signal.SIGKILL

    def kill(self) -> None:
        """Kill it where it stands."""
        self._process.kill()
        self._process.communicate()
