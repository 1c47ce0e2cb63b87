"""docker-compose.yml as Docker Compose reads it: variables filled in, and files on each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
MAIN = ROOT / "docker-compose.yml"
HOSTED = ROOT / "docker-compose.hosted.yml"
PROJECT = {
    "SUPABASE_URL": "https://ref.supabase.co",
    "DATABASE_URL": "postgresql://fleet:a@db.example.com:5432/postgres",
    "ARGOSY_OPERATOR_DATABASE_URL": "postgresql://postgres:b@db.example.com:5432/postgres",
}
"""What .env needs besides for a hosted project."""
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(:-|:\?|\?)?([^}]*)\}")
LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
"""A line of an .env."""
Service = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """With the tag by which one file replaces what the other says."""


_Loader.add_constructor("!override", lambda loader, node: loader.construct_mapping(node, deep=True))


def variables(path: Path) -> dict[str, set[str]]:
    """The variables of a file, and how each is asked for: `:-`, `:?`, `?` or bare."""
    found: dict[str, set[str]] = {}
    for name, how, _ in VARIABLE.findall(_told(path)):
        found.setdefault(name, set()).add(how)
    return found


def read(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables filled in. Raises KeyError where a needed one is missing."""

    def value(found: re.Match[str]) -> str:
        name, how, default = found.groups()
        if how == ":-":
            return environment.get(name) or default
        if how == ":?" and not environment[name]:
            raise KeyError(name)
        return environment[name]

    document: dict[str, Any] = yaml.load(VARIABLE.sub(value, _told(path)), _Loader)
    return document


def _told(path: Path) -> str:
    """The file without its comments, which name variables too."""
    return re.sub(r"(^|\s)#.*$", "", path.read_text(), flags=re.MULTILINE)


def services(environment: Mapping[str, str]) -> dict[str, Service]:
    """The services of docker-compose.yml."""
    found: dict[str, Service] = read(ROOT / "docker-compose.yml", environment)["services"]
    return found
