"""No secret is in anything that the system writes down, or shows.

Every secret of a deployment is a canary. Work is done with it, and every kind
of failure is provoked; then everything is searched.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

import httpx
import psutil
import pytest
import redis
from celery.result import AsyncResult
from kombu import Connection

from argosy.auth import TOKEN_HEADER, agent_email
from argosy.errors import Error
from tasks.seal import seal
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, deployed, remote, until
from tests.integration.stack.looking import of_each
from tests.integration.test_bad_input import new_agent
from tests.security.wire import Workers, body, message, post

pytestmark = pytest.mark.skipif(remote(), reason="searches the files of the local stack")

QUEUE = "canaries-letterbox"


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, with Flower: its servers are broken."""
    with deployed(tmp_path_factory.mktemp("canaries")) as made:
        assert made.stack
        made.stack.start_flower()
        yield made
        gc.collect()  # results that nobody wants say so to Valkey, while it is there


@pytest.fixture(scope="module")
def session(fragile: Deployment) -> dict[str, Any]:
    """An agent's session, as Supabase Auth gives it, and the agent."""
    agent = fragile.add_agent()
    settings = fragile.settings
    answer = httpx.post(
        f"{settings.supabase_url}/auth/v1/token?grant_type=password",
        headers={"apikey": settings.supabase_anon_key.get_secret_value()},
        json={"email": agent_email(agent.name), "password": agent.key},
        timeout=15,
    )
    return {"agent": agent, **answer.raise_for_status().json()}


@pytest.fixture(scope="module")
def canaries(fragile: Deployment, session: dict[str, Any]) -> dict[str, str]:
    """Every secret, by what it is."""
    assert fragile.stack
    found = {name: value for name, value in vars(fragile.stack.secrets).items() if _is_long(value)}
    found.pop("project_ref")
    environment = fragile.operator_environment
    for name, value in environment.items():
        if name.endswith(("KEY", "SECRET")) and name != "SUPABASE_ANON_KEY":  # that one is public
            found[name] = value
        if password := urlsplit(value).password if "://" in value else None:
            found[f"password of {name}"] = unquote(password)
    token = session["access_token"]
    return {
        **found,
        "access token": token,
        "signature of the access token": token.split(".")[2],
        "refresh token": session["refresh_token"],
        "agent's key": session["agent"].key,
        "seal of beat": seal(fragile.settings, "transfer.resume", ()),
    }


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 8


# The work


def _token_of(url: str) -> str:
    return url.partition("token=")[2]


def _signed_urls(deployment: Deployment, path: str) -> dict[str, str]:
    """What anybody who holds it may read the object by, until it expires."""
    settings = deployment.settings
    key = settings.supabase_service_role_key.get_secret_value()
    answer = httpx.post(
        f"{settings.supabase_url}/storage/v1/object/sign/agent-transfers/{quote(path)}",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
        json={"expiresIn": 600},
        timeout=15,
    )
    url = settings.supabase_url + "/storage/v1" + answer.raise_for_status().json()["signedURL"]
    signature = uuid4().hex * 2
    presigned = f"{settings.supabase_url}/storage/v1/s3/agent-transfers/{path}?X-Amz-Expires=60"
    presigned += f"&X-Amz-Signature={signature}"
    return {"signed URL": _token_of(url), "presigned URL": signature, "": url, "S3": presigned}


def _mistakes(token: str, urls: dict[str, str], spool: Path) -> Iterator[Callable[[Sender], Any]]:
    """Requests with a secret where none belongs."""
    for secret in (token, urls[""], urls["S3"], f"Bearer {token}"):
        yield lambda sender, secret=secret: sender.upload(secret)
        yield lambda sender, secret=secret: sender.upload(f"{spool}/{secret}")
        for name in ("name", "bucket", "content_type", "idempotency_key"):
            yield lambda sender, secret=secret, name=name: sender.upload(
                spool / "cargo.bin", **{name: secret}
            )
        yield lambda sender, secret=secret: sender.download({"metadata": {"a": secret}}, "/x")
        yield lambda sender, secret=secret: sender.download({secret: secret}, f"/{secret}")


def _raw_mistakes(token: str) -> Iterator[Any]:
    """The same from whoever has none of this code, and as no message should be."""
    headers = {TOKEN_HEADER: token}
    yield message(body([token], {"token": token}), **headers)
    yield message(body([], {"source": "/x", token: token}), **headers)
    yield message(body([token], {"token": token}), task="nobody.knows", **headers)
    yield message(body([token]), task=token, id=token, **headers)
    yield message(body([token]), task="celery.map", argsrepr=f"({token!r},)", **headers)
    yield message(body([token]), task="transfer.cleanup", **headers)
    yield message(f'{{"{token}"', **headers)
    yield message(token, content_type="application/x-python-serialize", **headers)
    yield message(body(), content_type=f"application/{token}"[:255], **headers)
    yield message(body(), shadow=f"upload {token[:200]}", argsrepr=f"({token!r},)", **headers)
    yield message(body(["/x"]), argosy_tokens=token, authorization=f"Bearer {token}")
    note = {"task": "somebody.note", "args": [token], "kwargs": {}, "options": {"queue": QUEUE}}
    for rides in ("callbacks", "errbacks", "chain"):
        yield message(body(["/x"], rides={rides: [note]}), **headers)


def _chained(sender: Sender, source: Path) -> AsyncResult:
    """An agent's own task follows, and another request, each with the token where it belongs."""
    app = sender_app(sender)
    note = app.signature("somebody.note", immutable=True, queue=QUEUE)
    note.set(headers=dict(sender.headers))
    first = app.signature("transfer.upload", (str(source),), exchange="argosy.requests")
    first.set(routing_key="argosy.requests", declare=[], headers=dict(sender.headers))
    return (first | note).apply_async(link_error=note.clone()).parent


def sender_app(sender: Sender) -> Any:
    from celery import current_app

    return current_app._get_current_object()


def _fail_in_every_way(deployment: Deployment, sender: Sender, spool: Path) -> list[AsyncResult]:
    """With a good token: what a row and a result hold is what went wrong."""
    closed = f"closed-{uuid4().hex[:12]}"
    insert = "INSERT INTO storage.buckets (id, name) VALUES (:name, :name) RETURNING id"
    deployment.query(insert, name=closed)
    cargo, large = spool / "cargo.bin", spool / "large.bin"
    nobody = Sender(new_agent(deployment))
    nobody.headers = {TOKEN_HEADER: sender.headers[TOKEN_HEADER][:-4] + "AAAA"}
    disabled = Sender(new_agent(deployment))
    deployment.query(
        "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id RETURNING id",
        id=disabled.agent.id,
    )
    return [
        sender.upload(spool / "missing.bin"),
        sender.upload(cargo, bucket=closed),
        sender.upload(large, bucket=closed),
        sender.upload(cargo, bucket="no-such-bucket"),
        sender.download({"bucket": "x"}, "/x"),
        nobody.upload(cargo),
        disabled.upload(cargo),
    ]


def _break_the_servers(deployment: Deployment, sender: Sender, spool: Path) -> list[AsyncResult]:
    """Each goes away while a large file moves, and comes back; a child of a worker dies too."""
    results = []
    for name in ("child", "supabase", "postgres", "valkey", "rabbitmq"):
        results.append(sender.upload(spool / "large.bin"))
        until(lambda result=results[-1]: _moves(deployment, result.id), what="the moving")
        if name == "child":
            _kill_a_child(deployment)
        else:
            deployment.stack_of(name).kill()
            deployment.stack_of(name).start()
    return results


def _seals(deployment: Deployment, results: list[AsyncResult]) -> list[str]:
    """Of messages that the fleet has sent."""
    sent = [(name, (result.id,)) for result in results for name in ("digest", "reassemble")]
    sent += [("chunk", (result.id, number)) for result in results for number in (1, 2)]
    return [seal(deployment.settings, f"transfer.{name}", told) for name, told in sent]


def _moves(deployment: Deployment, transfer_id: str) -> bool:
    rows = deployment.query(
        "SELECT 1 FROM argosy.chunks WHERE transfer_id = :id AND state = 'stored'", id=transfer_id
    )
    return bool(rows)


def _kill_a_child(deployment: Deployment) -> None:
    child = psutil.Process(deployment.stack_of("one").pid).children()[0]
    os.kill(child.pid, signal.SIGKILL)


def _said(result: AsyncResult) -> str:
    """What the client sees of an end: the exception, and its traceback."""
    try:
        return repr(result.get(timeout=RESULT_SECONDS))
    except Error as error:
        shown = traceback.format_exception(error)
        return "\n".join(
            [str(error), repr(error), repr(vars(error)), *shown, str(result.traceback)]
        )


def test_no_secret_is_written_or_shown(
    fragile: Deployment, session: dict[str, Any], canaries: dict[str, str]
) -> None:
    spool, agent = fragile.spool, session["agent"]
    sender = Sender(agent)
    sender.headers = {TOKEN_HEADER: session["access_token"]}
    cargo = fragile.make_file("cargo.bin", 1000)
    with (spool / "large.bin").open("wb") as file:
        file.truncate(400 * MB)
    workers = Workers(fragile)
    watched = Watcher(fragile)
    reference = sender.upload(cargo).get(timeout=RESULT_SECONDS)
    urls = _signed_urls(fragile, reference["path"])
    canaries = {**canaries, **{name: value for name, value in urls.items() if " " in name}}
    with watched:
        results = [
            sender.download(reference, spool / "back.bin"),
            _chained(sender, cargo),
            _chained(sender, spool / "missing.bin"),
            *_fail_in_every_way(fragile, sender, spool),
        ]
        results += [do(sender) for do in _mistakes(canaries["access token"], urls, spool)]
        with post(fragile) as send:
            for made in _raw_mistakes(canaries["access token"]):
                send(made)
        said = [_said(result) for result in results]
    broken = _break_the_servers(fragile, sender, spool)
    said += [_said(result) for result in broken]
    canaries |= {f"seal {n}": mark for n, mark in enumerate(_seals(fragile, broken))}
    assert any("exited with" in line or "WorkerLost" in line for line in workers.complaints())
    _settled(fragile, sender, spool)
    places = {
        "what clients see": "\n".join(said),
        "the logs": _logs(fragile),
        "the rows": _rows(fragile),
        "the results": _results(fragile),
        "Flower": watched.pages() + _flower(fragile),
        "command lines": _command_lines(fragile),
        "files of the fleet": _files(fragile),
    }
    found = [(name, place) for place, text in places.items() for name in _in(text, canaries)]
    assert found == [], {
        place: [line[:2000] for line in places[place].splitlines() if canaries[name] in line][:3]
        for name, place in found
    }
    for place in ("the rows", "the results", "Flower", "what clients see"):
        assert str(agent.id) in places[place], place  # so it was looked at
    assert "message.refused" in places["the logs"]
    assert "argosy flower" in places["command lines"]


def _in(text: str, canaries: dict[str, str]) -> list[str]:
    """The names of those that are found, also as they would stand in a URL or in JSON."""
    return [
        name
        for name, value in canaries.items()
        if {value, quote(value, safe=""), json.dumps(value)[1:-1]} & _parts(text, value)
    ]


def _parts(text: str, value: str) -> set[str]:
    ways = (value, quote(value, safe=""), json.dumps(value)[1:-1])
    return {way for way in ways if way in text}


def _settled(deployment: Deployment, sender: Sender, spool: Path) -> None:
    """Everything that was sent has been met: later requests are done, by every child."""
    for result in [sender.upload(spool / "cargo.bin") for _ in range(8)]:
        result.get(timeout=RESULT_SECONDS)


# Where to look


class Watcher:
    """Reads Flower's pages all the while: it shows what is going on now."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._seen: list[str] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def pages(self) -> str:
        return "\n".join(self._seen)

    def _watch(self) -> None:
        while not self._done.wait(0.5):
            inspect = self._deployment.app.control.inspect(timeout=0.5)
            for look in (inspect.active, inspect.reserved, inspect.scheduled, inspect.revoked):
                self._seen.append(repr(look()))


def _flower(deployment: Deployment) -> str:
    """Every page and every answer of its API."""
    assert deployment.stack
    url = next(server for server in deployment.stack.servers if server.name == "flower").url
    with httpx.Client(base_url=url, timeout=30) as client:
        until(lambda: client.get("/api/workers?refresh=1").is_success, what="Flower's workers")
        workers = client.get("/api/workers").json()
        tasks = client.get("/api/tasks?limit=1000").json()
        asked = [
            *("/", "/workers", "/workers?json=1", "/tasks", "/broker", "/metrics", "/healthcheck"),
            *("/api/workers", "/api/task/types", "/api/queues/length", "/api/tasks?limit=1000"),
            *(f"/worker/{name}" for name in workers),
            *(f"/task/{task_id}" for task_id in tasks),
            *(f"/api/task/info/{task_id}" for task_id in tasks),
            *(f"/api/task/result/{task_id}" for task_id in list(tasks)[:50]),
        ]
        answers = [client.get(quote(path, safe="/?=&@")) for path in asked]
        table = {"draw": 1, "start": 0, "length": 1000, "search[value]": "", "order[0][column]": 0}
        table |= {"columns[0][data]": "name", "order[0][dir]": "asc"}
        answers.append(client.post("/tasks/datatable", data=table))
    assert tasks
    assert workers
    assert sum(answer.is_success for answer in answers) > len(tasks)
    return "\n".join(answer.text for answer in answers)


def _logs(deployment: Deployment) -> str:
    logs = (deployment.data / "logs").iterdir()
    return "\n".join(log.read_text(errors="replace") for log in logs)


def _files(deployment: Deployment) -> str:
    """What beat and Flower keep, and what was noted of processes."""
    folders = (deployment.data / "state", deployment.data / "run")
    files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return "\n".join(path.read_bytes().decode("latin-1") for path in files)


def _rows(deployment: Deployment) -> str:
    """Every row of every table of schema argosy, and of what Storage keeps of objects."""
    tables = deployment.query(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
        "WHERE schemaname IN ('argosy', 'storage')"
    )
    assert len(tables) > 8
    rows = [
        row.it
        for table in tables
        for row in deployment.query(f"SELECT t::text AS it FROM {table.name} t")
    ]
    return "\n".join(rows)


def _results(deployment: Deployment) -> str:
    """Every key of Valkey with its value, whatever its type."""
    read = {
        "string": lambda store, key: store.get(key),
        "list": lambda store, key: store.lrange(key, 0, -1),
        "set": lambda store, key: store.smembers(key),
        "zset": lambda store, key: store.zrange(key, 0, -1),
        "hash": lambda store, key: store.hgetall(key),
    }
    found = []
    for number in range(4):
        url = deployment.environment["RESULT_URL"].rpartition("/")[0] + f"/{number}"
        with redis.Redis.from_url(url, decode_responses=True) as store:
            kinds = ((key, store.type(key)) for key in store.scan_iter(count=1000))
            # One that has expired since it was listed is of no kind.
            found += [f"{key} {read[kind](store, key)}" for key, kind in kinds if kind != "none"]
    return "\n".join(found)


def _command_lines(deployment: Deployment) -> str:
    assert deployment.stack
    mains = [psutil.Process(server.pid) for server in deployment.stack.servers if server.pid]
    every = [process for main in mains for process in (main, *main.children(recursive=True))]
    return "\n".join(map(" ".join, of_each(every, psutil.Process.cmdline)))


# What is left in the broker


def test_refused_messages_are_not_kept(fragile: Deployment) -> None:
    """With their tokens they would be among the dead letters for good."""
    with Connection(fragile.environment["BROKER_URL"]) as connection:
        channel = connection.default_channel
        letters = list(iter(lambda: channel.basic_get("argosy.dead", no_ack=True), None))
    assert [letter.headers for letter in letters if TOKEN_HEADER in letter.headers] == []
