"""The environment of a stack as files that a shell can read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from local.secrets_file import write_private

PUBLIC = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "BROKER_URL", "RESULT_URL", "ARGOSY_SPOOL")
"""What may be shown, once the passwords in URLs are masked."""


_THE_REST = """\
# `argosy agents add NAME` prints the rest, once for each agent: ARGOSY_AGENT, ARGOSY_AGENT_KEY{}.
"""


def exports(environment: Mapping[str, str]) -> str:
    """One `export NAME=value` a line."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def exported(text: str) -> dict[str, str]:
    """What such lines say; `argosy agents add` prints them too."""
    return dict(word.split("=", 1) for word in shlex.split(text) if word != "export")


def write(path: Path, environment: Mapping[str, str]) -> None:
    """Write the file, for its owner only."""
    write_private(path, exports(environment))


def write_for_agents(path: Path, environment: Mapping[str, str]) -> None:
    """The same for what all agents share, saying where the rest comes from."""
    own_broker_user = "" if "BROKER_URL" in environment else " and BROKER_URL"
    write_private(path, _THE_REST.format(own_broker_user) + exports(environment))


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """The public part, without any password."""
    return {name: _masked(environment[name]) for name in PUBLIC if name in environment}


def _masked(value: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@/]+@", r"\1:…@", value)
