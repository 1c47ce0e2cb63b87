"""docker-compose.yml says what it must, and the files that it names are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from argosy.gateway_settings import GatewaySettings
from argosy.settings import FleetSettings
from commands.table import ENTRIES
from tests.unit.deploy.compose import (
    HOSTED,
    MAIN,
    PROJECT,
    ROOT,
    Service,
    read,
    services,
    variables,
)
from worker.queues import QUEUES

SCHEMA = json.loads((Path(__file__).parent / "compose.schema.json").read_text())
Environment = dict[str, str]


def has_compose() -> bool:
    """Whether this machine has Docker Compose 2, as the client's plugin."""
    if shutil.which("docker") is None:
        return False
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return done.returncode == 0


def ours(environment: Environment) -> dict[str, Service]:
    """The services of our own image."""
    found = services(environment)
    return {name: one for name, one in found.items() if one["image"].startswith("argosy:")}


def test_the_file_fits_the_schema(environment: Environment) -> None:
    jsonschema.validate(read(MAIN, environment), SCHEMA)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("mem_limit: 128m", "memory_limit: 128m"),
        ("interval: 5s", "interval: soon"),
        ("condition: service_healthy", "condition: well"),
        ("rabbitmq:4.3.6-management", "rabbitmq:latest"),
        ("127.0.0.1:${FLOWER_PORT", "${FLOWER_PORT"),
    ],
)
def test_the_schema_finds_mistakes(
    right: str, wrong: str, environment: Environment, tmp_path: Path
) -> None:
    text = MAIN.read_text()
    assert right in text
    (tmp_path / "wrong.yml").write_text(text.replace(right, wrong))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read(tmp_path / "wrong.yml", environment), SCHEMA)


@pytest.mark.skipif(not has_compose(), reason="Docker Compose 2 is not installed: test-compose is")
def test_docker_compose_reads_it(environment: Environment, folder: Path) -> None:
    for files, more in ([[MAIN], {}], [[MAIN, HOSTED], PROJECT]):
        named = [word for path in files for word in ("--file", str(path))]
        command = ["docker", "compose", "--env-file", str(folder / ".env"), *named, "config"]
        done = subprocess.run(
            command, env={**os.environ, **more}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "services:" in done.stdout


def test_every_variable_is_in_the_example(environment: Environment) -> None:
    example = (ROOT / ".env.example").read_text()
    told = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", example, re.MULTILINE))
    named = {*variables(MAIN), *variables(HOSTED)}
    assert named <= told | {"AUTH_MEMORY", "PROMETHEUS_MEMORY", "GRAFANA_MEMORY"}
    assert told <= named


def test_no_secret_has_a_default() -> None:
    for path in (MAIN, HOSTED):
        for name, how in variables(path).items():
            if re.search(r"(PASSWORD|SECRET|_KEY)$", name) and path == MAIN:
                assert how <= {":?", "?"}, name


def test_a_missing_secret_is_told(environment: Environment) -> None:
    for name in ("POSTGRES_PASSWORD", "SUPABASE_ANON_KEY", "FLOWER_PASSWORD"):
        with pytest.raises(KeyError, match=name):
            read(MAIN, {**environment, name: ""})


def test_every_service_is_watched(environment: Environment) -> None:
    """What ends by itself needs no health check; all else has one."""
    for name, one in services(environment).items():
        goes_on = one["restart"] == "unless-stopped"
        assert goes_on == ("healthcheck" in one), name


def test_nobody_waits_for_what_is_not_there(environment: Environment) -> None:
    found = services(environment)
    for name, one in found.items():
        for other, how in one.get("depends_on", {}).items():
            watched = "healthcheck" in found[other]
            assert watched == (how["condition"] == "service_healthy"), (name, other)


def test_mounted_files_are_there(environment: Environment) -> None:
    for name, one in services(environment).items():
        for volume in one.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), (name, source)
            if not source.startswith("./"):
                assert source in read(MAIN, environment)["volumes"], source


def test_our_containers_cannot_change_what_they_run(environment: Environment) -> None:
    for name, one in ours(environment).items():
        assert one["read_only"] is True, name
        assert one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"], name
        assert one["stop_grace_period"] == "60s", name


def test_the_grace_is_long_enough() -> None:
    assert FleetSettings.model_fields["grace_seconds"].default + 15 == 60


def test_every_queue_of_the_fleet_has_a_worker(environment: Environment) -> None:
    found = ours(environment)
    assert found["worker-control"]["command"] == ["worker", "--control"]
    read_by = set()
    for name in ("worker", "worker-media"):
        assert found[name]["command"][:2] == ["worker", "--queues"]
        read_by |= set(found[name]["command"][2].split(","))
    asked = ("argosy.requests", "argosy.control")
    assert read_by == {one.name for one in QUEUES if not one.name.startswith(asked)}


def test_commands_and_settings_exist(environment: Environment) -> None:
    told = {
        kind.model_config.get("env_prefix", "") + field.upper()
        for kind in (FleetSettings, GatewaySettings)
        for field in kind.model_fields
    }
    for name, one in ours(environment).items():
        assert one["command"][0] in ENTRIES, name
        assert {key for key in one["environment"] if key.startswith("ARGOSY_")} <= told, name


def test_prometheus_finds_what_it_scrapes(environment: Environment) -> None:
    """Names of services, and the ports on which they are told to tell."""
    told = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    ports = {
        host: port
        for job in told["scrape_configs"]
        for host, port in targets(job)
        if host != "localhost"
    }
    found = services(environment)
    assert set(ports) <= set(found)
    for name in ("worker", "worker-control", "worker-media"):
        assert ports[name] == found[name]["environment"]["ARGOSY_WORKER_METRICS_PORT"]
    assert ports["beat"] == found["beat"]["environment"]["ARGOSY_BEAT_METRICS_PORT"]
    assert ports["metrics"] == FleetSettings.model_fields["metrics_port"].default


def targets(job: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Hosts and ports of a job of Prometheus."""
    for listed in job.get("static_configs", []):
        for target in listed["targets"]:
            host, _, port = target.partition(":")
            yield host, int(port)
    for looked_up in job.get("dns_sd_configs", []):
        yield from ((name, looked_up["port"]) for name in looked_up["names"])


def test_the_fleet_has_no_mighty_login(environment: Environment) -> None:
    """Only who prepares the project, or operates it, is its owner."""
    mighty = {
        name
        for name, one in services(environment).items()
        if environment["POSTGRES_PASSWORD"] in str(one.get("environment"))
    }
    assert mighty == {"db", "init", "argosy", "observer"}


def test_files_of_50_gigabytes_pass(environment: Environment) -> None:
    storage = services(environment)["storage"]["environment"]
    assert int(storage["UPLOAD_FILE_SIZE_LIMIT"]) >= 50 * 10**9
    assert int(environment["ARGOSY_BUCKET_SIZE_LIMIT"]) >= 50 * 10**9
    router = (ROOT / "deploy" / "compose" / "supabase.conf").read_text()
    assert re.findall(r"client_max_body_size (\S+);", router) == ["0"]


def test_a_hosted_project_replaces_supabase(environment: Environment) -> None:
    hosted: dict[str, Any] = read(HOSTED, {**environment, **PROJECT})["services"]
    gone = {name for name, one in hosted.items() if one.get("profiles") == ["self-hosted"]}
    assert gone == {*("db", "auth", "storage", "supabase", "gateway", "gateway-config", "observer")}
    for name, one in ours(environment).items():
        waits = hosted.get(name, one).get("depends_on", {})
        assert name in gone or not gone & set(waits), name
        if "SUPABASE_URL" in one["environment"]:
            assert hosted[name]["environment"]["SUPABASE_URL"] == PROJECT["SUPABASE_URL"]
