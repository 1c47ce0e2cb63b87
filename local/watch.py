"""Noticing that a server ended by itself, and starting it again."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from local.servers import Server, ServerFailed

_RESTARTS = 5
_WITHIN = 60.0  # seconds


class Watch:
    """Looks after servers that should be running."""

    def __init__(self, servers: Callable[[], Iterable[Server]], report: Callable[[str], None]):
        """`servers` are asked for anew at each look; `report` gets a sentence, then a log."""
        self._servers = servers
        self._report = report
        self._restarts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_RESTARTS))
        self._given_up: set[str] = set()

    def look(self) -> None:
        """Report whatever has ended since the last look, and start it again."""
        for server in self._servers():
            if server.pid is None or server.name in self._given_up or server.is_running():
                continue
            self._report(
                f"{server.name} (pid {server.pid}) ended by itself; "
                f"the end of {server.log_path}:\n{server.tail()}"
            )
            self._revive(server)

    def _revive(self, server: Server) -> None:
        restarts, now = self._restarts[server.name], time.monotonic()
        if len(restarts) == _RESTARTS and now - restarts[0] < _WITHIN:
            self._given_up.add(server.name)
            self._report(f"{server.name} ends again and again: it is left alone")
            return
        restarts.append(now)
        try:
            server.start()
        except ServerFailed as error:
            self._report(str(error))
        else:
            self._report(f"{server.name} runs again (pid {server.pid})")
