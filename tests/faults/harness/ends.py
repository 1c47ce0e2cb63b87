"""More load: files whose time ends or is made longer, and transfers that are done over again."""

from __future__ import annotations

from random import Random
from uuid import uuid4

from sqlalchemy.exc import DBAPIError

from argosy.reference import FileReference
from tests.deployment import AgentInTest
from tests.faults.harness.asked import Answer
from tests.faults.harness.load import Load, load

END = (
    "UPDATE argosy.transfers SET expires_at = now() - interval '1 second'"
    " WHERE id = :id AND state = 'completed' RETURNING id"
)
KEPT_SECONDS = (4, 9)
"""How long a message keeps a file that is over: longer than from one sweep to the next."""


@load(3)
def extended(self: Load, dice: Random) -> None:
    if self.files:
        reference, _, agent = dice.choice(self.files)
        document = reference.document()
        self.ask(dice, "extended", "transfer.extend", document, agent=agent, days=3)


@load(3)
def outlived(self: Load, dice: Random) -> None:
    """A file's time ends, whatever is being done with it: a sweep removes it."""
    if found := _take(self, dice):
        end_of(self, found[0])


@load(3)
def kept(self: Load, dice: Random) -> None:
    """A message names a file whose time then ends: it stays until the message is acknowledged."""
    if not (found := _take(self, dice)):
        return
    (reference, agent), message = found, str(uuid4())

    def let_go() -> None:
        if look_at_kept(self, reference):
            self.ask(dice, "unpinned", "transfer.unpin", message, agent=agent)
        else:
            self.in_a_while(1, let_go)

    def pinned(answer: Answer) -> None:
        if answer.ok:
            end_of(self, reference)
            self.in_a_while(dice.uniform(*KEPT_SECONDS), let_go)

    document = reference.document()
    self.ask(dice, "kept", "transfer.pin", message, [document], agent=agent, and_then=pinned)


@load(3)
def retried(self: Load, dice: Random) -> None:
    """Cancelled, and then done over again under another id."""
    source = dice.choice(self.cargo.large)
    one = self.ask(dice, "retried", "transfer.upload", str(source.path), source=source)

    def again(answer: Answer) -> None:
        if answer.code == "transfer_cancelled":
            one.is_retried = True
            self.ask(dice, "retry", "transfer.retry", one.id, agent=one.agent, source=source)

    one.and_then.append(again)
    self.in_a_while(
        dice.uniform(0, 3),
        lambda: _cancel(self, dice, one.id, one.agent),
    )


def _cancel(self: Load, dice: Random, transfer: str, agent: AgentInTest) -> None:
    self.ask(dice, "cancel", "transfer.cancel", transfer, agent=agent, about=transfer)


def _take(self: Load, dice: Random) -> tuple[FileReference, AgentInTest] | None:
    """A stored file that nothing else is asked of from now on."""
    if not self.files:
        return None
    reference, _, agent = dice.choice(self.files)
    self.files = [known for known in self.files if known[0].path != reference.path]
    return reference, agent


def end_of(self: Load, reference: FileReference) -> None:
    """Have a file's time be over, where the database can be reached."""
    try:
        ended = self.world.query(END, id=reference.id)
    except DBAPIError:
        ended = []
    self.journal.note("time ended", id=str(reference.id), ended=len(ended))


def look_at_kept(self: Load, reference: FileReference) -> bool:
    """See whether a file is there that a message keeps; False while nobody can say."""
    try:
        row = self.world.transfer(str(reference.id))
    except DBAPIError:
        return False
    if row.tombstone and row.tombstone["why"] == "expired":
        self.gone_early.append(f"{reference.path} was swept while a message named it")
    return True
