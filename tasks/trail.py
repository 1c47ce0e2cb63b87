"""SHA-256 of a download, computed behind the chunks that have arrived while others arrive.

Then the file need not be read once it is there. Whoever has moved the first chunk does it, and
enters its chunk as stored only at the end: the ledger, its claims and its messages are what
they are without it. It is a help, not a duty: where it would only keep a worker's process
waiting it is left, and the file is read as a whole when it is assembled.
"""

from __future__ import annotations

import hashlib
import os
import time

import structlog

from argosy.storage.body import read_range
from models import Chunk, Transfer
from models.prefix import FIRST, Prefix, entry_of, longer_prefix
from tasks.fleet import fleet
from tasks.lease import Lease

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 1.0
"""How long it may wait in all, beside as long as it has hashed, times those that move chunks.

With n others at work its process could spare the transfer one part in n + 1 of its time by
moving chunks too. Hashing spares more where that takes more than such a part of the time.
"""
LOOK_SECONDS = 0.05
"""Between two looks at the ledger."""
HANDOVER_SECONDS = 0.02
"""In which a worker that has stored one chunk takes the next one."""
LONGEST_SECONDS = 1200
"""The broker waits half an hour for a message to be done."""


def trail(transfer: Transfer, claimed: Chunk, fd: int, lease: Lease) -> str | None:
    """The entry of a chunk whose bytes are in the file: the SHA-256 of the whole, or None.

    None where it is better read at the end: of all chunks but the first; where one was claimed
    twice (see `digest_of`); where nobody moves one, so that a fleet of one process loses no
    time; where so little arrives that the process had better move chunks itself.
    """
    if claimed.number != FIRST or claimed.epoch > 1 or transfer.part_count == FIRST:
        return None
    if fleet().throttle.pace(transfer.agent_id).rate is not None:
        return None
    digest = _Trail(transfer, claimed, fd, lease).run()
    log.info("download.hashed", beside=digest is not None)
    return digest and entry_of(digest)


class _Trail:
    """One pass over a file that grows."""

    def __init__(self, transfer: Transfer, claimed: Chunk, fd: int, lease: Lease) -> None:
        self._transfer, self._fd, self._lease = transfer, fd, lease
        self._first = Prefix(claimed.number, claimed.length)
        self._digest = hashlib.sha256()
        self._position = 0
        self._hashed = self._waited = 0.0

    def run(self) -> str | None:
        prefix = self._look(self._first)
        while self._is_worth_it(prefix):
            if prefix.end > self._position:
                self._hash(prefix.end)
                if prefix.is_whole:
                    return self._on_disk()
            else:
                self._rest(LOOK_SECONDS)
            prefix = self._look(prefix)
        return None

    def _on_disk(self) -> str:
        """The digest, once the disk has what was hashed: after a power cut it must still be so.

        The row may outlive what was only in this host's memory, and nobody reads the file again.
        """
        os.fsync(self._fd)
        return self._digest.hexdigest()

    def _look(self, known: Prefix) -> Prefix:
        """What is there by now; looked at twice where nobody seems to move anything."""
        prefix = self._read(known)
        if prefix.is_whole or prefix.movers:
            return prefix
        self._rest(HANDOVER_SECONDS)
        return self._read(prefix)

    def _read(self, known: Prefix) -> Prefix:
        identity = self._transfer.id
        return fleet().transact(lambda session: longer_prefix(session, identity, known))

    def _is_worth_it(self, prefix: Prefix) -> bool:
        if not prefix.is_clean or self._hashed + self._waited > LONGEST_SECONDS:
            return False
        is_patient = self._waited <= PATIENCE_SECONDS + self._hashed * prefix.movers
        return prefix.is_whole or (prefix.movers > 0 and is_patient)

    def _hash(self, end: int) -> None:
        began = time.monotonic()
        for block in read_range(self._fd, self._position, end - self._position):
            self._digest.update(block)
            self._lease.check()
        self._position = end
        self._hashed += time.monotonic() - began

    def _rest(self, seconds: float) -> None:
        self._lease.rest(seconds)
        self._waited += seconds
