"""A fleet, and the Prometheus that watches it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from argosy.storage.control import ControlPlane
from local.servers.fleet import Flower
from local.servers.rabbitmq import RabbitMQ
from tests.conftest import Sender
from tests.deployment import Deployment
from tests.monitoring.servers import Books, Prometheus


class Watched:
    """One worker, beat, Flower, `argosy metrics` and Prometheus."""

    def __init__(self, deployment: Deployment, worker_port: int, beat_port: int) -> None:
        assert deployment.stack
        self.deployment = deployment
        self._worker_port = worker_port
        self._beat_port = beat_port
        self.books = Books(deployment.data, lambda: deployment.environment)

    def start(self) -> None:
        """Start everything."""
        self.deployment.start()
        self.worker = self.start_worker()
        self.beat: Any = self.deployment.start_beat()
        stack = self.deployment.stack
        assert stack
        assert isinstance(stack.rabbitmq, RabbitMQ)
        self.rabbitmq = stack.rabbitmq
        self.flower: Flower = stack.start_flower()
        self.books.start()
        targets = {
            "argosy-metrics": [self.books.port],
            "argosy-worker": [self._worker_port],
            "argosy-beat": [self._beat_port],
            "rabbitmq": [self.rabbitmq.metrics_port],
            "flower": [self.flower.port],
        }
        self.prometheus = Prometheus(self.deployment.data, targets)
        self.prometheus.start()

    def start_worker(self) -> Any:
        """Start the worker anew."""
        port = str(self._worker_port)
        return self.deployment.start_worker("one", ARGOSY_WORKER_METRICS_PORT=port)

    @cached_property
    def sender(self) -> Sender:
        """An agent."""
        return Sender(self.deployment.add_agent())

    def look_anew(self) -> None:
        """`argosy metrics` looks up what agents take up once a minute, and when it starts."""
        self.books.stop()
        self.books.start()

    def remove_object(self, reference: dict[str, Any]) -> None:
        """Behind the books' back."""
        settings = self.deployment.settings
        key = settings.supabase_service_role_key.get_secret_value()
        ControlPlane(settings.supabase_url, key).remove(reference["bucket"], [reference["path"]])

    def all_up(self) -> bool:
        """Whether every target is scraped."""
        found = self.prometheus.scraped()
        return len(found) == 5 and all(set(health) == {"up"} for health in found.values())

    def stop(self) -> None:
        """End everything."""
        if hasattr(self, "prometheus"):
            self.prometheus.stop()
        self.books.stop()
        self.deployment.stop()
