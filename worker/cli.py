"""The commands of whoever runs the fleet: its processes, and what makes a project ready."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator

import click

from argosy.gateway_settings import GatewaySettings
from argosy.settings import FleetSettings, environment_name, load

CONTROL_PREFETCH = 16
"""Requests for each child that a worker of them alone has at hand, to set many aside at once."""
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.command()
@click.option("--concurrency", type=click.IntRange(1), help="Worker processes.")
@click.option("--name", default="argosy", show_default=True, help="Name of this worker.")
@click.option(
    "--queues",
    help="Only these queues, comma-separated, and those of the same work in its own spools.",
)
@click.option(
    "--control/--no-control",
    default=None,
    help="Only the queues of what agents ask, which is soon done; or all but those. Beside a "
    "worker for them alone, requests are taken and answered while the others move bytes, or wait "
    "for Storage.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Port for Prometheus; 0: none.")
def worker(
    *,
    concurrency: int | None,
    name: str,
    queues: str | None,
    control: bool | None,
    metrics_port: int | None,
) -> None:
    """Run a worker of the fleet.

    Example: argosy worker --concurrency 8 --no-control
    """
    if metrics_port is not None:
        os.environ[environment_name("worker_metrics_port")] = str(metrics_port)
    settings = load(FleetSettings)
    wanted = _queues(settings, queues)
    _prepare_measures(settings, name)
    from worker.app import app

    settings.state_dir.mkdir(parents=True, exist_ok=True)  # it shows there that it lives
    options = ["--concurrency", str(concurrency or settings.concurrency), "-n", f"{name}@%h"]
    options += _queue_options(settings, wanted, control=control)
    app.worker_main(["worker", "--without-mingle", "--without-gossip", *options])


def _queues(settings: FleetSettings, said: str | None) -> list[str]:
    """The queues of --queues; a worker of one that is not there would end as if all were well."""
    wanted = [name for part in (said or "").split(",") if (name := part.strip())]
    if not wanted:
        return wanted
    from worker.queues import names_for_workers, unknown_among

    if unknown := unknown_among(settings, wanted):
        raise click.BadParameter(
            f"the fleet has no queue {unknown[0]!r}. It has: "
            f"{', '.join(names_for_workers(settings))} (those of a spool, name@SPOOL, where "
            "ARGOSY_SPOOLS names it).",
            param_hint="--queues",
        )
    return wanted


def _prepare_measures(settings: FleetSettings, name: str) -> None:
    """What must be so before anything that counts or traces is imported."""
    if settings.worker_metrics_port:
        from worker.exposition import prepare

        prepare(settings, f"{name}@{socket.gethostname()}")
    if settings.traces_url:
        from worker.tracing import check

        check(settings)


def _queue_options(
    settings: FleetSettings, queues: list[str], *, control: bool | None
) -> Iterator[str]:
    """Which queues a worker reads, in Celery's words."""
    from tasks.messages import ASIDE, CONTROL, REQUESTS
    from worker.queues import with_own_spools

    asked = (CONTROL, REQUESTS, *ASIDE)
    if queues or control:
        yield from ("-Q", ",".join(with_own_spools(settings, queues) if queues else asked))
    if control:
        yield from ("--prefetch-multiplier", str(CONTROL_PREFETCH))
    if control is False:
        yield from ("-X", ",".join(asked))


@click.command()
def beat() -> None:
    """Run the clock of the fleet. One is enough; two do no harm.

    Example: argosy beat
    """
    settings = load(FleetSettings)
    from worker.app import app, declare_topology

    settings.state_dir.mkdir(parents=True, exist_ok=True)
    from worker.beat_metrics import serve

    declare_topology(settings)
    serve(settings)
    app.start(["beat", "--pidfile", ""])


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--broker-api", help="RabbitMQ management API; ARGOSY_BROKER_API by default.")
def flower(port: int | None, address: str, broker_api: str | None) -> None:
    """Run Flower, the page on which operators watch the fleet.

    Without ARGOSY_FLOWER_BASIC_AUTH or ARGOSY_FLOWER_OAUTH it listens on this machine only.

    Example: argosy flower --port 5555
    """
    settings = load(FleetSettings)
    from worker.app import app
    from worker.flower import arguments, prepare, tell_of_transfers

    prepare(settings, address, broker_api)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    tell_of_transfers(settings)
    app.start(arguments(settings, address, port))


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on.")
@click.option("--address", help="Address to listen on; ARGOSY_METRICS_ADDRESS by default.")
@click.option("--once", is_flag=True, help="Print one scrape and end.")
def metrics(*, port: int | None, address: str | None, once: bool) -> None:
    """Tell Prometheus of the fleet's books: http://127.0.0.1:9540/metrics.

    Example: argosy metrics --port 9540
    """
    settings = load(FleetSettings)
    from worker.logs import configure_logging
    from worker.metrics import exposition, serve

    configure_logging()
    if once:
        click.echo(exposition(settings), nl=False)
        return
    host = address or settings.metrics_address
    bound, thread = serve(settings, host, settings.metrics_port if port is None else port)
    click.echo(f"http://{host}:{bound}/metrics", err=True)
    thread.join()


@click.command()
@click.option(
    "--revision",
    help="Go to this revision, newer or older. Functions and policies stay as they are, or go "
    "back with the tables; the newest, and the fleet's rights, come with `bootstrap`.",
)
@json_option
def migrate(*, revision: str | None, as_json: bool) -> None:
    """Bring schema `argosy` and its policies up to date. `bootstrap` does this and more.

    Example: argosy migrate
    """
    settings = load(FleetSettings)
    from worker import bootstrap, schema

    if revision:
        schema.migrate(settings, revision)
        if as_json:
            click.echo(json.dumps({"revision": revision}))
    else:
        _tell(bootstrap.bring_up_database(settings), as_json=as_json)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@json_option
def bootstrap(*, dry_run: bool, as_json: bool) -> None:
    """Make a project ready: schema, policies, roles, buckets. Safe at every deploy.

    Example: argosy bootstrap --dry-run
    """
    settings = load(FleetSettings)
    from worker.bootstrap import bootstrap as make_ready

    _tell(make_ready(settings, dry_run=dry_run), as_json=as_json, dry_run=dry_run)


def _tell(changed: list[str], *, as_json: bool, dry_run: bool = False) -> None:
    if as_json:
        click.echo(json.dumps({"changed": changed, "dry_run": dry_run}))
        return
    for line in changed:
        click.echo(f"{'would change: ' if dry_run else ''}{line}")
    if not changed:
        click.echo("Nothing to change.")


@click.command()
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    default="-",
    help="File to write instead of standard output.",
)
def gateway(output: str) -> None:
    """Print nginx's configuration: a gateway with CORS in front of Supabase.

    Example: argosy gateway --output nginx.conf
    """
    from worker.gateway import render

    text = render(load(GatewaySettings))
    with click.open_file(output, "w", encoding="utf-8", lazy=True) as file:
        file.write(text)
