"""Run the server: `python -m local.supabase serve`."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import click
import uvicorn

from local.supabase.config import Config
from local.supabase.disk import Disk
from local.supabase.schema import apply_schema, ensure_schema, sweep


@click.group()
def main() -> None:
    """A stand-in for Supabase (Storage and Auth), for development."""


@main.command()
def schema() -> None:
    """Apply the schema to the database named by SUPABASE_DB_URL."""
    apply_schema(os.environ["SUPABASE_DB_URL"])


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=54321, show_default=True)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder for bytes.")
@click.option("--workers", default=1, show_default=True, help="Processes.")
def serve(host: str, port: int, data: Path, workers: int) -> None:
    """Serve Storage and Auth."""
    config = Config.from_environment(data)
    os.environ["SUPABASE_DATA"] = str(data.resolve())
    _allow_many_files()
    ensure_schema(config.database_url)
    sweep(config.database_url, Disk(data))
    uvicorn.run(
        "local.supabase.app:create_app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


def _allow_many_files() -> None:
    # An object of many parts is read through as many open files.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
