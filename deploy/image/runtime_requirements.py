"""The part of requirements.lock that a package needs, with its hashes, on standard output.

    python3 runtime_requirements.py             what the fleet needs to run
    python3 runtime_requirements.py hatchling   what this package needs

The lock is for development. Who asked for a package stands below it (`# via`), so what the fleet
needs is what leads to the dependencies in pyproject.toml. Nothing but the standard library is used.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PROJECT = re.compile(r"\S+ \(pyproject\.toml\)")


def entries(lock: str) -> dict[str, list[str]]:
    """Each package's entries in a lock, by its name: one for each version."""
    found: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.strip()):
        found.setdefault(_name(entry), []).append(entry)
    return found


def needed(lock: dict[str, list[str]], roots: Iterable[str]) -> list[str]:
    """Names of `roots`, and of whatever they lead to, in the lock's order.

    Raises KeyError where a root is not in the lock.
    """
    wanted = set(roots)
    if absent := sorted(wanted - set(lock)):
        raise KeyError(f"requirements.lock has no {', '.join(absent)}: run `make lock`")
    asked_by = {name: set().union(*map(_asked_by, found)) for name, found in lock.items()}
    while more := {name for name, by in asked_by.items() if by & wanted} - wanted:
        wanted |= more
    return [name for name in lock if name in wanted]


def dependencies(pyproject: str) -> list[str]:
    """Names of what the project depends on, extras left out."""
    return [_name(line) for line in tomllib.loads(pyproject)["project"]["dependencies"]]


def _asked_by(entry: str) -> set[str]:
    told = entry.partition("# via")[2]
    return set(NAME.findall(PROJECT.sub("", told)))


def _name(line: str) -> str:
    found = NAME.match(line)
    if found is None:
        raise ValueError(f"no name of a package in {line!r}")
    return found.group().lower()


def main(*roots: str) -> None:
    """Print the part of the lock."""
    lock = entries((ROOT / "requirements.lock").read_text())
    names = needed(lock, roots or dependencies((ROOT / "pyproject.toml").read_text()))
    print("\n".join(entry for name in names for entry in lock[name]))


if __name__ == "__main__":
    main(*sys.argv[1:])
