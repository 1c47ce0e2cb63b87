"""Who a command acts for: an agent by the library, or the operator by the database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argosy.client import Client

_OPERATORS = ("DATABASE_URL", "SUPABASE_SERVICE_ROLE_KEY")


def client() -> Client:
    """The agent of ARGOSY_AGENT and ARGOSY_AGENT_KEY. Raises SettingsError, NotSignedIn."""
    from argosy.client import Client
    from argosy.errors import NotSignedIn
    from argosy.settings import agent_settings

    settings = agent_settings()
    if not settings.agent or not settings.agent_key:
        raise NotSignedIn(
            "This is a command of an agent's: set ARGOSY_AGENT and ARGOSY_AGENT_KEY as `argosy "
            "agents add` printed them."
        )
    return Client()


def is_operator() -> bool:
    """Whether the fleet's own settings are there, and not only an agent's.

    DATABASE_URL alone is no sign: many programs have one.
    """
    return all(os.environ.get(name) for name in _OPERATORS)
