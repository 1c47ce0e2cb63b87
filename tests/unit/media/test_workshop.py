"""A decoder that dies, lies or never ends kills one process, and the next file is served."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import billiard
import psutil
import pytest
from PIL import Image

from argosy.errors import DamagedFile, DecoderStopped, InternalError, MediaError
from media import landlock
from media.source import TrafficExceeded
from media.thumbnail import ThumbnailOptions
from media.workshop import Limits, Workshop
from tests.corpus.pictures import encoded, plain
from tests.deployment import until
from tests.unit.media.memory_source import MemorySource

BAD = "tests.unit.media.bad_decoder"
LIMITS = Limits(memory_mb=512, cpu_seconds=1, seconds=20)
OPTIONS = ThumbnailOptions((64,))
GONE_SECONDS = 15


@pytest.fixture(scope="module")
def bad() -> Iterator[Workshop]:
    """Its decoder does what a file's name says."""
    with Workshop(LIMITS, decoder=BAD) as made:
        yield made


@pytest.fixture(scope="module")
def good() -> Iterator[Workshop]:
    with Workshop(Limits()) as made:
        yield made


def do(workshop: Workshop, name: str, **options: object) -> object:
    source = options.pop("source", None) or MemorySource(b"x" * 100)
    return workshop.inspect(
        source, name=name, declared_type="", private=False, traffic=10**9, **options
    )


def said(workshop: Workshop, name: str, **options: object) -> str:
    with pytest.raises(DamagedFile) as caught:
        do(workshop, name, **options)
    return caught.value.message


def has_no_child(workshop: Workshop) -> bool:
    return not psutil.Process(workshop.server_pid).children()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("allocate", "ended with 1"),
        ("spin", "1 s of processor time"),
        ("fall", "SIGSEGV"),
        ("leave", "ended with 7"),
        ("babble", "no decoder answers"),
        ("boast", "no decoder answers"),
        ("no-document", "no decoder answers"),
        ("soil", "no decoder answers"),
        ("wrong-code", "no decoder answers"),
    ],
)
def test_one_process_dies_and_the_next_works(bad: Workshop, name: str, words: str) -> None:
    with pytest.raises(DecoderStopped, match=words):
        do(bad, name)
    assert has_no_child(bad)
    assert do(bad, "behave").kind == "other"


@pytest.mark.parametrize("name", ["never-read", "sleep", "stutter"])
def test_what_takes_too_long_is_ended(name: str) -> None:
    with Workshop(Limits(seconds=1), decoder=BAD) as hasty:
        with pytest.raises(DecoderStopped, match="more than 1 s for the file"):
            do(hasty, name)
        assert has_no_child(hasty)
        hasty.limits = LIMITS
        assert do(hasty, "behave").kind == "other"


def test_an_answer_to_another_question_is_none(bad: Workshop) -> None:
    with pytest.raises(DecoderStopped, match="not asked"):
        bad.thumbnails(MemorySource(b"x"), OPTIONS)


def test_memory_that_was_wanted_is_not_had() -> None:
    with Workshop(LIMITS, decoder=BAD) as workshop:
        with pytest.raises(DecoderStopped):
            do(workshop, "allocate")
        assert 200 < workshop.usage.memory / 2**20 < 512
        assert workshop.usage.stopped == workshop.usage.jobs == 1


def test_a_real_picture_beyond_the_memory_is_refused() -> None:
    content = encoded(Image.new("L", (9000, 9000)), "PNG", compress_level=1)
    with Workshop(Limits(memory_mb=256)) as small:
        with pytest.raises(DecoderStopped, match="memory"):
            small.thumbnails(MemorySource(content), OPTIONS)
        assert small.thumbnails(MemorySource(plain("png")), OPTIONS)


def test_a_child_has_its_limits_and_nothing_else(bad: Workshop) -> None:
    mb = 512 * 1024 * 1024
    assert said(bad, "limits") == str([(mb, mb), (1, 2), (0, 0), (0, 0)])
    assert said(bad, "environment") == "0"
    assert said(bad, "descriptors") == "[0, 1, 2, 3]"


@pytest.mark.skipif(landlock.version() < 4, reason="the kernel's Landlock is too old, or none")
@pytest.mark.parametrize("name", ["connect", "read-file", "read-parent", "write-file"])
def test_a_child_reaches_nothing(bad: Workshop, name: str) -> None:
    assert said(bad, name) == "PermissionError"


def test_what_a_child_leaves_behind_is_killed(bad: Workshop) -> None:
    pid = int(said(bad, "leave-a-child"))
    assert is_gone(pid)


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + GONE_SECONDS
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_nothing_is_read_outside_the_file(bad: Workshop) -> None:
    source = MemorySource(b"x" * 100)
    assert said(bad, "read-outside", source=source) == "0"
    assert source.reads == []


def test_what_the_source_raises_arrives_unchanged(bad: Workshop) -> None:
    class Broken(MemorySource):
        def read(self, offset: int, length: int) -> bytes:
            raise error

    error = LookupError("no such object")
    with pytest.raises(LookupError) as caught:
        do(bad, "read-all", source=Broken(b"x" * 100))
    assert caught.value is error
    assert has_no_child(bad)


def test_a_check_stops_a_job_while_it_runs(bad: Workshop) -> None:
    class Cancelled(Exception):
        pass

    calls = []

    def check() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            raise Cancelled

    started = time.monotonic()
    with pytest.raises(Cancelled):
        do(bad, "sleep", check=check)
    assert calls[-1] - started > 1
    assert has_no_child(bad)


def test_traffic_is_counted_and_ends(good: Workshop) -> None:
    source = MemorySource(plain("bmp") + bytes(1_000_000))
    facts = good.inspect(source, name="a", declared_type="", private=False, traffic=200_000)
    assert facts.kind == "image"
    assert source.fetched <= 200_000
    with pytest.raises(DecoderStopped, match="may fetch"):
        good.thumbnails(source, OPTIONS, traffic=70_000)


def test_threads_may_share_one(good: Workshop) -> None:
    content = plain("jpg")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: good.thumbnails(MemorySource(content), OPTIONS), range(20)))
    assert len({one[0].data for one in made}) == 1
    assert has_no_child(good)


def kill_at_work(pid: int) -> None:
    """Once it has forked a child."""
    server = psutil.Process(pid)
    until(server.children, what="a child")
    server.kill()


def test_a_server_that_was_killed_is_started_again() -> None:
    with Workshop(LIMITS, decoder=BAD) as workshop:
        do(workshop, "behave")
        first = workshop.server_pid
        assert has_no_child(workshop)
        threading.Thread(target=kill_at_work, args=(first,)).start()
        with pytest.raises(InternalError, match="forked from ended"):
            do(workshop, "sleep")
        assert do(workshop, "behave").kind == "other"
        assert workshop.server_pid != first


def test_no_signal_to_the_group_reaches_it(good: Workshop) -> None:
    good.thumbnails(MemorySource(plain("png")), OPTIONS)
    assert os.getsid(good.server_pid) != os.getsid(0)
    assert os.getpgid(good.server_pid) != os.getpgid(0)


def test_a_forked_child_has_its_own(good: Workshop) -> None:
    """As a Celery child: billiard's, daemonic, and forked when its parent had a server already."""
    good.thumbnails(MemorySource(plain("png")), OPTIONS)

    def in_child() -> None:
        made = good.thumbnails(MemorySource(plain("png")), OPTIONS)
        told.put((len(made), good.server_pid))
        good.close()

    context = billiard.get_context("fork")
    told = context.Queue()
    child = context.Process(target=in_child, daemon=True)
    child.start()
    count, pid = told.get(timeout=30)
    child.join(30)
    assert (count, child.exitcode) == (1, 0)
    assert pid != good.server_pid
    assert is_gone(pid)
    assert good.thumbnails(MemorySource(plain("png")), OPTIONS)


PARENT = f"""
import os, sys, threading
from media.workshop import Limits, Workshop
from tests.unit.media.memory_source import MemorySource
workshop = Workshop(Limits(cpu_seconds=600, seconds=600), decoder={BAD!r})
def run(name):
    workshop.inspect(MemorySource(b"x"), name=name, declared_type="", private=False, traffic=9)
run("behave")
threading.Thread(target=run, args=("spin",), daemon=True).start()
threading.Thread(target=run, args=("sleep",), daemon=True).start()
print(workshop.server_pid, flush=True)
if sys.argv[1] == "heir":
    os.fork()
sys.stdin.read()
"""


@pytest.mark.parametrize("heir", ["heir", "none"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_nothing_stays_when_the_parent_is_killed(number: signal.Signals, heir: str) -> None:
    """Not even if a process forked from it lives on and holds all of its sockets."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, heir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with parent:
        server = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + GONE_SECONDS
        while len(children := server.children()) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(children) == 2
        parent.send_signal(number)
        _, alive = psutil.wait_procs([server, *children], GONE_SECONDS)
        assert alive == []


def test_closing_ends_every_process() -> None:
    workshop = Workshop(LIMITS, decoder=BAD)
    do(workshop, "behave")
    pid = workshop.server_pid
    workshop.close()
    assert not psutil.pid_exists(pid)
    assert do(workshop, "behave").kind == "other"
    workshop.close()


def test_refusals_keep_their_class(good: Workshop) -> None:
    with pytest.raises(MediaError) as caught:
        good.thumbnails(MemorySource(b"no picture"), OPTIONS)
    assert caught.value.code == "unsupported_type"
    assert not isinstance(caught.value, TrafficExceeded)
