"""A file that its agent has stored itself is registered also when a server goes away meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from argosy.reference import FileReference
from tests.deployment import Deployment, deployed, remote, until
from tests.integration.own_uploads import CARGO, OwnUploader

RECOVERY_SECONDS = 120

pytestmark = pytest.mark.skipif(remote(), reason="these tests stop the servers they run on")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, to be broken; its fleet soon loses patience."""
    impatient = {"ARGOSY_STORAGE_DEADLINE_SECONDS": "3", "ARGOSY_DATABASE_WAIT_SECONDS": "2"}
    with deployed(tmp_path_factory.mktemp("fragile"), impatient) as made:
        yield made


def _said(deployment: Deployment, words: str) -> Callable[[], bool]:
    def look() -> bool:
        logs = (deployment.stack_of(name).log_path.read_text() for name in ("one", "two"))
        return any(words in log for log in logs)

    return look


HANDED_BACK = {"supabase": "request.handed_back", "postgres": "task.handed_back"}


@pytest.mark.parametrize("server", HANDED_BACK)
def test_a_message_that_is_handed_back(fragile: Deployment, server: str) -> None:
    owner = OwnUploader(fragile.add_agent())
    stored = owner.put()
    fragile.stack_of(server).kill()
    asked = owner.ask_to_register(stored.reference, stored.etag)
    until(_said(fragile, HANDED_BACK[server]), what="the handing back")
    assert not asked.ready()
    fragile.stack_of(server).start()
    known = FileReference.parse(asked.get(timeout=RECOVERY_SECONDS))
    assert fragile.transfer(stored.id).reference == known.document()
    assert owner.reads(known.bucket, known.path) == CARGO
