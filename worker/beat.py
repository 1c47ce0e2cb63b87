"""Beat's scheduler: it seals what it sends, so that no seal stands in the configuration."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry

from argosy.settings import fleet_settings
from tasks.seal import SEAL_HEADER, seal
from worker import beat_metrics


class SealingScheduler(PersistentScheduler):
    """Celery's own scheduler, with the fleet's mark on each message."""

    def apply_async(self, entry: ScheduleEntry, **named: Any) -> Any:
        """Send an entry's message, sealed; the entry that is kept has no seal."""
        if named.pop("advance", True):
            entry = self.reserve(entry)
        sent = super().apply_async(_sealed(entry), advance=False, **named)
        beat_metrics.note(entry.name)
        return sent


def _sealed(entry: ScheduleEntry) -> ScheduleEntry:
    mark = seal(fleet_settings(), entry.task, tuple(entry.args or ()))
    headers = {**entry.options.get("headers", {}), SEAL_HEADER: mark}
    return type(entry)(**{**dict(entry), "options": {**entry.options, "headers": headers}})
