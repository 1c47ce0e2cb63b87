"""The commands `argosy agents ...`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from argosy.settings import FleetSettings, load
from models import Agent, Role

if TYPE_CHECKING:
    from worker.agents import Credentials

_FIELDS = ("name", "id", "role", "state", "created")


@click.group()
def agents() -> None:
    """The agents that the fleet knows."""


@agents.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), default=str(Role.WORKER))
def add(name: str, role: str) -> None:
    """Create agent NAME and print what it connects with, once."""
    from worker.agents import add_agent

    settings = load(FleetSettings)
    _print(add_agent(settings, name, Role(role)))
    _note(settings, f"rotate-key {name}")


@agents.command("rotate-key")
@click.argument("name")
def rotate_key(name: str) -> None:
    """Give agent NAME a new key and broker password, and print them, once."""
    from worker.agents import rotate_key as rotate

    settings = load(FleetSettings)
    _print(rotate(settings, name))
    _note(settings, f"rotate-key {name}")


@agents.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Shut agent NAME out: of Storage at once, then of Auth and of the broker."""
    from worker.agents import disable_agent

    settings = load(FleetSettings)
    disable_agent(settings, name)
    click.echo(f"Agent {name} is disabled.")
    _note(settings, f"disable {name}")


@agents.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Let agent NAME in again."""
    from worker.agents import enable_agent
    from worker.broker_users import why_none

    settings = load(FleetSettings)
    at_broker = enable_agent(settings, name)
    click.echo(f"Agent {name} is enabled.")
    if not at_broker and not why_none(settings):
        click.echo(
            f"It has no broker user yet: `argosy agents rotate-key {name}` makes one.", err=True
        )
    _note(settings, f"enable {name}")


@agents.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_(*, as_json: bool) -> None:
    """Show every agent."""
    from worker.agents import list_agents

    found = list_agents(load(FleetSettings))
    click.echo(_as_json(found) if as_json else _as_table(found))


def _print(credentials: Credentials) -> None:
    click.echo(f"ARGOSY_AGENT={credentials.name}\nARGOSY_AGENT_KEY={credentials.key}")
    if credentials.broker_url:
        click.echo(f"BROKER_URL={credentials.broker_url}")


def _note(settings: FleetSettings, again: str) -> None:
    """Say so when nothing was done at the broker."""
    from worker.broker_users import why_none

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
    since = agent.disabled_at
    state = f"disabled since {since:%Y-%m-%d %H:%M %Z}" if since else "enabled"
    return agent.name, str(agent.id), agent.role, state, f"{agent.created_at:%Y-%m-%d %H:%M %Z}"
