"""What beat tells Prometheus: that it sends, and when it did last."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, start_http_server

from argosy.settings import FleetSettings

registry = CollectorRegistry()
sent = Counter("argosy_beat_sent", "Messages that beat has sent.", ["entry"], registry=registry)
sent_at = Gauge(
    "argosy_beat_sent_timestamp_seconds",
    "When beat last sent a message.",
    ["entry"],
    registry=registry,
)


def note(entry: str) -> None:
    """Beat has sent this entry's message."""
    sent.labels(entry).inc()
    sent_at.labels(entry).set_to_current_time()


def serve(settings: FleetSettings) -> None:
    """Answer scrapes in a thread. Raises OSError where the port is taken."""
    if settings.beat_metrics_port:
        start_http_server(settings.beat_metrics_port, settings.metrics_address, registry)
