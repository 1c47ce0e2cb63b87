"""One deployment with everything that Prometheus scrapes, and Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import ports
from tests.deployment import Deployment, until
from tests.monitoring.watched import Watched


def make_watched(data: Path) -> Watched:
    """A fleet that Prometheus watches, not yet started."""
    beat_port, worker_port = ports.take(), ports.take()
    settings = {
        "ARGOSY_BEAT_METRICS_PORT": str(beat_port),
        "ARGOSY_SWEEP_SECONDS": "2",
        "ARGOSY_RECONCILE_SECONDS": "2",
    }
    return Watched(Deployment(data, settings), worker_port, beat_port)


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The same, running."""
    made = make_watched(tmp_path_factory.mktemp("watched"))
    try:
        made.start()
        until(made.all_up, 60, what="every target to be scraped")
        yield made
    finally:
        made.stop()
