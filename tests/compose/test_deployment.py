"""`docker compose up`, and the main job through it. In the order of the file."""

from __future__ import annotations

import subprocess

import httpx
import pytest

from tests.compose.deployment import Deployment
from tests.deployment import until
from tests.unit.deploy.compose import HOSTED, MAIN, PROJECT

GOES_ON = {
    *("rabbitmq", "valkey", "db", "auth", "storage", "supabase", "gateway"),
    *("worker", "worker-control", "worker-media", "beat", "metrics", "flower"),
}
SUPABASE = {"db", "auth", "storage", "supabase"}
OURS = ("worker", "worker-control", "worker-media", "beat", "metrics", "flower")
ORIGIN = {"origin": "https://elsewhere.example.com", "access-control-request-method": "GET"}

pytestmark = pytest.mark.timeout(900)


def test_docker_compose_reads_every_file(made: Deployment) -> None:
    """With its own schema, which says more than ours."""
    files = ("--file", MAIN, "--file", HOSTED)
    own = made.compose("config", "--services").split()
    hosted = made.compose(
        *files, "config", "--services", env={**made.docker.environment, **PROJECT}
    )
    assert GOES_ON | {"init", "gateway-config"} == set(own)
    assert set(own) - set(hosted.split()) == {*SUPABASE, "gateway", "gateway-config"}


def test_everything_comes_up_and_is_well(project: Deployment) -> None:
    found = project.containers()
    assert {one.service for one in found if one.health == "healthy"} == GOES_ON
    ended = {one.service: one.exit_code for one in found if one.state == "exited"}
    assert ended == {"init": 0, "gateway-config": 0}


def test_the_doctor_finds_nothing(project: Deployment) -> None:
    assert " no " not in project.argosy("doctor").replace(" no other policy", "")


def test_the_main_job(
    project: Deployment, agent: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Up by `.delay()`, down, compared; and a thumbnail, made by the worker for media."""
    said = project.run_agent(agent, "256")
    with capsys.disabled():
        print(f"\n{said}")
    assert "the same, bit for bit" in said
    assert "a thumbnail of argosy.jpg" in said


def test_four_workers_and_one_is_killed(
    project: Deployment, agent: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of a file, of which every worker has a part in its hands."""
    project.up("--scale", "worker=4", "--no-recreate")
    workers = project.containers("worker")
    assert [one.health for one in workers] == ["healthy"] * 4
    killed = []

    def kill_one(line: str) -> None:
        if "cargo.bin" in line and not killed:
            killed.append(line.strip())
            project.docker("kill", workers[0].id)

    said = project.run_agent(agent, "512", on_line=kill_one)
    with capsys.disabled():
        print(f"\none of four workers was killed at {killed}\n{said}")
    assert "done" not in killed[0]
    assert "the same, bit for bit" in said
    project.up("--scale", "worker=1")
    assert len(project.containers("worker")) == 1


@pytest.mark.parametrize("service", OURS)
def test_nothing_can_be_changed_from_inside(project: Deployment, service: str) -> None:
    for path in ("/x", "/opt/argosy/x", "/srv/argosy/x"):
        assert "Read-only file system" in project.python(service, f"open('{path}', 'w')")
    status = project.python(service, "print(open('/proc/self/status').read())")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Uid"].split() == ["10001"] * 4
    assert told["CapBnd"].strip("0") == ""
    assert told["NoNewPrivs"] == "1"
    assert told["Seccomp"] == "2"


def test_limits_are_the_kernels(project: Deployment) -> None:
    [worker] = project.containers("worker")
    told = project.docker("inspect", "--format", "{{.HostConfig.Memory}}", worker.id)
    assert int(told) == 2 * 1024**3


def test_valkey_refuses_before_the_kernel_ends_it(project: Deployment) -> None:
    ask = ("exec", "--no-TTY", "valkey", "valkey-cli", "config", "get", "maxmemory")
    assert project.compose(*ask, stderr=subprocess.DEVNULL).split()[1] == str(384 * 1024**2)


def test_the_gateway_is_the_only_door(project: Deployment) -> None:
    url = project.url("GATEWAY_PORT")
    assert httpx.get(f"{url}/gateway/health").text == "ok\n"
    assert httpx.get(f"{url}/auth/v1/health").status_code == 200
    assert httpx.get(f"{url}/storage/v1/status").status_code == 200
    assert httpx.get(f"{url}/pg/").status_code == 404
    assert httpx.options(f"{url}/storage/v1/bucket", headers=ORIGIN).status_code == 403


def test_a_body_of_more_than_a_limit_of_nginx_passes(project: Deployment) -> None:
    """The gateway's answer would be 413; Storage's own is that it does not know the key."""
    url = f"{project.url('GATEWAY_PORT')}/storage/v1/object/agent-transfers/a"
    answer = httpx.post(url, content=b"\0" * 20_000_000, headers={"authorization": "Bearer x"})
    assert answer.status_code == 400, answer.text


def test_flower_wants_its_password(project: Deployment) -> None:
    url = project.url("FLOWER_PORT")
    assert httpx.get(f"{url}/workers").status_code == 401
    key = ("operator", project.environment["FLOWER_PASSWORD"])
    page = httpx.get(f"{url}/workers", auth=key).raise_for_status().text
    assert "argosy@" in page, "no worker is on its page"
    queues = httpx.get(f"{url}/broker", auth=key).raise_for_status().text
    assert all(name in queues for name in ("argosy.requests", "argosy.chunks.urgent")), queues


def test_metrics_are_told(project: Deployment) -> None:
    program = (
        "from urllib.request import urlopen; "
        "print(urlopen('http://metrics:9540/metrics').read().decode())"
    )
    assert "argosy_up 1.0" in project.python("worker", program)
    rabbit = program.replace("metrics:9540", "rabbitmq:15692")
    assert "rabbitmq_build_info" in project.python("worker", rabbit)


def test_a_lost_server_makes_nobody_restart(project: Deployment) -> None:
    """A worker lives while the broker is away, and works again when it is back."""
    [worker] = project.containers("worker")
    project.compose("restart", "rabbitmq")
    until(lambda: project.containers("rabbitmq")[0].health == "healthy", 120, what="the broker")
    until(lambda: project.containers("beat")[0].health == "healthy", 180, what="beat's tick")
    assert project.containers("worker")[0].id == worker.id
    count = project.docker("inspect", "--format", "{{.RestartCount}}", worker.id)
    assert int(count) == 0


def test_workers_end_in_peace(project: Deployment) -> None:
    for service in ("worker", "worker-control", "worker-media", "beat"):
        project.compose("stop", service)
        assert [one.exit_code for one in project.containers(service)] == [0], service


def test_what_was_there_is_there_after_a_new_start(
    project: Deployment, agent: dict[str, str]
) -> None:
    """Users, keys, files and what Flower has seen are in volumes; all else is made anew."""
    seen = tasks_in_flower(project)
    assert "transfer.upload" in seen.values()
    project.down()
    assert project.containers() == []
    project.up()
    assert "weather" in project.argosy("agents", "list")
    assert "the same, bit for bit" in project.run_agent(agent, "1")
    assert seen.items() <= tasks_in_flower(project).items()


def tasks_in_flower(project: Deployment) -> dict[str, str]:
    """Names of the tasks that Flower knows, by their ids."""
    key = ("operator", project.environment["FLOWER_PASSWORD"])
    answer = httpx.get(f"{project.url('FLOWER_PORT')}/api/tasks", auth=key).raise_for_status()
    return {task: told["name"] for task, told in answer.json().items()}
