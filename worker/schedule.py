"""What beat sends, and how often. Every entry is safe to run twice, and at once."""

from __future__ import annotations

from typing import Any

from argosy.settings import FleetSettings


def schedule(settings: FleetSettings) -> dict[str, dict[str, Any]]:
    """Beat's schedule."""
    return {
        "resume": _every(settings.resume_seconds, "transfer.resume"),
        "sweep": _every(settings.sweep_seconds, "transfer.sweep"),
        "reconcile": _every(settings.reconcile_seconds, "transfer.reconcile"),
        "forget": _every(settings.history_seconds, "transfer.forget"),
        "bury": _every(settings.bury_seconds, "transfer.bury"),
    }


def _every(seconds: float, task: str) -> dict[str, Any]:
    """A tick that nobody took before the next one is worth nothing."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}
