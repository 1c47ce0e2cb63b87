"""A small Supabase Auth that says what a test wants, and settings that lead to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from argosy.settings import AgentSettings, FleetSettings

SECRET = "a secret that nobody else knows, and long enough for every algorithm"
KEY = "the-key"
LIFE = 100


class AuthServer:
    """Serves a JWKS and one session, whose refresh token rotates as Auth's do.

    `answers` go first: (status, document or text, headers), each given once.
    """

    def __init__(self) -> None:
        self.keys: Any = []
        self.jwks_status = 200
        self.jwks_asked = 0
        self.key = KEY
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.spent: list[str] = []
        self.active = ""
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.jwks_asked += 1
                self._send(outer.jwks_status, {"keys": outer.keys}, {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append((self.path, body))
                outer.open.wait(30)
                self._send(*outer.answer(body))

            def _send(self, status: int, document: Any, headers: dict[str, str]) -> None:
                text = document if isinstance(document, str) else json.dumps(document)
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def say(self, status: int, document: Any = None, **headers: str) -> None:
        """Answer one request with this."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, {} if document is None else document, named))

    def answer(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        with self._lock:
            if self.answers:
                return self.answers.pop(0)
            if "password" in body:
                return self._rotate("") if body["password"] == self.key else refusal()
            if body["refresh_token"] == self.active:
                return self._rotate(self.active)
            if self.spent and body["refresh_token"] == self.spent[-1]:
                return self._give()
            return refusal("refresh_token_already_used")

    def _rotate(self, spent: str) -> tuple[int, Any, dict[str, str]]:
        self.spent = [*self.spent, spent] if spent else []
        self.active = f"refresh-{len(self.asked)}"
        return self._give()

    def _give(self) -> tuple[int, Any, dict[str, str]]:
        session = {
            "access_token": f"access-{len(self.asked)}",
            "token_type": "bearer",
            "expires_in": LIFE,
            "refresh_token": self.active,
        }
        return 200, session, {}

    @property
    def grants(self) -> list[str]:
        """The kinds of requests for a token so far."""
        return [path.rpartition("=")[2] for path, _ in self.asked]

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()


def refusal(
    code: str = "invalid_credentials", status: int = 400
) -> tuple[int, Any, dict[str, str]]:
    return status, {"code": status, "error_code": code, "msg": f"No: {code}"}, {}


def agent_settings(url: str, **changes: Any) -> AgentSettings:
    return AgentSettings(**{**_settings(url), **changes})


def fleet_settings(url: str, **changes: Any) -> FleetSettings:
    fleet = {
        "supabase_service_role_key": "service",
        "supabase_project_ref": "local",
        "database_url": "postgresql://localhost/x",
        "spool": "/var/spool",
        "supabase_jwt_secret": SECRET,
    }
    return FleetSettings(**{**_settings(url), **fleet, **changes})


def _settings(url: str) -> dict[str, Any]:
    return {
        "supabase_url": url,
        "supabase_anon_key": "anon",
        "broker_url": "amqp://localhost",
        "result_url": "redis://localhost",
    }
