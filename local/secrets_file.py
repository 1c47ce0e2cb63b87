"""The passwords of one data folder: made once, at random, and readable by its owner only."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path


def _word() -> str:
    return secrets.token_urlsafe(24).replace("-", "0")  # no leading dash: some go into options


def _project_ref() -> str:
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(20))


@dataclass(frozen=True)
class Secrets:
    """What the servers of one stack and those who use them share."""

    postgres: str = field(default_factory=_word)
    fleet_database: str = field(default_factory=_word)
    valkey: str = field(default_factory=_word)
    valkey_agents: str = field(default_factory=_word)
    rabbitmq: str = field(default_factory=_word)
    erlang_cookie: str = field(default_factory=_word)
    jwt_secret: str = field(default_factory=lambda: secrets.token_hex(32))
    project_ref: str = field(default_factory=_project_ref)


def load(path: Path) -> Secrets:
    """The secrets in this file; new ones for those that it lacks."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    secrets_ = Secrets(**kept)
    if asdict(secrets_) != kept:
        write_private(path, json.dumps(asdict(secrets_), indent=2) + "\n")
    return secrets_


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
