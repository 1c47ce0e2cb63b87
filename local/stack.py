"""One machine standing in for the whole deployment.

    with Stack(Path(".argosy")) as stack:
        stack.start_servers()
        stack.migrate()
        stack.start_worker("w1")
        os.environ.update(stack.environment)

Every server listens on the loopback, on a free port; everything it writes is in the one data
folder; it ends with the stack, however the stack ends.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from local import secrets_file
from local.folder_lock import FolderLock
from local.ports import HOST
from local.servers import Server, fleet
from local.servers.broker import choose
from local.servers.postgres import Postgres
from local.servers.rabbitmq import RabbitMQ
from local.servers.supabase import Supabase
from local.servers.valkey import Valkey
from local.together import together

Broker = Literal["rabbitmq", "valkey", "auto"]

_AUTH_HOOKS = {
    "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED": "true",
    "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI": "pg-functions://postgres/argosy/token_issued",
    "GOTRUE_HOOK_PASSWORD_VERIFICATION_ATTEMPT_ENABLED": "true",
    "GOTRUE_HOOK_PASSWORD_VERIFICATION_ATTEMPT_URI": (
        "pg-functions://postgres/argosy/password_attempted"
    ),
}
"""By them Auth tells the audit who signs in: see deploy/supabase."""

_log = logging.getLogger(__name__)


class Stack:
    """All servers of one data folder. Not for two threads at once."""

    def __init__(
        self,
        data: Path,
        *,
        broker: Broker = "auto",
        spool: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are environment variables for the whole fleet, over our own."""
        self.data = data.resolve()
        self.data.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._lock = FolderLock(self.data / "lock")
        self.secrets = secrets_file.load(self.data / "secrets.json")
        self.spool = (spool or self.data / "spool").resolve()
        self.spool.mkdir(parents=True, exist_ok=True)
        self._settings = dict(settings or {})
        self._make_servers(broker)
        self._fleet: list[Server] = []
        atexit.register(self._end_at_exit)

    def _make_servers(self, kind: Broker) -> None:
        self.postgres = Postgres(self.data, self.secrets.postgres)
        self.valkey = Valkey(self.data, self.secrets.valkey, self.secrets.valkey_agents)
        self.rabbitmq = choose(kind, self.data, self.secrets)
        self.supabase = Supabase(self.data, self._environment_of_supabase)
        if self.rabbitmq is None and kind == "auto":
            _log.warning("no RabbitMQ on this machine: Valkey is the broker")

    # Starting

    def start_servers(self) -> None:
        """PostgreSQL, Valkey and RabbitMQ at once, then Supabase."""
        self.start_backends()
        self.supabase.start()

    def start_backends(self) -> None:
        """PostgreSQL, Valkey and RabbitMQ at once."""
        self._lock.take()
        together([server.start for server in self._backends], otherwise=self.stop)

    def migrate(self) -> str:
        """Bring the database to the newest schema; returns what the command said."""
        return fleet.run("migrate", self.operator_environment, self.data)

    def bootstrap(self) -> str:
        """Make the project ready: schema, policies, roles, buckets."""
        return fleet.run("bootstrap", self.operator_environment, self.data)

    def start_worker(
        self, name: str, concurrency: int = 2, *options: str, **environment: str
    ) -> Server:
        """Start one more `argosy worker`, with these variables over the stack's."""
        worker = fleet.Worker(
            name, self.data, concurrency, lambda: {**self.environment, **environment}, *options
        )
        return self._join(worker)

    def start_beat(self) -> Server:
        """Start beat."""
        return self._join(fleet.Beat(self.data, lambda: self.environment))

    def start_flower(self, **environment: str) -> fleet.Flower:
        """Start Flower, with these variables over the stack's; its `url` is for a browser."""
        flower = fleet.Flower(self.data, lambda: {**self._environment_of_flower, **environment})
        self._join(flower)
        return flower

    def _join(self, server: Server) -> Server:
        for other in self.servers:
            if other.name == server.name and other.is_running():
                raise ValueError(f"{server.name} runs already (pid {other.pid})")
        self._fleet = [other for other in self._fleet if other.name != server.name]
        self._fleet.append(server)
        server.start()
        return server

    # Ending

    def stop(self) -> None:
        """End everything in order: the fleet, then Supabase, then the rest."""
        with contextlib.ExitStack() as last_comes_first:
            last_comes_first.callback(self._leave)
            last_comes_first.callback(together, [server.stop for server in self._backends])
            last_comes_first.callback(self.supabase.stop)
            last_comes_first.callback(together, [server.stop for server in self._fleet])

    def kill(self) -> None:
        """SIGKILL everything."""
        own = [server for server in self.servers if server.pid is not None]
        together([server.kill for server in own])
        self._leave()

    def kill_without_waiting(self) -> None:
        """SIGKILL everything and return: for the handler of an impatient signal."""
        for server in self.servers:
            server.kill_without_waiting()

    def _leave(self) -> None:
        self._fleet.clear()
        self._lock.release()

    def _end_at_exit(self) -> None:
        for server in reversed(self.servers):  # too late for threads
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # Looking

    @property
    def servers(self) -> list[Server]:
        """Every server there is now, in the order of starting."""
        return [*self._backends, self.supabase, *self._fleet]

    @property
    def _backends(self) -> list[Server]:
        backends: list[Server] = [self.postgres, self.valkey]
        return backends if self.rabbitmq is None else [*backends, self.rabbitmq]

    @property
    def broker_url(self) -> str:
        """Where tasks are sent."""
        return self.valkey.url(1) if self.rabbitmq is None else self.rabbitmq.url

    @property
    def environment(self) -> dict[str, str]:
        """What the fleet is configured with."""
        anon_key, service_role_key = self._keys
        return {
            "SUPABASE_URL": self.supabase.url,
            "SUPABASE_ANON_KEY": anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": service_role_key,
            "SUPABASE_JWT_SECRET": self.secrets.jwt_secret,
            "SUPABASE_PROJECT_REF": self.secrets.project_ref,
            "DATABASE_URL": self.postgres.url_for("fleet", self.secrets.fleet_database),
            "BROKER_URL": self.broker_url,
            "RESULT_URL": self.valkey.url(0),
            "ARGOSY_SPOOL": str(self.spool),
            "ARGOSY_STATE_DIR": str(self.data / "state"),
            **self._settings,
        }

    @property
    def operator_environment(self) -> dict[str, str]:
        """What the operator's commands need: the database as its owner, the broker's users."""
        own = {"ARGOSY_OPERATOR_DATABASE_URL": self.postgres.url, **self._broker_api}
        return {**own, **self.environment}

    @property
    def _environment_of_flower(self) -> dict[str, str]:
        return {"FLOWER_ADDRESS": HOST, **self._broker_api, **self.environment}

    @property
    def agent_environment(self) -> dict[str, str]:
        """What every agent on this machine needs: nothing of the fleet's own.

        Where `argosy agents add` prints a BROKER_URL for each agent, there is none here.
        """
        for_agents = (
            "SUPABASE_URL",
            "SUPABASE_ANON_KEY",
            "SUPABASE_PROJECT_REF",
            "RESULT_URL",
            "ARGOSY_SPOOL",
        )
        shared = {name: self.environment[name] for name in for_agents}
        shared["RESULT_URL"] = self.valkey.agents_url
        shared["ARGOSY_SESSION_DIR"] = str(self.data / "sessions")
        return shared if self._broker_api else {**shared, "BROKER_URL": self.broker_url}

    @property
    def _broker_api(self) -> dict[str, str]:
        """The management API, where the broker is a RabbitMQ of our own."""
        if isinstance(self.rabbitmq, RabbitMQ):
            return {"ARGOSY_BROKER_API": self.rabbitmq.api_url}
        return {}

    def _environment_of_supabase(self) -> dict[str, str]:
        return {
            "SUPABASE_DB_URL": self.postgres.url,
            **_AUTH_HOOKS,
            **{k: v for k, v in self.environment.items() if k.startswith("SUPABASE_")},
        }

    @cached_property
    def _keys(self) -> tuple[str, str]:
        from local.supabase.keys import make_keys

        anon_key, service_role_key = make_keys(self.secrets.jwt_secret)
        return anon_key, service_role_key
