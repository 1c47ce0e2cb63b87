"""The command `argosy`."""

from __future__ import annotations

import sys

import click

from argosy.errors import Error
from argosy.settings import FleetSettings, SettingsError, load
from models import Role


@click.group()
@click.version_option(package_name="argosy-fleet")
def argosy() -> None:
    """Carry large files between software agents."""


@argosy.command()
@click.option("--concurrency", type=click.IntRange(1), help="Worker processes.")
@click.option("--name", default="argosy", show_default=True, help="Name of this worker.")
@click.option("--queues", help="Only these queues, comma-separated.")
def worker(concurrency: int | None, name: str, queues: str | None) -> None:
    """Run a worker of the fleet."""
    settings = load(FleetSettings)
    from worker.app import app, declare_topology

    declare_topology(settings)
    options = ["--concurrency", str(concurrency or settings.concurrency), "-n", f"{name}@%h"]
    if queues:
        options += ["-Q", queues]
    app.worker_main(["worker", "--without-mingle", "--without-gossip", *options])


@argosy.command()
def beat() -> None:
    """Run the clock of the fleet. One is enough; two do no harm."""
    settings = load(FleetSettings)
    from worker.app import app, declare_topology

    settings.state_dir.mkdir(parents=True, exist_ok=True)
    declare_topology(settings)
    app.start(["beat", "--pidfile", ""])


@argosy.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--broker-api", help="RabbitMQ management API, for the broker page.")
def flower(port: int | None, address: str, broker_api: str | None) -> None:
    """Run Flower, the page on which operators watch the fleet."""
    settings = load(FleetSettings)
    from worker.app import app

    options = [f"--port={port or settings.flower_port}", f"--address={address}"]
    if broker_api:
        options.append(f"--broker-api={broker_api}")
    app.start(["flower", *options])


@argosy.command()
@click.option("--revision", default="head", show_default=True)
def migrate(revision: str) -> None:
    """Bring schema `argosy` up to date."""
    load(FleetSettings)
    from worker.bootstrap import migrate as bring_up_to_date

    bring_up_to_date(revision)


@argosy.command()
def bootstrap() -> None:
    """Make a project ready: schema, policies, buckets. Safe to repeat."""
    settings = load(FleetSettings)
    from worker.bootstrap import ensure_buckets
    from worker.bootstrap import migrate as bring_up_to_date

    bring_up_to_date()
    changed = ensure_buckets(settings)
    click.echo(f"Buckets changed: {', '.join(changed) or 'none'}.")


@argosy.group()
def agents() -> None:
    """The agents that the fleet knows."""


@agents.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), default=str(Role.WORKER))
def agents_add(name: str, role: str) -> None:
    """Create agent NAME and print its key, once."""
    from worker.agents import add_agent

    added = add_agent(load(FleetSettings), name, Role(role))
    click.echo(f"ARGOSY_AGENT={added.name}\nARGOSY_AGENT_KEY={added.key}")


def main() -> None:
    """Run the command; a user's mistake gets a sentence, not a traceback."""
    try:
        argosy()
    except (Error, SettingsError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
