"""One call that moves a file: who asks, with what wishes, until when, and who hears of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from argosy.account import Account
from argosy.deadline import Deadline
from argosy.direct.team import Team
from argosy.fleet import Fleet
from argosy.options import UploadOptions
from argosy.progress import Meter
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import ObjectStore

LAST_WORDS = RetryPolicy(attempts=2, deadline_seconds=5)
"""For cleaning up after a failure: Storage may be away, and the caller waits."""


def last_words() -> Deadline:
    """The end of cleaning up, which is done also where the call was called off."""
    return Deadline(LAST_WORDS.deadline_seconds, threading.Event())


@dataclass(frozen=True)
class UploadCall:
    """What every step of one upload needs."""

    account: Account
    fleet: Fleet
    options: UploadOptions
    deadline: Deadline
    meter: Meter

    @property
    def parallel(self) -> int:
        """Parts that move at once."""
        return self.options.parallel or self.account.settings.parallel

    @property
    def part_size(self) -> int:
        """Bytes in a part, before it is grown for a large file."""
        return self.options.part_size or self.account.settings.part_size

    def store(self, team: Team | None = None) -> ObjectStore:
        """Storage, with waits that end with the call, or when the team stops."""
        return self.account.store((team or self.deadline).limit(self.account.retries()))

    def last_store(self) -> ObjectStore:
        """Storage, to clean up when the call is over: a few seconds, for all that is asked."""
        return self.account.store(last_words().limit(LAST_WORDS))

    def moved(self, count: int) -> None:
        """So many bytes have gone by. Raises what the deadline raises."""
        self.meter.add(count)
        self.deadline.check()
