"""RabbitMQ, as the machine's package manager installed it, but with folders of our own."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path

import amqp  # type: ignore[import-untyped]
import httpx

from local import ports
from local.ports import HOST
from local.secrets_file import write_private
from local.servers.base import Launch, OwnServer

USER = "argosy"
VHOST = "argosy"

_PLACES = (
    Path("/usr/lib/rabbitmq/bin"),  # Debian, Ubuntu, Fedora: not the wrapper in /usr/sbin
    Path("/opt/homebrew/opt/rabbitmq/sbin"),  # Homebrew on Apple silicon
    Path("/usr/local/opt/rabbitmq/sbin"),  # Homebrew on Intel
    Path("/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin"),
    Path("/opt/rabbitmq/sbin"),  # the generic package, and the container image
)


def find_server() -> Path | None:
    """The script that runs RabbitMQ, if this machine has one."""
    for place in _PLACES:
        if (place / "rabbitmq-server").exists():
            return place / "rabbitmq-server"
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


def find_epmd() -> Path | None:
    """Erlang's port mapper: beside `erl`, or in the PATH."""
    erl = shutil.which("erl")
    beside = Path(erl).resolve().parent / "epmd" if erl else None
    if beside and beside.exists():
        return beside
    found = shutil.which("epmd")
    return Path(found) if found else None


class Epmd(OwnServer):
    """Erlang's port mapper as a child of ours; the broker would leave its own one behind."""

    def __init__(self, data: Path) -> None:
        super().__init__("epmd", data)

    def _prepare(self) -> Launch:
        program = find_epmd()
        if program is None:
            raise FileNotFoundError("epmd is not installed, but RabbitMQ is; it is part of Erlang")
        command = [str(program), "-port", str(self.port), "-address", HOST]
        return Launch(command, environment={}, folder=self.data)

    def _why_not_ready(self) -> str | None:
        return "nobody listens" if ports.is_free(self.port) else None


class RabbitMQ(OwnServer):
    """One node with the user `argosy` and the virtual host `argosy`, and no guest."""

    stop_grace = 10.0  # an idle one takes six seconds: it sits out a time limit of its own

    def __init__(self, data: Path, password: str, cookie: str, script: Path) -> None:
        self._password = password
        self._cookie = cookie
        self._script = script
        self._folder = data / "rabbitmq"
        self.epmd = Epmd(data)
        super().__init__("rabbitmq", data)

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f"amqp://{USER}:{self._password}@{HOST}:{self.port}/{VHOST}"

    @property
    def management_url(self) -> str:
        """The management pages."""
        return f"http://{HOST}:{self.management_port}/"

    @property
    def api_url(self) -> str:
        """The management API with user and password, as Flower wants it."""
        return f"http://{USER}:{self._password}@{HOST}:{self.management_port}/api/"

    @property
    def ports(self) -> list[int]:
        """AMQP, management, metrics, and the port of Erlang's distribution."""
        return [self.port, self.management_port, self.metrics_port, self._distribution_port]

    def start(self) -> None:
        """Start epmd if it is not there, then the broker."""
        if not self.epmd.is_running():
            self.epmd.start()
        super().start()

    def stop(self) -> None:
        """End the broker, then its epmd."""
        super().stop()
        self.epmd.stop()

    def kill(self) -> None:
        """SIGKILL the Erlang machine and what it leaves, epmd included."""
        super().kill()
        self.epmd.kill()

    def kill_without_waiting(self) -> None:
        """SIGKILL both and return."""
        super().kill_without_waiting()
        self.epmd.kill_without_waiting()

    def _take_ports(self) -> None:
        self.port, self.management_port = ports.take(), ports.take()
        self.metrics_port, self._distribution_port = ports.take(), ports.take()

    def _prepare(self) -> Launch:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._write(".erlang.cookie", self._cookie, mode=0o400)
        self._write("enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n")
        self._write("environment.conf", "")  # else the machine's own one is read
        self._write("rabbitmq.conf", self._configuration())
        self._write("definitions.json", json.dumps(self._definitions()))
        return Launch([self._script], environment=self._environment(), folder=self._folder)

    def _write(self, name: str, text: str, mode: int = 0o600) -> None:
        write_private(self._folder / name, text)
        (self._folder / name).chmod(mode)

    def _configuration(self) -> str:
        settings = {
            "listeners.tcp.1": f"{HOST}:{self.port}",
            "management.tcp.ip": HOST,
            "management.tcp.port": self.management_port,
            "prometheus.tcp.ip": HOST,
            "prometheus.tcp.port": self.metrics_port,
            "load_definitions": self._folder / "definitions.json",
            "log.file": "false",
            "log.console": "true",
            "log.console.level": "info",
            "log.console.use_colors": "off",
            "disk_free_limit.absolute": "50MB",
        }
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    def _definitions(self) -> dict[str, object]:
        user = {
            "name": USER,
            "password_hash": _password_hash(self._password),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": ["administrator"],
            "limits": {},
        }
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        return {
            "users": [user],
            "vhosts": [{"name": VHOST}],
            "permissions": [{"user": USER, "vhost": VHOST, **everything}],
        }

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self.epmd.port),
            "RABBITMQ_NODENAME": "argosy@localhost",
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "feature_flags"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            # The script then becomes the Erlang machine instead of waiting for it, so that the
            # pid we have is the machine's; -noinput is what it leaves out in that case.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_START_ARGS": "-noinput +B i",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def _why_not_ready(self) -> str | None:
        try:
            _log_in(HOST, self.port, self._password)
            httpx.get(self.api_url + "whoami", timeout=2).raise_for_status()
        except (OSError, amqp.AMQPError, httpx.HTTPError) as error:
            return f"{type(error).__name__}: {error}"
        return None


def _log_in(host: str, port: int, password: str) -> None:
    connection = amqp.Connection(
        f"{host}:{port}", USER, password, virtual_host=VHOST, connect_timeout=2, read_timeout=5
    )
    with connection:
        connection.connect()


def _password_hash(password: str) -> str:
    """RabbitMQ's own format: a salt of four bytes, then SHA-256 of salt and password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
