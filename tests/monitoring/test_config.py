"""Prometheus's own tool has nothing against the configuration and the rules."""

from __future__ import annotations

import subprocess

import pytest

from tests.deployment import until
from tests.monitoring.servers import DEPLOYED, RULES
from tests.monitoring.watched import Watched


@pytest.mark.parametrize("check", [("config", DEPLOYED / "prometheus.yml"), ("rules", RULES)])
def test_promtool(check: tuple[str, str]) -> None:
    done = subprocess.run(
        ["promtool", "check", *map(str, check)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_target_is_scraped(watched: Watched) -> None:
    expected = {
        job: ["up"]
        for job in ("argosy-metrics", "argosy-worker", "argosy-beat", "rabbitmq", "flower")
    }
    until(lambda: watched.prometheus.scraped() == expected, 60, what=f"targets {expected}")
    flowers = '{job="flower",__name__=~"flower_.*"}'
    for one in ("argosy_up", "argosy_beat_sent_total", "rabbitmq_queue_messages_ready", flowers):
        until(lambda one=one: watched.prometheus.query(one), 30, what=one)


def test_what_runs_differs_from_what_is_deployed_in_times_alone(watched: Watched) -> None:
    [group] = watched.prometheus.ask("rules")["groups"]
    names = [rule["name"] for rule in group["rules"]]
    assert len(names) == RULES.read_text().count("- alert:")
