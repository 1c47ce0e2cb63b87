"""More load: many files by one request, and what must have come of them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from argosy.errors import Error
from argosy.reference import FileReference
from tests.faults.harness.asked import Asked
from tests.faults.harness.checks import Evidence, check
from tests.faults.harness.load import Load, control, load
from tests.faults.harness.stored import content_of

FEWEST, MOST = 20, 160
"""Files of a batch: of one parcel to several."""


@load(3)
def batch(self: Load, dice: Random) -> None:
    _batch(self, dice, "batch")


@load(2)
def cancelled_batch(self: Load, dice: Random) -> None:
    """What has a row by then stays, and nothing else."""
    one = _batch(self, dice, "cancelled_batch")
    self.in_a_while(dice.uniform(0, 3), lambda: control(self, dice, one, "transfer.cancel"))


@load(2)
def paused_batch(self: Load, dice: Random) -> None:
    one = _batch(self, dice, "paused_batch")
    begin, rest = dice.uniform(0, 2), dice.uniform(1, 6)
    self.in_a_while(begin, lambda: control(self, dice, one, "transfer.pause"))
    self.in_a_while(begin + rest, lambda: control(self, dice, one, "transfer.unpause"))


def _batch(self: Load, dice: Random, name: str) -> Asked:
    sources = tuple(dice.choices(self.cargo.small, k=dice.randint(FEWEST, MOST)))
    paths = [str(source.path) for source in sources]
    return self.ask(dice, name, "transfer.upload_many", paths, sources=sources)


@check
def each_file_of_a_batch_is_there_once(evidence: Evidence) -> Iterator[str]:
    """As the caller was told: in order, with a row of its own, byte for byte."""
    rows = evidence.transfers
    for one in evidence.load.asked.values():
        answer, row = evidence.answers.get(one.id), evidence.transfer_of(one)
        if not one.sources or answer is None or row is None or row.state != "completed":
            continue
        if len(answer.files) != len(one.sources):
            yield f"{one.id}: {len(one.sources)} files were sent, {len(answer.files)} answered"
        for source, file in zip(one.sources, answer.files, strict=False):
            if file is None or file.sha256 != source.sha256 or str(file.id) not in rows:
                yield f"{one.id}: {source.path} became {file}"
            else:
                yield from _differs(evidence, one, file)


def _differs(evidence: Evidence, one: Asked, file: FileReference) -> Iterator[str]:
    if evidence.transfers[str(file.id)].state == "expired":
        return
    try:
        found = content_of(evidence.world, one.agent, file)
    except Error as error:
        yield f"{file.path} of {one.id} cannot be read: {error}"
        return
    if found != file.sha256:
        yield f"{file.path} of {one.id} is {found}, its reference says {file.sha256}"
