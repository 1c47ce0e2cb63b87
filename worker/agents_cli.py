"""The commands `argosy agents ...`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING

import click

from argosy.settings import LEAST_RATE, FleetSettings, load
from models import Agent, Role
from worker.amounts import Amount, NoLimit, Size

if TYPE_CHECKING:
    from worker.agents import Credentials

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_FIELDS = ("name", "id", "role", "state", "created", "limits")
_COLUMNS = {
    "stored": "max_bytes",
    "per_day": "max_bytes_per_day",
    "at_once": "max_transfers",
    "rate": "bytes_per_second",
    "weight": "weight",
}
"""Of an agent's row, by what its limits are called here."""


@click.group()
def agents() -> None:
    """The agents that the fleet knows."""


@agents.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default=str(Role.WORKER),
    show_default=True,
    help="What it may do at all: see docs/access.md.",
)
@json_option
def add(*, name: str, role: str, as_json: bool) -> None:
    """Create agent NAME and print what it connects with, once.

    Example: argosy agents add weather --role reader
    """
    from worker.agents import add_agent

    settings = load(FleetSettings)
    _print(add_agent(settings, name, Role(role)), as_json=as_json)
    _note(settings, f"rotate-key {name}")


@agents.command("rotate-key")
@click.argument("name")
@json_option
def rotate_key(*, name: str, as_json: bool) -> None:
    """Give agent NAME a new key and broker password, and print them, once.

    Example: argosy agents rotate-key weather
    """
    from worker.agents import rotate_key as rotate

    settings = load(FleetSettings)
    _print(rotate(settings, name), as_json=as_json)
    _note(settings, f"rotate-key {name}")


@agents.command("disable")
@click.argument("name")
@json_option
def disable(*, name: str, as_json: bool) -> None:
    """Shut agent NAME out: of Storage at once, then of Auth and of the broker.

    Example: argosy agents disable weather
    """
    from worker.agents import disable_agent

    settings = load(FleetSettings)
    disable_agent(settings, name)
    _say_state(name, "disabled", as_json=as_json)
    _note(settings, f"disable {name}")


@agents.command("enable")
@click.argument("name")
@json_option
def enable(*, name: str, as_json: bool) -> None:
    """Let agent NAME in again.

    Example: argosy agents enable weather
    """
    from worker.agents import enable_agent
    from worker.broker_api import why_none

    settings = load(FleetSettings)
    at_broker = enable_agent(settings, name)
    _say_state(name, "enabled", as_json=as_json)
    if not at_broker and not why_none(settings):
        click.echo(
            f"It has no broker user yet: `argosy agents rotate-key {name}` makes one.", err=True
        )
    _note(settings, f"enable {name}")


@agents.command("limit")
@click.argument("name")
@click.option("--stored", type=Size(), help="Bytes that it may have in Storage.")
@click.option("--per-day", type=Size(), help="Bytes that it may move in 24 hours.")
@click.option("--at-once", type=Amount(1), help="Transfers of it at once.")
@click.option("--rate", type=Size(LEAST_RATE), help="Bytes a second that are moved for it.")
@click.option("--weight", type=click.IntRange(1, 1000), help="Its share of a busy fleet.")
@json_option
def limit(*, name: str, as_json: bool, **given: int | NoLimit | None) -> None:
    """Limit agent NAME, as by `--stored 10GB --rate 5MB`; `none` gives it the fleet's own limit.

    What is not given stays as it is. A rate holds within a minute, also for what is on its
    way; the others from the next transfer on.

    Example: argosy agents limit weather --stored 10GB --rate 5MB
    """
    from worker.agents import limit_agent

    wanted = {
        _COLUMNS[what]: None if amount is NoLimit.NONE else amount
        for what, amount in given.items()
        if amount is not None
    }
    if not wanted:
        raise click.UsageError("Say which limit: see `argosy agents limit --help`.")
    agent = limit_agent(load(FleetSettings), name, **wanted)
    limits = _limits(agent)
    told = {"name": name, "limits": limits}
    click.echo(json.dumps(told) if as_json else f"Agent {name}: {_in_words(limits)}.")


@agents.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """Show every agent.

    Example: argosy agents list --json
    """
    from worker.agents import list_agents

    found = list_agents(load(FleetSettings))
    click.echo(_as_json(found) if as_json else _as_table(found))


def _say_state(name: str, state: str, *, as_json: bool) -> None:
    told = {"name": name, "state": state}
    click.echo(json.dumps(told) if as_json else f"Agent {name} is {state}.")


def _print(credentials: Credentials, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**asdict(credentials), "id": str(credentials.id)}))
        return
    told = {"ARGOSY_AGENT": credentials.name, "ARGOSY_AGENT_KEY": credentials.key}
    if credentials.broker_url:
        told["BROKER_URL"] = credentials.broker_url
    for name, value in told.items():
        click.echo(f"export {name}={quote(value)}")


def _note(settings: FleetSettings, again: str) -> None:
    """Say so when nothing was done at the broker."""
    from worker.broker_api import why_none

    if why := why_none(settings):
        is_rabbitmq = settings.broker_url.startswith("amqp")
        then = f" Then run `argosy agents {again}`." if is_rabbitmq else ""
        click.echo(why + then, err=True)


def _as_json(found: Iterable[Agent]) -> str:
    documents = [
        {
            "name": agent.name,
            "id": str(agent.id),
            "role": agent.role,
            "disabled_at": agent.disabled_at and agent.disabled_at.isoformat(),
            "created_at": agent.created_at.isoformat(),
            "limits": _limits(agent),
        }
        for agent in found
    ]
    return json.dumps(documents, indent=2)


def _as_table(found: Iterable[Agent]) -> str:
    rows = [_FIELDS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(agent: Agent) -> tuple[str, ...]:
    since, created = agent.disabled_at, f"{agent.created_at:%Y-%m-%d %H:%M %Z}"
    state = f"disabled since {since:%Y-%m-%d %H:%M %Z}" if since else "enabled"
    return agent.name, str(agent.id), agent.role, state, created, _in_words(_limits(agent))


def _limits(agent: Agent) -> dict[str, int | None]:
    """Its own; None is the fleet's."""
    return {what: getattr(agent, column) for what, column in _COLUMNS.items()}


def _in_words(limits: Mapping[str, int | None]) -> str:
    """What differs from the fleet's own limits."""
    from rich.filesize import decimal

    words = {
        "stored": lambda count: f"{decimal(count)} stored",
        "per_day": lambda count: f"{decimal(count)} a day",
        "at_once": lambda count: f"{count} at once",
        "rate": lambda count: f"{decimal(count)}/s",
        "weight": lambda count: f"weight {count}" if count != 1 else "",
    }
    told = [words[what](count) for what, count in limits.items() if count is not None]
    return ", ".join(filter(None, told)) or "the fleet's own limits"
