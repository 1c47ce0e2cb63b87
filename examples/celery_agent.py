"""A Celery agent: the fleet uploads, this agent's own worker sums up what has arrived.

celery -A celery_agent worker --without-gossip --without-mingle --without-heartbeat
celery_agent.py /spool/FILE
"""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from celery import Celery
from celery.signals import worker_init
from kombu import Queue

from argosy import LocalFile, fetch_files
from tasks import transfer

inbox = Queue(f"inbox.{os.environ['ARGOSY_AGENT']}", no_declare=True)
app = Celery("celery_agent", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.update(
    task_queues=[inbox],
    task_default_queue=inbox.name,
    worker_enable_remote_control=False,
    broker_transport_options={"confirm_publish": True},
)
app.set_default()


@worker_init.connect
def declare_inbox(**_: Any) -> None:
    """Celery itself would bind it to an exchange, which is not an agent's to do."""
    with app.connection_for_write() as connection:
        inbox(connection.default_channel).queue_declare()


@app.task(name="celery_agent.sum_up")
@fetch_files
def sum_up(file: LocalFile) -> str:
    """What the fleet sends is a reference; what comes here is a verified file."""
    digest = sha256(Path(file).read_bytes()).hexdigest()
    return f"{file.reference.name}: {file.reference.size} bytes, {digest}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print((transfer.upload.s(sys.argv[1]) | sum_up.s()).delay().get(timeout=120))
