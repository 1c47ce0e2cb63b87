"""What the parts of the client stand on: who it acts for, and how a call is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from argosy import auth
from argosy.account import Account
from argosy.cache import FileCache, MetadataCache
from argosy.closing import Closing
from argosy.deadline import Deadline
from argosy.errors import Error, InvalidRequest, NotSignedIn
from argosy.fleet import ANSWER_SECONDS, Fleet
from argosy.given import ReferenceLike, place_of
from argosy.info import FileInfo
from argosy.options import DownloadOptions, UploadOptions
from argosy.progress import Meter, Subscriber
from argosy.reference import FileReference
from argosy.sent import Sent
from argosy.settings import AgentSettings, agent_settings


class BaseClient(Closing):
    """An agent's session with Storage and with the fleet. Any number of threads may use it."""

    def __init__(
        self,
        settings: AgentSettings | None = None,
        *,
        agent: str | None = None,
        key: str | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        self.settings = settings or agent_settings()
        token = _process_token
        if agent or settings:
            token = auth.sign_in(agent, key, self.settings).token
        self._account = Account(self.settings, token)
        self._fleet = Fleet(self.settings, token)
        self._subscribers = tuple(subscribers)
        self.cache = FileCache.of(self.settings)
        self._metadata = MetadataCache.of(self.settings)
        self._sent = Sent()

    @property
    def agent_id(self) -> UUID:
        """Who this client acts for."""
        return self._account.agent_id

    def close(self) -> None:
        """Give back the connections to the broker; those to Storage are the whole process's."""
        self._fleet.close()

    @contextmanager
    def _transfer(
        self, options: UploadOptions | DownloadOptions
    ) -> Iterator[tuple[Deadline, Meter]]:
        """One call that moves bytes: its end, and who hears of it."""
        meter = self._meter(options.subscribers)
        try:
            _check_direct(options)
            yield self._deadline(options.deadline_seconds), meter
        except Error as error:
            meter.failed(error)
            raise

    def _meter(self, subscribers: tuple[Subscriber, ...]) -> Meter:
        everybody = (*self._subscribers, *subscribers)
        return Meter(everybody, every_seconds=self.settings.progress_seconds)

    def _deadline(self, seconds: float | None = None, usual: float | None = None) -> Deadline:
        """The end of a call: as it was said, else as the settings say, else the usual one."""
        chosen = (seconds, self.settings.deadline_seconds, usual)
        return Deadline(next((one for one in chosen if one is not None), None))

    def _ask(self, verb: str, *arguments: Any) -> Any:
        return self._fleet.ask(verb, *arguments, deadline=self._deadline(usual=ANSWER_SECONDS))

    def _look(self, bucket: str, path: str, deadline: Deadline | None = None) -> FileInfo:
        deadline = deadline or self._deadline()
        store = self._account.store(deadline.limit(self._account.retries()))
        return FileInfo.of_head(bucket, path, store.head(bucket, path))

    def _reference(
        self, reference: ReferenceLike, deadline: Deadline | None = None
    ) -> FileReference:
        """The reference; of `bucket/path` the one that the object's own metadata makes."""
        if isinstance(reference, str):
            return self._look(*place_of(reference), deadline).reference()
        return FileReference.parse(reference)


def _process_token() -> str:
    token = auth.current_token()
    if token is None:
        raise NotSignedIn("Set ARGOSY_AGENT and ARGOSY_AGENT_KEY, or call argosy.login first.")
    return token


def _check_direct(options: UploadOptions | DownloadOptions) -> None:
    """Raise InvalidRequest for what only the fleet does: without a word it would be left out."""
    if isinstance(options, UploadOptions) and options.process:
        raise InvalidRequest(
            "process is for background mode: use upload_later, or leave it out and send the "
            "reference to transfer.process."
        )
    if isinstance(options, UploadOptions) and options.priority:
        raise InvalidRequest(
            "priority is for what the fleet does: use upload_later, or leave it out."
        )
    if isinstance(options, UploadOptions) and options.idempotency_key:
        raise InvalidRequest(
            "idempotency_key is for background mode: use upload_later, or leave it out."
        )
