"""The command `demo`: a stack, a fleet, an agent, files there and back, and the end of it all."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import get_args
from uuid import uuid4

import click
from rich.console import Console

from argosy import Error
from argosy.settings import AgentSettings
from local.demo.agent import Agent
from local.demo.cargo import MIB, cargo, check, check_room
from local.demo.failed import DemoFailed
from local.demo.show import Follower, console, table
from local.demo.voyage import there_and_back
from local.environment_file import exported
from local.folder_lock import FolderTaken
from local.servers import ServerFailed
from local.servers.fleet import ARGOSY, Flower
from local.servers.supabase import python_environment
from local.stack import Broker, Stack
from local.watch import Watch

_EXPECTED = (DemoFailed, Error, ServerFailed, FolderTaken)


@click.command()
@click.option("--file", type=click.Path(path_type=Path), help="Carry this file, not made ones.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Not a new folder.")
@click.option(
    "--size-mib",
    type=click.IntRange(0),
    default=256,
    show_default=True,
    help="Size of the large one of those that are made.",
)
@click.option(
    "--broker",
    type=click.Choice(get_args(Broker)),
    default="auto",
    show_default=True,
    help="auto is RabbitMQ where it is installed, else Valkey.",
)
@click.option("--keep", is_flag=True, help="Leave it all running until Ctrl-C.")
@click.option("--reason-to", type=click.Path(path_type=Path), hidden=True)
def demo(
    *,
    file: Path | None,
    data: Path | None,
    size_mib: int,
    broker: Broker,
    keep: bool,
    reason_to: Path | None,
) -> None:
    """Carry files up and down through a fleet of this machine, and compare.

    The last line of the output is the reason when anything fails.

    Example: argosy demo --size-mib 64 --keep
    """
    _heed_termination()
    try:
        with ExitStack() as ending:
            source = check(file) if file else None
            folder = data or Path(ending.enter_context(_temporary()))
            stack = ending.enter_context(Stack(folder, broker=broker))
            _run(stack, source, size_mib * MIB, keep=keep)
            if data is None:
                stack.kill()  # much faster than in order, and nothing is to be kept
    except KeyboardInterrupt:
        _fail("Interrupted.", reason_to, code=130)
    except Exception as error:  # whatever it is, the last line says it
        if not isinstance(error, _EXPECTED):
            traceback.print_exc()
        _fail(_described(error), reason_to)


def _run(stack: Stack, source: Path | None, size: int, *, keep: bool) -> None:
    output = console()
    check_room(stack.data, source.stat().st_size if source else size)
    flower = _start(stack, output)
    settings = _add_agent(stack)
    with cargo(stack.spool, file=source, size=size) as items, _agent(settings) as agent:
        carried = there_and_back(agent, items, stack.servers, Follower(output))
    _end_if_asked()
    table(output, carried)
    output.print(f"Flower  {flower.url}", "" if keep else "(gone now; --keep leaves it there)")
    if keep:
        _stay(stack, output)


def _start(stack: Stack, output: Console) -> Flower:
    with _step(output, "PostgreSQL, Valkey, the broker and Supabase"):
        stack.start_servers()
    with _step(output, "the schema and the buckets"):
        _argosy(stack, "bootstrap")
    with _step(output, "two workers and beat"):
        stack.start_worker("worker1")
        stack.start_worker("worker2")
        stack.start_beat()
    with _step(output, "Flower"):
        return stack.start_flower()


@contextmanager
def _step(output: Console, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    _end_if_asked()
    output.print(f"  [green]✓[/] {what} [dim]{time.monotonic() - began:.1f} s[/]")


def _add_agent(stack: Stack) -> AgentSettings:
    """A new agent, made as an operator does; what it is told is all it knows."""
    printed = _argosy(stack, "agents", "add", f"demo-{uuid4().hex[:8]}")
    told = {**stack.agent_environment, **exported(printed)}
    return AgentSettings(
        supabase_url=told["SUPABASE_URL"],
        supabase_anon_key=told["SUPABASE_ANON_KEY"],
        broker_url=told["BROKER_URL"],
        result_url=told["RESULT_URL"],
        agent=told["ARGOSY_AGENT"],
        agent_key=told["ARGOSY_AGENT_KEY"],
        session_dir=told["ARGOSY_SESSION_DIR"],
    )


def _argosy(stack: Stack, *arguments: str) -> str:
    done = subprocess.run(
        [ARGOSY, *arguments],
        env=python_environment(stack.operator_environment),
        cwd=stack.data,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise DemoFailed(f"`argosy {arguments[0]}` failed: {_last_line(said)}\n{said}")
    return done.stdout


def _last_line(said: str) -> str:
    return said.rpartition("\n")[2].strip()


@contextmanager
def _agent(settings: AgentSettings) -> Iterator[Agent]:
    agent = Agent(settings)
    try:
        yield agent
    finally:
        agent.close()


@contextmanager
def _temporary() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="argosy-demo-", ignore_cleanup_errors=True) as folder:
        yield folder


def _stay(stack: Stack, output: Console) -> None:
    output.print("Everything stays until Ctrl-C.")
    watch = Watch(lambda: stack.servers, lambda said: output.print(said, markup=False))
    try:
        while True:
            watch.look()
            time.sleep(0.5)
    except KeyboardInterrupt:
        output.print("Ending everything.")


_asked_to_end: list[int] = []
"""Signals that have come. What a handler raises is lost where Python runs a callback of its own."""


def _end_if_asked() -> None:
    if _asked_to_end:
        sys.exit(128 + _asked_to_end[0])


def _heed_termination() -> None:
    def end(number: int, _frame: FrameType | None) -> None:
        _asked_to_end.append(number)
        _end_if_asked()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, end)


def _described(error: Exception) -> str:
    if isinstance(error, _EXPECTED):
        return str(error)
    return " ".join([f"{type(error).__name__}:", *str(error).split()])


def _fail(what: str, reason_to: Path | None, code: int = 1) -> None:
    """Print everything there is to say, and the reason alone on the last line."""
    reason, _, details = what.strip().partition("\n")
    if details:
        click.echo(f"{reason}\n{details}", err=True)
    if reason_to:
        reason_to.write_text(reason.removesuffix("."))  # make ends the sentence
    else:
        click.echo(f"The demo failed: {reason}", err=True)
    sys.exit(code)
