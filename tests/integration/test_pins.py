"""Pins: a message keeps the files it names, for those who may read them, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from argosy import errors
from argosy.reference import FileReference
from models import Transfer, pins
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import AgentInTest, Deployment, remote, until
from tests.integration.own_uploads import CARGO, OwnUploader


@pytest.fixture(scope="module")
def owner(shared_agent: AgentInTest) -> OwnUploader:
    return OwnUploader(shared_agent)


@pytest.fixture(scope="module")
def other(deployment: Deployment) -> OwnUploader:
    return OwnUploader(deployment.add_agent())


@pytest.fixture(scope="module")
def stranger(deployment: Deployment) -> OwnUploader:
    return OwnUploader(deployment.add_agent("reader"))


@pytest.fixture(scope="module")
def admin(deployment: Deployment) -> OwnUploader:
    return OwnUploader(deployment.add_agent("admin"))


@pytest.fixture
def file(deployment: Deployment, owner: OwnUploader) -> Iterator[FileReference]:
    """A registered file, without a pin afterwards: other tests ask what is pinned."""
    known = owner.register(owner.put())
    yield known
    deployment.query("DELETE FROM argosy.pins WHERE path = :path RETURNING id", path=known.path)


def _place(file: FileReference) -> dict[str, str]:
    return {"bucket": file.bucket, "path": file.path}


def _pins(deployment: Deployment, file: FileReference) -> list[Any]:
    query = "SELECT * FROM argosy.pins WHERE bucket = :bucket AND path = :path ORDER BY at"
    return deployment.query(query, **_place(file))


def _is_pinned(deployment: Deployment, file: FileReference) -> bool:
    pin_days = deployment.settings.pin_days

    def ask(session: Session) -> bool:
        query = select(Transfer.id).where(Transfer.id == file.id, pins.is_pinned(pin_days))
        return session.scalar(query) is not None

    return deployment.transact(ask)


def _refused(sender: OwnUploader, task: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(errors.Error) as caught:
        sender.do(task, *arguments, **named)
    return caught.value.code


# Pinned, and let go


def test_a_message_keeps_its_file(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader, file: FileReference
) -> None:
    message = str(uuid4())
    assert not _is_pinned(deployment, file)
    told = owner.do(transfer.pin, message, [file.document()], other.agent.name)
    assert told == {"message": message, "files": 1}
    assert _is_pinned(deployment, file)
    [pin] = _pins(deployment, file)
    assert (pin.agent_id, pin.recipient_id) == (owner.agent.id, other.agent.id)
    assert other.do(transfer.unpin, message) == 1
    assert not _is_pinned(deployment, file)
    assert other.do(transfer.unpin, message) == 0


def test_two_messages_keep_it_twice(
    deployment: Deployment, owner: OwnUploader, file: FileReference
) -> None:
    messages = [str(uuid4()), str(uuid4())]
    for message in messages:
        owner.do(transfer.pin, message, [_place(file), file.document()])
    assert len(_pins(deployment, file)) == 2
    assert owner.do(transfer.unpin, messages[0]) == 1
    assert _is_pinned(deployment, file)


def test_a_pin_that_is_repeated_is_as_old_as_it_was(
    deployment: Deployment, owner: OwnUploader, file: FileReference
) -> None:
    message = str(uuid4())
    owner.do(transfer.pin, message, [_place(file)])
    before = _pins(deployment, file)
    owner.do(transfer.pin, message, [_place(file)])
    assert _pins(deployment, file) == before


def test_a_request_that_comes_late_keeps_nothing_anew(
    deployment: Deployment, owner: OwnUploader, file: FileReference
) -> None:
    message = str(uuid4())
    sent = {"task_id": str(uuid4()), "headers": owner.headers}
    arguments = (message, [_place(file)])
    first = transfer.pin.apply_async(arguments, **sent).get(timeout=RESULT_SECONDS)
    owner.do(transfer.unpin, message)
    assert transfer.pin.apply_async(arguments, **sent).get(timeout=RESULT_SECONDS) == first
    owner.do(transfer.unpin, str(uuid4()))  # whatever came before it is done
    assert _pins(deployment, file) == []


@pytest.mark.skipif(remote(), reason="its rows of Storage have no objects")
def test_a_thousand_files(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader, file: FileReference
) -> None:
    """One look-up each, whatever else is in Storage."""
    message, folder = str(uuid4()), f"{owner.agent.id}/{uuid4()}"
    deployment.query(
        "INSERT INTO storage.objects (bucket_id, name) SELECT :bucket, :folder || '/' || n "
        "FROM generate_series(1, 1000) AS n RETURNING id",
        bucket=file.bucket,
        folder=folder,
    )
    many = [{"bucket": file.bucket, "path": f"{folder}/{number}"} for number in range(1, 1001)]
    told = owner.do(transfer.pin, message, many, other.agent.name)
    assert told == {"message": message, "files": 1000}
    assert _refused(owner, transfer.pin, message, [*many, _place(file)]) == "invalid_request"
    assert owner.do(transfer.unpin, message) == 1000
    _remove_rows(deployment, folder)


def _remove_rows(deployment: Deployment, folder: str) -> None:
    def remove(session: Session) -> None:
        session.execute(text("SET LOCAL storage.allow_delete_query = 'true'"))
        query = "DELETE FROM storage.objects WHERE starts_with(name, :folder)"
        session.execute(text(query), {"folder": folder})

    deployment.transact(remove)


# Who may read it


def test_the_recipient_may_read_what_is_the_senders_own(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader, file: FileReference
) -> None:
    """For as long as the message may be on its way: longer than the file's own time."""
    with pytest.raises(errors.ObjectNotFound):
        other.reads(file.bucket, file.path)
    owner.do(transfer.pin, str(uuid4()), [file.document()], other.agent.name)
    assert other.reads(file.bucket, file.path) == CARGO
    [grant] = deployment.query("SELECT * FROM argosy.grants WHERE path = :path", path=file.path)
    assert (grant.agent_id, grant.access) == (other.agent.id, "read")
    assert file.expires_at is not None
    assert grant.expires_at > file.expires_at + timedelta(days=20)


@pytest.mark.parametrize("seconds", [None, 60.0, 60 * 86_400.0])
def test_to_share_it_too_takes_nothing_from_the_recipient(
    deployment: Deployment,
    owner: OwnUploader,
    other: OwnUploader,
    file: FileReference,
    seconds: float | None,
) -> None:
    """Where no earlier end is said, that of the file is none: the message may go on for longer."""
    owner.do(transfer.pin, str(uuid4()), [file.document()], other.agent.name)
    before = _grant_ends(deployment, file)
    owner.do(transfer.share, file.document(), [other.agent.name], seconds=seconds)
    assert (_grant_ends(deployment, file) == before) == (seconds != 60)


def _grant_ends(deployment: Deployment, file: FileReference) -> list[Any]:
    query = "SELECT expires_at FROM argosy.grants WHERE transfer_id = :id ORDER BY path"
    return [row.expires_at for row in deployment.query(query, id=file.id)]


def test_a_file_that_is_passed_on_is_nobodys_to_grant(
    deployment: Deployment,
    owner: OwnUploader,
    other: OwnUploader,
    stranger: OwnUploader,
    file: FileReference,
) -> None:
    owner.do(transfer.share, file.document(), [other.agent.name])
    other.do(transfer.pin, str(uuid4()), [file.document()], stranger.agent.name)
    assert _is_pinned(deployment, file)
    with pytest.raises(errors.ObjectNotFound):
        stranger.reads(file.bucket, file.path)


def test_what_cannot_be_read_cannot_be_pinned(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader, file: FileReference
) -> None:
    theirs = other.register(other.put())
    message = str(uuid4())
    files = [file.document(), theirs.document()]
    assert _refused(owner, transfer.pin, message, files, other.agent.name) == "object_not_found"
    assert _pins(deployment, file) == []
    assert _pins(deployment, theirs) == []
    with pytest.raises(errors.ObjectNotFound):
        other.reads(file.bucket, file.path)


def test_what_is_not_there_cannot_be_pinned(
    deployment: Deployment, owner: OwnUploader, file: FileReference
) -> None:
    gone = file.document() | {"path": f"{file.path}.other"}
    files = [_place(file), gone]
    assert _refused(owner, transfer.pin, str(uuid4()), files) == "object_not_found"
    assert _pins(deployment, file) == []


def test_whose_pins_one_may_take_back(
    deployment: Deployment,
    owner: OwnUploader,
    other: OwnUploader,
    stranger: OwnUploader,
    admin: OwnUploader,
    file: FileReference,
) -> None:
    message = str(uuid4())
    owner.do(transfer.pin, message, [_place(file)], other.agent.name)
    assert stranger.do(transfer.unpin, message) == 0
    assert owner.do(transfer.unpin, message) == 1
    owner.do(transfer.pin, message, [_place(file)])
    assert other.do(transfer.unpin, message) == 0
    assert admin.do(transfer.unpin, message) == 1


def test_the_id_of_another_agents_message(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader, file: FileReference
) -> None:
    """Each has its own pins under it: neither takes the other's back."""
    message = str(uuid4())
    owner.do(transfer.share, file.document(), [other.agent.name])
    owner.do(transfer.pin, message, [_place(file)])
    other.do(transfer.pin, message, [_place(file)])
    assert other.do(transfer.unpin, message) == 1
    assert [pin.agent_id for pin in _pins(deployment, file)] == [owner.agent.id]


def test_another_senders_message_under_the_same_id_takes_no_pin_away(
    deployment: Deployment,
    owner: OwnUploader,
    other: OwnUploader,
    stranger: OwnUploader,
    file: FileReference,
) -> None:
    message = str(uuid4())
    owner.do(transfer.pin, message, [_place(file)], other.agent.name)
    assert other.do(transfer.unpin, message, stranger.agent.name) == 0
    assert other.do(transfer.unpin, message, owner.agent.name) == 1


def test_a_message_for_two_is_kept_for_each(
    deployment: Deployment,
    owner: OwnUploader,
    other: OwnUploader,
    stranger: OwnUploader,
    file: FileReference,
) -> None:
    message = str(uuid4())
    for recipient in (other, stranger):
        owner.do(transfer.pin, message, [_place(file)], recipient.agent.name)
    assert other.do(transfer.unpin, message) == 1
    assert [pin.recipient_id for pin in _pins(deployment, file)] == [stranger.agent.id]


def test_a_disabled_agent(deployment: Deployment, agent: AgentInTest) -> None:
    disabled = OwnUploader(agent)
    file = disabled.register(disabled.put())
    deployment.query(
        "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id RETURNING id", id=agent.id
    )
    assert _refused(disabled, transfer.pin, str(uuid4()), [_place(file)]) == "access_denied"
    assert _refused(disabled, transfer.unpin, str(uuid4())) == "access_denied"
    assert _pins(deployment, file) == []


WRONG: dict[str, tuple[list[Any], str]] = {
    "no UUID": (["no-uuid", []], "invalid_request"),
    "no list": ([str(UUID(int=1)), "files"], "invalid_request"),
    "no file": ([str(UUID(int=1)), [5]], "invalid_request"),
    "a folder": (
        [str(UUID(int=1)), [{"bucket": "agent-transfers", "path": "a/"}]],
        "invalid_request",
    ),
    "a bucket": (
        [str(UUID(int=1)), [{"bucket": "agent-transfers", "path": ""}]],
        "invalid_request",
    ),
    "dots": ([str(UUID(int=1)), [{"bucket": "b", "path": "a/../b"}]], "invalid_request"),
    "half a reference": (
        [str(UUID(int=1)), [{"bucket": "b", "path": "a", "size": 1}]],
        "invalid_reference",
    ),
    "a role": ([str(UUID(int=1)), [], "role:reader"], "invalid_request"),
    "nobody": ([str(UUID(int=1)), [], "nobody-at-all"], "invalid_request"),
}


@pytest.mark.parametrize("case", WRONG)
def test_requests_that_are_wrong(owner: OwnUploader, case: str) -> None:
    arguments, code = WRONG[case]
    assert _refused(owner, transfer.pin, *arguments) == code


# Not for ever


def _age(deployment: Deployment, file: FileReference, days: float) -> None:
    deployment.query(
        "UPDATE argosy.pins SET at = now() - make_interval(secs => :seconds) "
        "WHERE path = :path RETURNING id",
        seconds=days * 86400,
        path=file.path,
    )


def test_beat_drops_a_pin_that_nobody_took_back(
    deployment: Deployment, owner: OwnUploader, file: FileReference
) -> None:
    days = deployment.settings.pin_days
    owner.do(transfer.pin, str(uuid4()), [_place(file)])
    _age(deployment, file, days - 1)
    assert _is_pinned(deployment, file)
    _age(deployment, file, days + 1)
    assert not _is_pinned(deployment, file)
    until(lambda: not _pins(deployment, file), 20, what="the upkeep")


def test_a_file_outlives_its_own_time_by_no_more_than_that(
    deployment: Deployment, owner: OwnUploader, file: FileReference
) -> None:
    owner.do(transfer.pin, str(uuid4()), [_place(file)])
    _end(deployment, file, deployment.settings.pin_days - 1)
    assert _is_pinned(deployment, file)
    _end(deployment, file, deployment.settings.pin_days + 1)
    assert not _is_pinned(deployment, file)


def _end(deployment: Deployment, file: FileReference, days_ago: float) -> None:
    deployment.query(
        "UPDATE argosy.transfers SET expires_at = now() - make_interval(secs => :seconds) "
        "WHERE id = :id RETURNING id",
        seconds=days_ago * 86400,
        id=file.id,
    )


def test_stale_pins_go_a_batch_at_a_time(deployment: Deployment, owner: OwnUploader) -> None:
    def work(session: Session) -> list[int]:
        """In a transaction of the test's own, so that beat does not come first."""
        rows = [("agent-transfers", f"{owner.agent.id}/{number}") for number in range(5)]
        pins.pin(session, uuid4(), rows, agent_id=owner.agent.id)
        later = -1 / 86400  # everything is older than a second from now
        counts = [pins.drop_stale(session, pin_days=later, limit=2) for _ in range(3)]
        session.rollback()
        return counts

    first, second, third = deployment.transact(work)
    assert (first, second) == (2, 2)
    assert third > 0
