"""`argosy up`, or `python -m local up`: the whole deployment on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import get_args

import click
from rich.console import Console

from local import environment_file
from local.demo import demo
from local.folder_lock import FolderTaken
from local.servers import ServerFailed
from local.servers.fleet import Flower
from local.servers.rabbitmq import RabbitMQ
from local.stack import Broker, Stack
from local.watch import Watch

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

console = Console(highlight=False, soft_wrap=True)


@click.group()
def main() -> None:
    """One machine standing in for the whole deployment."""


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".argosy"),
    show_default=True,
    help="The folder of everything: databases, files, logs, secrets.",
)
@click.option(
    "--workers", type=click.IntRange(min=0), default=2, show_default=True, help="How many."
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Processes of each worker.",
)
@click.option(
    "--broker",
    type=click.Choice(get_args(Broker)),
    default="auto",
    show_default=True,
    help="auto is RabbitMQ where it is installed, else Valkey.",
)
@click.option(
    "--flower/--no-flower", default=True, show_default=True, help="With the operators' page."
)
def up(*, data: Path, workers: int, concurrency: int, broker: Broker, flower: bool) -> None:
    """Start everything, say how an agent connects, and end everything on Ctrl-C.

    Servers and fleet run on this machine alone, on free ports, out of one folder.

    Example: argosy up --data /tmp/argosy
    """
    try:
        stack = Stack(data, broker=broker)
        _heed_signals(stack)
        with stack:
            _start(stack, workers, concurrency, flower=flower)
            _tell(stack)
            _look_after(stack)
    except KeyboardInterrupt:
        console.print("[green]Everything has ended.[/]")
    except (ServerFailed, FolderTaken) as error:
        raise click.ClickException(str(error)) from error


def _start(stack: Stack, workers: int, concurrency: int, *, flower: bool) -> None:
    with _step("PostgreSQL, Valkey and the broker"):
        stack.start_backends()
    with _step("Supabase"):
        stack.supabase.start()
    with _step("the schema and the buckets"):
        stack.bootstrap()
    for number in range(1, workers + 1):
        with _step(f"worker {number}"):
            stack.start_worker(f"worker{number}", concurrency, "--no-control")
    if workers:
        with _step("the worker for questions and cancellations"):
            stack.start_worker("control", 2, "--control")
    with _step("beat"):
        stack.start_beat()
    if flower:
        with _step("Flower"):
            stack.start_flower()


@contextmanager
def _step(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    console.print(f"  [green]✓[/] {what} [dim]{time.monotonic() - began:.1f} s[/]")


def _tell(stack: Stack) -> None:
    for_agents, for_operator = stack.data / "agent.env", stack.data / "operator.env"
    environment_file.write_for_agents(for_agents, stack.agent_environment)
    environment_file.write(for_operator, stack.operator_environment)
    console.print(f"\n[bold]An agent connects with[/]  . {for_agents}")
    console.print(
        f"and what is printed for it, once, by  . {for_operator}; argosy agents add NAME\n"
    )
    for name, value in environment_file.shown(stack.agent_environment).items():
        console.print(f"  {name}={value}", markup=False)
    console.print()
    for what, where in _pages(stack).items():
        console.print(f"  {what:<10} {where}", markup=False)
    console.print(f"\n[dim]Every secret is in {for_operator}. Ctrl-C ends it all.[/]")


def _pages(stack: Stack) -> dict[str, str]:
    pages = {s.name.title(): s.url for s in stack.servers if isinstance(s, Flower)}
    if isinstance(stack.rabbitmq, RabbitMQ):
        pages["RabbitMQ"] = (
            f"{stack.rabbitmq.management_url}  (user and password: ARGOSY_BROKER_API's)"
        )
    return {**pages, "logs": str(stack.data / "logs")}


def _look_after(stack: Stack) -> None:
    watch = Watch(lambda: stack.servers, _report)
    while True:
        watch.look()
        time.sleep(0.5)


def _report(text: str) -> None:
    console.print(f"[red]![/] {time.strftime('%H:%M:%S')} ", end="")
    console.print(text, markup=False)


def _heed_signals(stack: Stack) -> None:
    """The first signal ends the stack in order, the second one at once."""

    def at_once(number: int, _frame: FrameType | None) -> None:
        stack.kill_without_waiting()
        os._exit(128 + number)

    def in_order(_number: int, _frame: FrameType | None) -> None:
        _on_signals(at_once)
        console.print("\nEnding everything; once more to kill it at once.")
        raise KeyboardInterrupt

    _on_signals(in_order)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # see nohup
            signal.signal(number, handler)


main.add_command(demo)

if __name__ == "__main__":
    main(prog_name="python -m local")
