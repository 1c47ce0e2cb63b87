"""The command `argosy`."""

from __future__ import annotations

import os
import sys

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from argosy.errors import Error
from argosy.settings import FleetSettings, GatewaySettings, SettingsError, load
from worker.agents_cli import agents
from worker.broker_users import BrokerApiError, api_url
from worker.doctor.cli import doctor
from worker.unready import DatabaseUnready


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
@click.option("--broker-api", help="RabbitMQ management API; ARGOSY_BROKER_API by default.")
def flower(port: int | None, address: str, broker_api: str | None) -> None:
    """Run Flower, the page on which operators watch the fleet."""
    settings = load(FleetSettings)
    from worker.app import app

    if api := broker_api or settings.broker_api:
        os.environ["FLOWER_BROKER_API"] = api_url(api)  # not an argument: `ps` shows those
    app.start(["flower", f"--port={port or settings.flower_port}", f"--address={address}"])


@argosy.command()
@click.option(
    "--revision",
    help="Go to this revision, newer or older. Functions and policies stay as they are, or go "
    "back with the tables; the newest, and the fleet's rights, come with `bootstrap`.",
)
def migrate(revision: str | None) -> None:
    """Bring schema `argosy` and its policies up to date. `bootstrap` does this and more."""
    settings = load(FleetSettings)
    from worker import bootstrap, schema

    if revision:
        schema.migrate(settings, revision)
    else:
        _tell(bootstrap.bring_up_database(settings))


@argosy.command()
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
def bootstrap(*, dry_run: bool) -> None:
    """Make a project ready: schema, policies, roles, buckets. Safe at every deploy."""
    settings = load(FleetSettings)
    from worker.bootstrap import bootstrap as make_ready

    _tell(make_ready(settings, dry_run=dry_run), dry_run=dry_run)


def _tell(changed: list[str], *, dry_run: bool = False) -> None:
    for line in changed:
        click.echo(f"{'would change: ' if dry_run else ''}{line}")
    if not changed:
        click.echo("Nothing to change.")


@argosy.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    help="File to write instead of standard output.",
)
def gateway(output: str) -> None:
    """Print nginx's configuration: a gateway with CORS in front of Supabase."""
    from worker.gateway import render

    text = render(load(GatewaySettings))
    with click.open_file(output, "w", encoding="utf-8", lazy=True) as file:
        file.write(text)


argosy.add_command(agents)
argosy.add_command(doctor)


def main() -> None:
    """Run the command; a user's mistake gets a sentence, not a traceback."""
    try:
        argosy()
    except (Error, SettingsError, BrokerApiError, DatabaseUnready) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except (OperationalError, ProgrammingError) as error:
        why = str(error.orig).partition("\n")[0]
        click.echo(f"PostgreSQL: {why}. Is it there, and ready by `argosy bootstrap`?", err=True)
        sys.exit(2)
