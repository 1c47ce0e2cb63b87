"""Load what the fleet's processes load, once, while the image is built.

Python then leaves the bytecode of just these modules, which a read-only root file system could
not take later. A library that is missing in the image fails its build here.
"""

from __future__ import annotations

import importlib
import os
import pkgutil

import alembic
import argosy
import commands
import media
import models
import tasks
import worker

MADE_UP = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_ANON_KEY": "anon",
    "SUPABASE_SERVICE_ROLE_KEY": "service",
    "SUPABASE_JWT_SECRET": "a-secret-of-thirty-two-characters",
    "DATABASE_URL": "postgresql://postgres@127.0.0.1:1/postgres",
    "BROKER_URL": "amqp://127.0.0.1:1",
    "RESULT_URL": "redis://127.0.0.1:1/0",
    "ARGOSY_SPOOL": "/spool",
}
LOADED_LATER = (
    "alembic.command",
    "celery.app.log",
    "celery.apps.beat",
    "celery.apps.worker",
    "celery.backends.redis",
    "celery.bin.celery",
    "celery.concurrency.prefork",
    "celery.worker.consumer",
    "celery.worker.strategy",
    "dbm.sqlite3",
    "encodings.idna",
    "flower.command",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "PIL.AvifImagePlugin",
    "PIL.WebPImagePlugin",
    "psycopg_binary._psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
)


def main() -> None:
    """Import everything."""
    os.environ.update(MADE_UP)
    for package in (argosy, commands, media, models, tasks, worker):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    for name in LOADED_LATER:
        importlib.import_module(name)


if __name__ == "__main__":
    main()
    print("Every module loads; alembic", alembic.__version__)
