"""What beat sends, and how often. Every entry is safe to run twice, and at once."""

from __future__ import annotations

from typing import Any

from argosy.settings import FleetSettings


def schedule(settings: FleetSettings) -> dict[str, dict[str, Any]]:
    """Beat's schedule. A tick that nobody took before the next one is worth nothing."""
    return {
        "resume": {
            "task": "transfer.resume",
            "schedule": settings.resume_seconds,
            "options": {"expires": settings.resume_seconds},
        },
        "reconcile": {
            "task": "transfer.reconcile",
            "schedule": settings.reconcile_seconds,
            "options": {"expires": settings.reconcile_seconds},
        },
    }
