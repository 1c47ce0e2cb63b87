"""Files whose time is over, and sweeps of them, as the operator runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.orm import Session

from models import Transfer
from models.overdue import Terms
from tasks.messages import INTERNAL
from tasks.seal import SEAL_HEADER, seal
from tests.deployment import ARGOSY, AgentInTest, Deployment

SECONDS = 120


@dataclass(frozen=True)
class Swept:
    """What a sweep has said: a document for each file, and its counts."""

    files: Sequence[dict[str, Any]]
    counts: dict[str, int]
    code: int

    @property
    def ids(self) -> list[str]:
        """Of the files that went."""
        return [one["transfer"] for one in self.files]


class Sweeping:
    """A round by the operator's command, in a process of its own."""

    def __init__(self, deployment: Deployment, **environment: str) -> None:
        # A pipe that nobody reads would hold it up.
        with tempfile.NamedTemporaryFile(delete=False) as output:
            self._output = Path(output.name)
            self._process = subprocess.Popen(
                [ARGOSY, "sweep", "--json"],
                env={**os.environ, **deployment.operator_environment, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: signal.Signals) -> None:
        """Send it a signal that ends it."""
        self._process.send_signal(number)
        self._process.wait(30)

    def swept(self) -> Swept:
        """What it has said, once it has ended."""
        code = self._process.wait(SECONDS)
        lines = self._output.read_text().splitlines()
        documents = [json.loads(line) for line in lines]
        documents = [one for one in documents if "event" not in one]  # of its log
        self._output.unlink()
        return Swept(documents[:-1], documents[-1], code)


def sweep(deployment: Deployment, **environment: str) -> Swept:
    """A round, waited for."""
    return Sweeping(deployment, **environment).swept()


def send_sweep(deployment: Deployment) -> None:
    """A message as beat sends it."""
    deployment.app.send_task(
        "transfer.sweep",
        exchange=INTERNAL,
        routing_key="argosy.upkeep",
        headers={SEAL_HEADER: seal(deployment.settings, "transfer.sweep", ())},
        declare=[],
    )


def would_go(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """What a dry run says of each file, by its transfer's id."""
    said = deployment.run("sweep", "--dry-run", "--json")
    return {one["transfer"]: one for one in map(json.loads, said.splitlines())}


def terms(deployment: Deployment) -> Terms:
    """By which the deployment's files are swept."""
    return Terms.of(deployment.settings)


def let_expire(deployment: Deployment, *files: UUID | str, ago: str = "1 second") -> None:
    """Have the time of these files, and of the grants that end with them, be over."""
    for table, column in (("grants", "transfer_id"), ("transfers", "id")):
        deployment.transact(
            lambda session, table=table, column=column: session.execute(
                text(
                    f"UPDATE argosy.{table} SET expires_at = now() - interval '{ago}' "
                    f"WHERE {column} = ANY (:files) AND expires_at IS NOT NULL"
                ),
                {"files": [UUID(str(file)) for file in files]},
            )
        )


def let_none_be_over(deployment: Deployment) -> None:
    """Have what other tests have left stay: a round is of the whole deployment."""
    deployment.transact(
        lambda session: session.execute(
            text(
                "UPDATE argosy.transfers SET expires_at = now() + interval '1 day' "
                "WHERE expires_at < now() + interval '1 day' AND state <> 'expired'"
            )
        )
    )


def state_of(deployment: Deployment, file: UUID | str) -> str:
    """Where its row is."""
    return deployment.transfer(str(file)).state


def many(
    deployment: Deployment, owner: AgentInTest, count: int, *, objects: bool = True
) -> list[str]:
    """As many files whose time is over: rows, and with `objects` their rows in Storage."""
    where = {"agent": owner.id, "bucket": deployment.settings.bucket, "count": count}

    def enter(session: Session) -> list[str]:
        entered = [str(id_) for id_ in session.scalars(text(_ROWS), where)]
        if objects:
            session.execute(text(_OBJECTS), where)
        return entered

    return deployment.transact(enter)  # in one: a sweep that ticks sees all of a file, or nothing


_ROWS = """
INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket,
    object_name, name, content_type, path, size, ended_at, expires_at)
SELECT id, 'upload', 'completed', :agent, '', :bucket,
    CAST(:agent AS text) || '/' || id || '/file.bin', 'file.bin', 'text/plain', '', 7,
    now() + interval '1 day', now() - n * interval '1 millisecond'
FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, :count) AS n) AS made
RETURNING id
"""
_OBJECTS = """
INSERT INTO storage.objects (bucket_id, name, metadata)
SELECT bucket, object_name, '{"size": 7}' FROM argosy.transfers WHERE agent_id = :agent
"""


def live(
    deployment: Deployment, owner: AgentInTest, kind: str, bucket: str, path: str, **columns: Any
) -> UUID:
    """A transfer that is on its way, and rests: no worker takes it up."""
    row = Transfer(
        id=uuid4(),
        kind=kind,
        state="paused",
        agent_id=owner.id,
        request_sha256="",
        bucket=bucket,
        object_name=path,
        name="file.bin",
        content_type="text/plain",
        path="",
        **columns,
    )
    deployment.transact(lambda session: session.add(row))
    return row.id


def end(deployment: Deployment, transfer: UUID) -> None:
    """Have such a transfer be over."""
    deployment.query(
        "UPDATE argosy.transfers SET state = 'cancelled', cleaned_at = now() WHERE id = :id "
        "RETURNING id",
        id=transfer,
    )


def events(deployment: Deployment, file: UUID | str, name: str) -> list[Any]:
    """What the audit has of it."""
    return deployment.query(
        "SELECT * FROM argosy.events WHERE transfer_id = :id AND name = :name ORDER BY id",
        id=UUID(str(file)),
        name=name,
    )


def now(deployment: Deployment) -> datetime:
    """The database's clock."""
    found: datetime = deployment.query("SELECT now() AS now")[0].now
    return found
