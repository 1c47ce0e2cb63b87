"""What must be so at the end of a run. A check is a function that yields what is wrong.

Each looks from outside: at the rows as their owner, at the results as the callers see them, at
the bytes through Storage, at the files on disk. The harness's journal says what should be there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from argosy.errors import Error
from argosy.reference import FileReference
from models.reconcile import pages
from tasks.messages import DEAD
from tests.faults import history
from tests.faults.harness.answers import Answers
from tests.faults.harness.asked import Answer, Asked
from tests.faults.harness.cargo import sha256_of
from tests.faults.harness.load import Load
from tests.faults.harness.settle import Still
from tests.faults.harness.stored import content_of
from tests.faults.harness.world import World

ENDS = ("completed", "failed", "cancelled", "expired")
WHOLE = ("completed", "expired")
"""States of what was completed once: a file that was deleted then has expired."""
EXPLAINED = frozenset(
    {
        "transfer_cancelled",  # as was asked
        "source_missing",  # so was that
        "object_not_found",  # deleted as was asked, while it was to be read
        "disk_full",  # so it was
        "too_many_attempts",  # the last error is in its message
    }
)
"""Reasons for which a transfer of a run may fail."""


REFUSALS = frozenset({"transfer_not_found", "invalid_state"})
"""Of a request to steer what is not there yet, or not any more."""


@dataclass(frozen=True)
class Evidence:
    """Everything that the checks look at."""

    world: World
    load: Load
    still: Still
    """What was on its way when the time was over."""
    explained: frozenset[str] = EXPLAINED
    """Reasons for which a transfer may fail."""

    @cached_property
    def transfers(self) -> dict[str, Any]:
        """The rows, by id."""
        rows = self.world.query("SELECT * FROM argosy.transfers")
        return {str(row.id): row for row in rows}

    @cached_property
    def callers(self) -> dict[str, Any]:
        """Who was noted as waiting for a transfer, by task id."""
        rows = self.world.query("SELECT * FROM argosy.continuations")
        return {str(row.task_id): row for row in rows}

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """Every result that there is now."""
        return Answers(self.world).of(self.load.asked)

    @cached_property
    def objects(self) -> set[tuple[str, str]]:
        """Bucket and name of all that lies in Storage."""
        rows = self.world.query("SELECT bucket_id, name FROM storage.objects")
        return {(row.bucket_id, row.name) for row in rows}

    @cached_property
    def deletions(self) -> dict[str, list[Asked]]:
        """Who asked to delete what, by the object's name."""
        found: dict[str, list[Asked]] = defaultdict(list)
        for one in self.load.asked.values():
            if one.task == "transfer.delete":
                found[one.about].append(one)
        return found

    def transfer_of(self, one: Asked) -> Any:
        """The row that stands for a request, if the fleet has taken it."""
        caller = self.callers.get(one.id)
        return self.transfers.get(str(caller.transfer_id)) if caller else None


Check = Callable[[Evidence], Iterator[str]]
CHECKS: dict[str, Check] = {}


def check(act: Check) -> Check:
    """Register a check; its name is what the summary calls it."""
    CHECKS[act.__name__.replace("_", " ")] = act
    return act


def violations(evidence: Evidence) -> dict[str, list[str]]:
    """What each check found."""
    return {name: list(act(evidence)) for name, act in CHECKS.items()}


@check
def nothing_is_stuck(evidence: Evidence) -> Iterator[str]:
    """When the time for settling was over nothing was on its way."""
    for what, lines in evidence.still.items():
        for line in lines:
            yield f"{what}: {line}"


@check
def none_is_lost(evidence: Evidence) -> Iterator[str]:
    """What was accepted has a result: the broker has confirmed it, or there is a row."""
    for one in evidence.load.asked.values():
        accepted = one.confirmed or one.id in evidence.callers
        if accepted and one.id not in evidence.answers:
            yield f"{one.id} ({one.load}: {one.task}) was accepted and has no result"


@check
def each_ended_once(evidence: Evidence) -> Iterator[str]:
    """A transfer has ended once, in the state of its row, with a reason where it failed."""
    ends: dict[str, list[str]] = defaultdict(list)
    for event in evidence.world.query(
        "SELECT transfer_id, to_state FROM argosy.events"
        " WHERE to_state IN ('completed', 'failed', 'cancelled') ORDER BY id"
    ):
        ends[str(event.transfer_id)].append(event.to_state)
    for identity, row in evidence.transfers.items():
        end = "completed" if row.state == "expired" else row.state
        if row.state in ENDS and ends[identity] != [end]:
            yield f"{identity} is {row.state}, but its events say {ends[identity]}"
        if row.state in ("failed", "cancelled") and not row.error_code:
            yield f"{identity} is {row.state} without a reason"


@check
def every_failure_is_explained(evidence: Evidence) -> Iterator[str]:
    """No transfer failed for a reason that nothing in the run has given."""
    for identity, row in evidence.transfers.items():
        if row.state == "failed" and row.error_code not in evidence.explained:
            yield f"{identity} ({row.kind}) failed: {row.error_code}: {row.error_message}"


@check
def nothing_acknowledged_was_taken_back(evidence: Evidence) -> Iterator[str]:
    """A result that was seen once is still the result.

    But a refusal enters nothing: the same message once more may come when it can be done.
    """
    for one in evidence.load.asked.values():
        now = evidence.answers.get(one.id)
        if one.answer and one.answer.code in REFUSALS and _only_steers(one):
            continue
        if one.is_retried:
            continue
        if one.answer and now and (one.answer.ok, one.answer.code) != (now.ok, now.code):
            yield f"{one.id} ({one.load}) was {one.answer.brief}, and is {now.brief} now"


def _only_steers(one: Asked) -> bool:
    """Whether it is about a transfer that was asked for before."""
    return not one.moves or one.task == "transfer.retry"


@check
def results_agree_with_rows(evidence: Evidence) -> Iterator[str]:
    """What the caller was told is what the row says."""
    for one in evidence.load.asked.values():
        row, answer = evidence.transfer_of(one), evidence.answers.get(one.id)
        if row is None or answer is None or row.state not in ENDS:
            continue
        if answer.ok != (row.state in WHOLE) and not _may_differ(evidence, one, answer):
            yield f"{one.id} ({one.load}) was told {answer.brief}, its row is {row.state}"
        elif not answer.ok and one.moves and row.state not in WHOLE:
            if answer.code != row.error_code:
                yield f"{one.id} was told {answer.code}, its row says {row.error_code}"
        elif answer.file and str(answer.file.id) != str(row.id):
            yield f"{one.id} was told of {answer.file.id}, its transfer is {row.id}"


def _may_differ(evidence: Evidence, one: Asked, answer: Answer) -> bool:
    """A file that was deleted before its steps were done is gone for who waits for them."""
    caller = evidence.callers[one.id]
    return bool(caller.steps) and answer.code == "object_not_found"


@check
def stored_bytes_are_those_that_were_sent(evidence: Evidence) -> Iterator[str]:
    """Each completed file is there, byte for byte, unless it was deleted as was asked."""
    for one in evidence.load.asked.values():
        row = evidence.transfer_of(one)
        if row is None or row.state not in WHOLE or one.source is None:
            continue
        if one.makes_a_file and not one.after:
            yield from _wrong_object(evidence, one, row)
        elif one.task == "transfer.download" and row.sha256 != one.source.sha256:
            yield f"{one.id} was to be {one.source.sha256}, its row says {row.sha256}"


def _wrong_object(evidence: Evidence, one: Asked, row: Any) -> Iterator[str]:
    assert one.source
    is_there = (row.bucket, row.object_name) in evidence.objects
    deletions = evidence.deletions[row.object_name]
    if row.state == "expired" or any(one.answer and one.answer.ok for one in deletions):
        if is_there:
            yield f"{row.object_name} was deleted, and is still there"
        return
    if not is_there:
        if not deletions:
            yield f"{row.object_name} ({one.load}) is completed, and not there"
        return
    reference = FileReference.parse(row.reference)
    try:
        found = content_of(evidence.world, one.agent, reference)
    except Error as error:
        yield f"{row.object_name} ({one.load}) cannot be read: {error}"
        return
    if not found == one.source.sha256 == row.sha256:
        yield f"{row.object_name} ({one.load}) is {found}, sent was {one.source.sha256}"


@check
def downloads_are_whole(evidence: Evidence) -> Iterator[str]:
    """A file has its name only when the download is completed, and then it is the file."""
    yield from evidence.load.broken
    world = evidence.world
    known = {
        one.arguments[1]: one
        for one in evidence.load.asked.values()
        if one.task == "transfer.download"
    }
    for path in [*world.destinations.iterdir(), *world.cramped.iterdir()]:
        found = known.get(str(path))
        row = evidence.transfer_of(found) if found else None
        if found is None or row is None or row.state != "completed":
            yield f"{path} is there, and no completed download"
        elif found.source and sha256_of(path) != found.source.sha256:
            yield f"{path} is not what was stored"


@check
def no_file_went_while_a_message_named_it(evidence: Evidence) -> Iterator[str]:
    """A sweep leaves what is pinned."""
    yield from evidence.load.gone_early


@check
def no_orphan_objects(evidence: Evidence) -> Iterator[str]:
    """Nothing lies in Storage that the books do not have."""
    known = {
        (row.bucket, row.object_name)
        for row in evidence.transfers.values()
        if row.state == "completed" and row.kind in ("upload", "copy")
    }
    for row in evidence.world.query(
        "SELECT t.bucket, d.object_name FROM argosy.derivatives d"
        " JOIN argosy.transfers t ON t.id = d.transfer_id WHERE d.state = 'made'"
    ):
        known.add((row.bucket, row.object_name))
    for bucket, name in sorted(evidence.objects - known):
        yield f"{bucket}/{name} is nobody's"


@check
def no_unfinished_uploads(evidence: Evidence) -> Iterator[str]:
    """Every multipart upload was completed or aborted."""
    for row in evidence.world.query("SELECT id, key FROM storage.s3_multipart_uploads"):
        yield f"upload {row.id} of {row.key}"


@check
def no_pins(evidence: Evidence) -> Iterator[str]:
    """Every message of the run was acknowledged."""
    pins = [
        one.arguments[0]
        for one in evidence.load.asked.values()
        if one.task == "transfer.unpin" and one.answer and one.answer.ok
    ]
    for row in evidence.world.query("SELECT message_id, path FROM argosy.pins"):
        if str(row.message_id) in pins:
            yield f"message {row.message_id} still keeps {row.path}"


@check
def no_temporary_files(evidence: Evidence) -> Iterator[str]:
    """Neither half a download nor what a decoder needed is left."""
    world = evidence.world
    for folder in (world.spool, world.cramped):
        yield from map(str, folder.rglob(".argosy-*"))
    for path in world.temporary.iterdir():
        if not path.name.startswith("pymp-"):  # Python's own, of a process that lives
            yield str(path)


@check
def the_books_add_up(evidence: Evidence) -> Iterator[str]:
    """A completed transfer has moved every byte, and no chunk twice."""
    for identity, row in evidence.transfers.items():
        if row.state != "completed" or row.encoding:
            continue
        if (row.chunks_left, row.bytes_done) != (0, row.size):
            yield f"{identity}: {row.chunks_left} left, {row.bytes_done} of {row.size} bytes"


@check
def a_stale_claim_changed_nothing(evidence: Evidence) -> Iterator[str]:
    """Who has stored a chunk, by the log, is who held it by the ledger; and nobody else has."""
    epochs = {
        (str(row.transfer_id), row.number): row.epoch
        for row in evidence.world.query("SELECT transfer_id, number, epoch FROM argosy.chunks")
    }
    stores = _stores(evidence.world)
    for chunk, said in stores.items():
        wrong = [epoch for epoch in said if epoch != epochs.get(chunk)]
        if wrong or len(said) > 1:
            yield f"chunk {chunk} was stored by claims {said}, the ledger says {epochs.get(chunk)}"


def _stores(world: World) -> dict[tuple[str, int], list[int]]:
    stores: dict[tuple[str, int], list[int]] = defaultdict(list)
    for worker in world.workers:
        with worker.log_path.open(errors="replace") as log:
            for line in log:
                if '"chunk.stored"' in line:
                    said = json.loads(line)
                    stores[said["transfer_id"], said["number"]].append(said["epoch"])
    return stores


@check
def the_history_is_legal(evidence: Evidence) -> Iterator[str]:
    """The events, replayed against the state machine."""
    yield from evidence.world.transact(history.check)


@check
def the_books_agree_with_storage(evidence: Evidence) -> Iterator[str]:
    """What `argosy reconcile` compares: rows, objects, uploads, leases, grants and pins."""
    buckets = ("agent-transfers", "persistent-data")
    for page in evidence.world.transact(
        lambda session: list(pages(lambda look: look(session), buckets, older_than=0))
    ):
        for one in page.differences:
            yield f"{one.what}: {one.place} {one.detail}"


@check
def no_dead_letters(evidence: Evidence) -> Iterator[str]:
    """The broker gave up no message but ticks of beat that were overtaken by the next."""
    for message in evidence.world.messages_in(DEAD):
        headers = message["properties"]["headers"]
        death = headers["x-death"][0]
        if death["reason"] != "expired":
            task = f"{headers.get('task')} {headers.get('id')}"
            yield f"{task}: {death['reason']} in {death['queue']}"


def outcomes(evidence: Evidence) -> Counter[tuple[str, str]]:
    """How many requests of each kind of load ended how."""
    return Counter(
        (one.load, one.answer.brief if one.answer else "no answer")
        for one in evidence.load.asked.values()
        if one.confirmed or one.answer
    )
