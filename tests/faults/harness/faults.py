"""What is broken, at random but by the seed. A kind of fault is a context manager.

It breaks something on its way in, mends it on its way out, and gives a word about what it hit.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psutil
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from local.servers.base import Server
from models.database import one_session
from tasks.seal import SEAL_HEADER, seal
from tests.faults.harness import http_proxy
from tests.faults.harness.load import Load
from tests.faults.harness.world import LEASE_SECONDS, SERVERS, World, processes_of, start_again

FLEET = "fleet"


@dataclass(frozen=True)
class Scene:
    """Where a fault takes place. `dice` is its own, from the seed."""

    world: World
    load: Load
    target: str
    dice: Random


Breaking = Callable[[Scene], AbstractContextManager[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: what it may hit, how often it comes compared with others, how long."""

    name: str
    targets: Sequence[str]
    weight: int
    seconds: tuple[float, float]
    breaking: Breaking


KINDS: dict[str, Kind] = {}


def fault(
    targets: Sequence[str], weight: int, seconds: tuple[float, float] = (0, 0)
) -> Callable[[Callable[[Scene], Iterator[str]]], Callable[[Scene], Iterator[str]]]:
    """Register a kind of fault."""

    def register(act: Callable[[Scene], Iterator[str]]) -> Callable[[Scene], Iterator[str]]:
        name = act.__name__
        KINDS[name] = Kind(name, targets, weight, seconds, contextlib.contextmanager(act))
        return act

    return register


# Processes of the fleet


def _children(world: World) -> list[psutil.Process]:
    """The prefork children of all workers."""
    return [child for worker in world.workers for child in processes_of(worker)[1:]]


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


@fault([FLEET], weight=4)
def kill_child(scene: Scene) -> Iterator[str]:
    """SIGKILL a worker's child; its worker makes another."""
    children = _children(scene.world)
    if children:
        _signal(scene.dice.choice(children), signal.SIGKILL)
    yield "a child of a worker" if children else "nobody was there"


@fault([FLEET], weight=3, seconds=(LEASE_SECONDS + 2, LEASE_SECONDS + 7))
def stop_child(scene: Scene) -> Iterator[str]:
    """SIGSTOP a worker's child until its lease has long ended."""
    children = _children(scene.world)
    chosen = [scene.dice.choice(children)] if children else []
    yield from _stopped(chosen, "a child of a worker")


@fault(["worker1", "worker2"], weight=2, seconds=(LEASE_SECONDS + 2, LEASE_SECONDS + 7))
def stop_worker(scene: Scene) -> Iterator[str]:
    """SIGSTOP a worker's main process; its children go on."""
    yield from _stopped(processes_of(scene.world.server(scene.target))[:1], scene.target)


@fault(["worker1", "worker2"], weight=3, seconds=(0, 5))
def kill_worker(scene: Scene) -> Iterator[str]:
    """SIGKILL a worker; it is started again after a while."""
    yield from _killed(scene.world.server(scene.target))


@fault(["beat"], weight=1, seconds=(2, 10))
def kill_beat(scene: Scene) -> Iterator[str]:
    """SIGKILL beat."""
    yield from _killed(scene.world.server("beat"))


@fault(["beat"], weight=1, seconds=(2, 10))
def stop_beat(scene: Scene) -> Iterator[str]:
    """SIGSTOP beat."""
    yield from _stopped(processes_of(scene.world.server("beat")), "beat")


@fault(["beat"], weight=1, seconds=(5, 20))
def two_beats(scene: Scene) -> Iterator[str]:
    """A second beat for a while: everything periodic comes twice."""
    second = scene.world.second_beat()
    start_again(second)
    yield "a second beat"
    second.kill()


def _stopped(processes: list[psutil.Process], who: str) -> Iterator[str]:
    for process in processes:
        _signal(process, signal.SIGSTOP)
    yield who
    for process in processes:
        _signal(process, signal.SIGCONT)


def _killed(server: Server) -> Iterator[str]:
    server.kill()
    yield server.name
    start_again(server)


# Servers


@fault(SERVERS, weight=5, seconds=(0, 6))
def kill_server(scene: Scene) -> Iterator[str]:
    """SIGKILL a server, and start it again after a while."""
    yield from _killed(scene.world.server(scene.target))


@fault(["rabbitmq", "postgres"], weight=1, seconds=(0, 3))
def restart_server(scene: Scene) -> Iterator[str]:
    """Have the broker or the database end in order, and start it again."""
    server = scene.world.server(scene.target)
    server.stop()
    yield scene.target
    start_again(server)


@fault(SERVERS, weight=3, seconds=(2, 10))
def stop_server(scene: Scene) -> Iterator[str]:
    """SIGSTOP a server and all its processes."""
    yield from _stopped(processes_of(scene.world.server(scene.target)), scene.target)


# The network


@fault(SERVERS, weight=4)
def reset_connections(scene: Scene) -> Iterator[str]:
    """Reset every connection of the fleet to a server."""
    proxy = scene.world.proxies[scene.target]
    count = scene.world.crossing.call(proxy.cut)
    yield f"{count} connections to {scene.target}"


@fault(SERVERS, weight=4, seconds=(3, 15))
def half_open(scene: Scene) -> Iterator[str]:
    """Forward nothing and tell nobody; then what was lost stays lost, or was only late."""
    proxy, is_lost = scene.world.proxies[scene.target], scene.dice.random() < 0.5
    proxy.is_silent = True
    yield f"{scene.target}, {'lost' if is_lost else 'late'}"
    if is_lost:
        scene.world.crossing.call(proxy.cut_silenced)
    proxy.is_silent = False


@fault(SERVERS, weight=3, seconds=(3, 10))
def slow_line(scene: Scene) -> Iterator[str]:
    """A bandwidth that collapses."""
    proxy, rate = scene.world.proxies[scene.target], scene.dice.choice((20_000, 200_000, 1_000_000))
    proxy.bytes_per_second = rate
    yield f"{scene.target}, {rate // 1000} kB/s for each connection"
    proxy.bytes_per_second = None


@fault(SERVERS, weight=3, seconds=(3, 10))
def long_line(scene: Scene) -> Iterator[str]:
    """A latency."""
    proxy, seconds = scene.world.proxies[scene.target], scene.dice.choice((0.02, 0.1, 0.4))
    proxy.delay_seconds = seconds
    yield f"{scene.target}, {seconds} s"
    proxy.delay_seconds = 0.0


# Storage's answers


def _trouble(scene: Scene, what: str, share: float) -> Iterator[str]:
    proxy = scene.world.storage
    before = proxy.befallen[what]
    proxy.trouble = http_proxy.Trouble(what, share, Random(scene.dice.random()))
    yield what
    proxy.trouble = None
    scene.load.journal.note("befell", trouble=what, requests=proxy.befallen[what] - before)


@fault(["answers"], weight=4, seconds=(2, 10))
def wrong_answers(scene: Scene) -> Iterator[str]:
    """429, 500, 503 or a gateway's page of HTML instead of Storage's own answer."""
    what = scene.dice.choice(sorted(http_proxy.ANSWERS))
    yield from _trouble(scene, what, scene.dice.choice((0.2, 0.6, 1.0)))


@fault(["answers"], weight=2, seconds=(2, 8))
def truncated_answers(scene: Scene) -> Iterator[str]:
    """Answers that end in the middle of their body."""
    yield from _trouble(scene, http_proxy.TRUNCATED, 0.5)


@fault(["answers"], weight=3, seconds=(2, 8))
def lost_answers(scene: Scene) -> Iterator[str]:
    """Storage does what was asked, and nobody hears of it."""
    yield from _trouble(scene, http_proxy.LOST, 0.5)


@fault(["answers"], weight=3, seconds=(2, 8))
def corrupted_uploads(scene: Scene) -> Iterator[str]:
    """A bit turned in the body of an upload."""
    yield from _trouble(scene, http_proxy.CORRUPTED, 0.5)


# Disk, clock, delivery


@fault(["disk"], weight=2, seconds=(3, 12))
def full_disk(scene: Scene) -> Iterator[str]:
    """The small disk is filled to the last byte; without one, no file may grow as large."""
    if scene.world.disk_is_small:
        yield from _filled(scene.world.cramped / "ballast")
    else:
        yield from _limited(_children(scene.world))


def _filled(ballast: Path) -> Iterator[str]:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
    yield f"{ballast.stat().st_size:,} bytes of ballast"
    ballast.unlink()


def _limited(children: list[psutil.Process]) -> Iterator[str]:
    pids, free = [child.pid for child in children], (resource.RLIM_INFINITY,) * 2
    _limit(pids, (64_000_000, resource.RLIM_INFINITY))
    yield "the size of files"
    _limit(pids, free)


def _limit(pids: list[int], limits: tuple[int, int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


_JUMPS = {
    "leases ended long ago": "lease_until = now() - interval '1 hour'",
    "leases end later": "lease_until = lease_until + interval '10 seconds'",
    "all is due": "republish_at = now() - interval '1 hour'",
    "nothing is due yet": "republish_at = republish_at + interval '10 seconds'",
}


@fault(["clock"], weight=3)
def clock_jump(scene: Scene) -> Iterator[str]:
    """What a jump of the database's clock would do to leases and due times."""
    name = scene.dice.choice(sorted(_JUMPS))
    condition = "lease_until IS NOT NULL" if "leases" in name else "true"
    rows = 0
    try:
        with one_session(scene.world.settings.operator_url) as session:
            for table in ("chunks", "transfers", "derivatives"):
                change = f"UPDATE argosy.{table} SET {_JUMPS[name]} WHERE {condition}"
                result: Any = session.execute(text(change + _STILL_LIVE[table]))
                rows += result.rowcount
    except DBAPIError as error:
        name += f": the database was away ({type(error.orig).__name__})"
    yield f"{name}, {rows} rows"


_STILL_LIVE = {
    "chunks": " AND state IN ('queued', 'moving')",
    "transfers": " AND state IN ('queued', 'assembling')",
    "derivatives": " AND state = 'due'",
}


@fault(["delivery"], weight=3)
def duplicate_message(scene: Scene) -> Iterator[str]:
    """A message of the fleet's own once more, with its seal, or one that was never due."""
    newest = "SELECT id FROM argosy.transfers ORDER BY created_at DESC LIMIT 30"
    try:
        ids = sorted(str(row.id) for row in scene.world.query(newest))
    except DBAPIError:
        ids = []
    sent = [_send_again(scene, task_id) for task_id in scene.dice.sample(ids, min(8, len(ids)))]
    yield ", ".join(sent) or "there was none yet"


def _send_again(scene: Scene, task_id: str) -> str:
    settings = scene.world.settings
    name = scene.dice.choice(("chunk", "chunk", "digest", "plan", "cleanup", "reassemble"))
    arguments = (task_id, scene.dice.randint(1, 4)) if name == "chunk" else (task_id,)
    task = f"transfer.{name}"
    options = {"task_id": task_id} if name in ("plan", "reassemble") else {}
    headers = {SEAL_HEADER: seal(settings, task, arguments)}
    scene.world.send_internal(task, arguments, headers, options)
    return name


@fault(["delivery"], weight=3)
def duplicate_request(scene: Scene) -> Iterator[str]:
    """An agent's request once more, under the same id."""
    alone = [one for one in scene.load.asked.values() if one.confirmed and not one.after]
    again = scene.dice.sample(alone[-20:], min(4, len(alone)))
    for one in again:
        scene.load.send_again(one)
    yield ", ".join(one.load for one in again) or "there was none yet"
