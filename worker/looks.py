"""What is looked up as it is now: each metric's meaning and labels, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client.core import Metric

from worker.families import Values, gauge

LOOKS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "up": ("Whether the database answered this scrape.", ()),
        "valkey_up": ("Whether Valkey answered this scrape.", ()),
        "storage_away": ("Whether workers wait for Storage, because they found it away.", ()),
        "round_count": ("What the last round has counted.", ("round", "what")),
        "round_ended_timestamp_seconds": ("When the last round ended.", ("round",)),
        "round_duration_seconds": ("How long the last round took.", ("round",)),
        "heartbeat_age_seconds": ("Since a periodic task last ran.", ("name",)),
        "transfers": ("Transfers that have not ended.", ("state", "kind")),
        "transfers_running": ("Transfers that have a slot.", ()),
        "transfers_waiting": ("Transfers that wait for a slot.", ("priority",)),
        "oldest_waiting_seconds": ("How long the first has waited for a slot.", ("priority",)),
        "stalest_transfer_seconds": (
            "Of the transfers with a slot, the longest for which one has not got on.",
            (),
        ),
        "window_chunks": ("Chunks of the windows in use: queued, or being moved.", ("state",)),
        "dead_letters_day": ("Dead letters of the last 24 hours.", ("reason",)),
        "agent_stored_bytes": (
            "Bytes of an agent in Storage, with those on their way: the 20 that have the most, "
            "and the others as one. Looked up once a minute.",
            ("agent",),
        ),
        "agent_quota_used_ratio": (
            "Share that an agent has used of the bytes it may store: the 20 that are nearest.",
            ("agent",),
        ),
    }
)


def look(name: str, values: Values) -> Metric:
    """One of them, by its labels' values."""
    help_, labels = LOOKS[name]
    return gauge(name, help_, values, *labels)
