"""Whether the parts of an upload, as they were sent, are the file whose SHA-256 was taken."""

from __future__ import annotations

from collections.abc import Sequence

from argosy.errors import SourceChanged
from argosy.storage.part_hashes import are_of
from models import DIGEST, Chunk, Transfer


def check_tied(transfer: Transfer, ledger: Sequence[Chunk]) -> None:
    """Compare the parts with the whole, by what its stored `ledger` says that each came to.

    Raises SourceChanged where they differ.
    """
    if not _are_tied(ledger):
        raise SourceChanged(
            f"{transfer.path} was written while it was sent: the parts that were sent are not the "
            "file whose SHA-256 was taken. Upload it again once nothing writes to it."
        )


def _are_tied(ledger: Sequence[Chunk]) -> bool:
    """True also where an entry has no hash, since nothing can be said then.

    A worker of the version before was at it, or the bytes were read once, for both.
    """
    hashes = {entry.number: entry.xxh3 for entry in ledger}
    whole = hashes.pop(DIGEST, None)
    return whole is None or are_of(hashes.values(), whole)
