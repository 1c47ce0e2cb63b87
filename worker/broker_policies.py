"""How much the queues of RabbitMQ hold, as deploy/rabbitmq/policies.json says.

These are policies and no arguments of the queues: those of a queue that is there cannot change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from argosy.settings import FleetSettings
from worker.broker_api import BrokerApi

POLICIES = Path(__file__).resolve().parent.parent / "deploy" / "rabbitmq" / "policies.json"


def ensure_policies(settings: FleetSettings, *, dry_run: bool = False) -> list[str]:
    """Make or correct the policies, and say what changed; nothing where no API is named.

    Raises BrokerApiError when the management API refuses or is away.
    """
    api = BrokerApi.of(settings)
    if api is None:
        return []
    changed = []
    for name, wanted in json.loads(POLICIES.read_text()).items():
        found = api.ask("GET", api.in_vhost("policies", name), may_fail=404)
        if not found.is_success or _differs(found.json(), wanted):
            verb = "changed" if found.is_success else "made"
            changed.append(f"policy {name} of RabbitMQ: {verb}")
            if not dry_run:
                api.ask("PUT", api.in_vhost("policies", name), wanted)
    return changed


def _differs(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return any(found.get(name) != value for name, value in wanted.items())
