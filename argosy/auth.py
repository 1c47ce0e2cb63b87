"""How an agent signs in, and stays signed in.

A session with Supabase Auth lives in memory and, after `login`, in a file that all
processes of the agent share. One of them at a time renews it; the others go on
with the token they have.
"""

from __future__ import annotations

import logging
import math
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn
from weakref import WeakSet

from argosy.errors import AccessDenied, Error, NotSignedIn, StorageUnavailable
from argosy.session import Refused, Session, open_session, refresh
from argosy.settings import AgentSettings, agent_settings

if TYPE_CHECKING:
    from argosy.session_file import SessionFile

log = logging.getLogger(__name__)

TOKEN_HEADER = "argosy_token"  # noqa: S105  the header's name, not a token
"""Message header that carries the agent's access token."""

PAUSE_SECONDS = 5.0
"""Least time between two tries while the present token still holds, or after a refusal."""
LONGEST_PAUSE_SECONDS = 300.0
"""No Retry-After keeps us away for longer."""
TURN_SECONDS = 60.0
"""How long to wait for another thread or process that is renewing the session."""


def agent_email(name: str) -> str:
    """The address by which Supabase Auth knows an agent; no mail is ever sent."""
    return f"{name}@agents.argosy.invalid"


@dataclass(frozen=True)
class _Failure:
    """Why the last try came to nothing, when, and until when there is no other (monotonic)."""

    kind: type[Error]
    message: str
    at: float
    until: float

    @classmethod
    def of(cls, error: Error, pause_seconds: float) -> _Failure:
        """`pause_seconds` to twice that, or for as long as Auth asked for."""
        pause = pause_seconds * random.uniform(1, 2)  # noqa: S311 - spreads load, hides nothing
        asked_for = min(error.retry_after or 0.0, LONGEST_PAUSE_SECONDS)
        now = time.monotonic()
        return cls(type(error), error.message, now, now + max(pause, asked_for))

    def raise_again(self) -> NoReturn:
        left = self.until - time.monotonic()
        raise self.kind(self.message, None, left if left > 0 else None)


@dataclass(eq=False)
class SignIn:
    """An agent's session with Supabase Auth: always holds a token that is good.

    Any number of threads may use it. With a `file` it is shared with the agent's
    other processes and outlives this one; without, it is this object's alone.
    """

    settings: AgentSettings
    agent: str
    key: str = field(repr=False)
    file: SessionFile | None = field(default=None, repr=False)
    _session: Session | None = field(default=None, init=False, repr=False)
    _newest: float = field(default=-math.inf, init=False, repr=False)
    _failure: _Failure | None = field(default=None, init=False, repr=False)
    _warned: bool = field(default=False, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        _sign_ins.add(self)

    def token(self) -> str:
        """An access token with at least a fifth of its life left, while Auth can be reached.

        While it cannot, a token that still holds. Raises StorageUnavailable when
        there is none, and AccessDenied when Auth refuses the agent.
        """
        return (self._fresh or self._renewed()).access_token

    @property
    def _fresh(self) -> Session | None:
        session = self._session
        return session if session and session.is_fresh(time.time()) else None

    @property
    def _spare(self) -> Session | None:
        """A session that would do for now."""
        session = self._session
        return session if session and session.is_good(time.time()) else None

    def _renewed(self) -> Session:
        """A fresh session; or one that still holds, while it is not for us to renew it."""
        began, failure, spare = time.monotonic(), self._failure, self._spare
        if failure and began < failure.until:
            return spare or failure.raise_again()
        with self._turn(0 if spare else TURN_SECONDS) as is_mine:
            if is_mine:
                return self._renew(began)
        if spare:
            return spare
        raise StorageUnavailable(
            "Another thread or process has been renewing the agent's session for "
            f"{TURN_SECONDS:.0f} seconds: try again, or end it."
        )

    def _renew(self, began: float) -> Session:
        if not self._fresh:
            self._adopt()
        if fresh := self._fresh:
            return fresh
        if self._failure and self._failure.at > began:  # while we waited: once is enough
            return self._spare or self._failure.raise_again()
        try:
            return self._keep(self._refreshed() or self._opened())
        except StorageUnavailable as error:
            spare = self._spare
            self._failure = _Failure.of(error, PAUSE_SECONDS if spare else 0)
            if not spare:
                raise
            log.warning("session.not_refreshed", extra={"agent": self.agent})
            return spare
        except AccessDenied as error:
            self._failure, self._session = _Failure.of(error, PAUSE_SECONDS), None
            raise

    def _refreshed(self) -> Session | None:
        """A new session for the old one's refresh token, unless Auth takes it no more."""
        if not self._session or not self._session.refresh_token:
            return None
        try:
            session = refresh(self.settings, self._session.refresh_token, time.time())
        except Refused as refusal:
            extra = {"agent": self.agent, "code": refusal.code}
            log.warning("session.refresh_refused", extra=extra)
            return None
        log.info("session.refreshed", extra={"agent": self.agent})
        return session

    def _opened(self) -> Session:
        try:
            session = open_session(self.settings, agent_email(self.agent), self.key, time.time())
        except Refused as refusal:
            raise AccessDenied(
                f"Agent {self.agent!r} could not sign in ({refusal.code}: {refusal.message}). "
                "Check ARGOSY_AGENT, ARGOSY_AGENT_KEY and SUPABASE_ANON_KEY, "
                "or ask the fleet's operator whether the agent has a new key or is disabled."
            ) from None
        log.info("session.opened", extra={"agent": self.agent})
        return session

    def _adopt(self) -> None:
        """Take over what another process has put into the file."""
        try:
            found = self.file.read(self.key) if self.file else None
        except OSError as error:
            self._warn(error)
            return
        if found and found.issued_at > self._newest:  # not again what Auth has refused
            self._take(found)

    def _keep(self, session: Session) -> Session:
        """In the file first: the old refresh token is spent, and a crash must not lose the new."""
        try:
            if self.file:
                self.file.write(session, self.key)
        except OSError as error:
            self._warn(error)
        self._take(session)
        return session

    def _take(self, session: Session) -> None:
        self._session, self._newest = session, session.issued_at

    def _warn(self, error: OSError) -> None:
        if self.file and not self._warned:
            self._warned = True
            extra = {"folder": str(self.file.folder), "reason": error.strerror}
            log.warning("session.in_memory_only", extra=extra)

    @contextmanager
    def _turn(self, wait_seconds: float) -> Iterator[bool]:
        """Be the only one in this process, and among those that share the file."""
        with ExitStack() as stack:
            is_mine = self._lock.acquire(timeout=wait_seconds)
            if is_mine:
                stack.callback(self._lock.release)
                if self.file:
                    try:
                        is_mine = stack.enter_context(self.file.turn(wait_seconds))
                    except OSError as error:
                        self._warn(error)
            yield is_mine


_signed_in: SignIn | None = None
_first = threading.Lock()
"""Held by the thread that signs in because none has."""
_sign_ins: WeakSet[SignIn] = WeakSet()


def login(
    agent: str | None = None, key: str | None = None, settings: AgentSettings | None = None
) -> SignIn:
    """Sign this process in, so that its requests carry an access token.

    Name and key default to ARGOSY_AGENT and ARGOSY_AGENT_KEY. The session is kept
    in ARGOSY_SESSION_DIR: the next process goes on with it. Raises NotSignedIn
    when there is no name or key, and what SignIn.token raises.
    """
    global _signed_in  # noqa: PLW0603  a process acts for one agent
    session = sign_in(agent, key, settings)
    session.token()
    _signed_in = session
    return session


def sign_in(
    agent: str | None = None, key: str | None = None, settings: AgentSettings | None = None
) -> SignIn:
    """A session as `login` opens it, but for its holder alone; nothing is asked of Auth yet.

    Raises NotSignedIn when there is no name or key.
    """
    settings = settings or agent_settings()
    agent = agent or settings.agent
    secret = key or (settings.agent_key.get_secret_value() if settings.agent_key else None)
    if not agent or not secret:
        raise NotSignedIn("Give an agent's name and key, or set ARGOSY_AGENT and ARGOSY_AGENT_KEY.")
    return SignIn(settings, agent, secret, _session_file(settings, agent))


def current_token() -> str | None:
    """The token of whoever this process signed in as, or None.

    Signs in by ARGOSY_AGENT and ARGOSY_AGENT_KEY where login was not called.
    """
    if _signed_in:
        return _signed_in.token()
    settings = agent_settings()
    if not settings.agent or not settings.agent_key:
        return None
    with _first:
        return (_signed_in or login()).token()


def _session_file(settings: AgentSettings, agent: str) -> SessionFile | None:
    if os.name != "posix":  # no flock there
        return None
    from argosy.session_file import SessionFile, default_folder

    try:
        folder = settings.session_dir or default_folder()
    except RuntimeError:  # a user without a home
        return None
    return SessionFile(folder, settings.supabase_url, agent)


def _after_fork_in_child() -> None:
    """Threads that held a lock are not here; a refresh token can be the parent's alone."""
    global _first  # noqa: PLW0603
    _first = threading.Lock()
    for sign_in in _sign_ins:
        sign_in._lock = threading.Lock()
        if sign_in._session and not sign_in.file:
            sign_in._session = replace(sign_in._session, refresh_token="")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
