"""An agent signs in, and its session is renewed in time: within one process."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from argosy import auth, session
from argosy.auth import SignIn
from argosy.errors import AccessDenied, NotSignedIn, StorageUnavailable
from argosy.session import Session
from tests.unit.auth_server import KEY, LIFE, AuthServer, agent_settings, refusal

PASSWORD, REFRESH = "password", "refresh_token"


@pytest.fixture
def server() -> Iterator[AuthServer]:
    made = AuthServer()
    yield made
    made.close()


@pytest.fixture
def sign_in(server: AuthServer) -> SignIn:
    """A session of this object alone."""
    return SignIn(agent_settings(server.url), "name", KEY)


class Clock:
    """Both clocks, moved by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        real, monotonic = time.time, time.monotonic
        monkeypatch.setattr(time, "time", lambda: real() + self.passed)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self.passed)

    def advance(self, seconds: float) -> None:
        self.passed += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def run_together(work: Any, count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


# Signing in


def test_signing_in(server: AuthServer, sign_in: SignIn) -> None:
    assert sign_in.token() == sign_in.token() == "access-1"
    [(path, body)] = server.asked
    assert path == "/auth/v1/token?grant_type=password"
    assert body == {"email": "name@agents.argosy.invalid", "password": KEY}


def test_a_wrong_key(server: AuthServer) -> None:
    wrong = SignIn(agent_settings(server.url), "name", "wrong")
    with pytest.raises(AccessDenied, match=r"(?s)invalid_credentials.*ARGOSY_AGENT_KEY"):
        wrong.token()


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_any_refusal(server: AuthServer, sign_in: SignIn, status: int) -> None:
    server.say(status, {"code": status, "msg": "This agent is disabled.\x1b[31m"})
    with pytest.raises(AccessDenied, match="This agent is disabled") as caught:
        sign_in.token()
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("answer", ["<html>Forbidden</html>", "[]", "null", '{"msg": 5}'])
def test_a_refusal_in_other_words(server: AuthServer, sign_in: SignIn, answer: str) -> None:
    server.say(403, answer)
    with pytest.raises(AccessDenied, match="HTTP 403"):
        sign_in.token()


def test_a_refused_agent_does_not_ask_on_every_call(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    server.key = "a new key"
    for _ in range(5):
        with pytest.raises(AccessDenied):
            sign_in.token()
    assert len(server.asked) == 1
    server.key = KEY
    clock.advance(2 * auth.PAUSE_SECONDS)
    assert sign_in.token() == "access-2"


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503, 301, 204])
def test_trouble_at_the_server(server: AuthServer, sign_in: SignIn, status: int) -> None:
    server.say(status)
    with pytest.raises(StorageUnavailable, match="SUPABASE_URL"):
        sign_in.token()
    assert sign_in.token() == "access-2"


@pytest.mark.parametrize(
    "answer",
    [
        "<html>Welcome</html>",
        "[]",
        "{}",
        {"access_token": "x"},
        {"access_token": "", "expires_in": 5},
        {"access_token": 5, "expires_in": 5},
        {"access_token": "x", "expires_in": None},
        {"access_token": "x", "expires_in": "soon"},
        {"access_token": "x", "expires_in": 0},
        {"access_token": "x", "expires_in": -5},
        '{"access_token": "x", "expires_in": NaN}',
        '{"access_token": "x", "expires_in": 1e400}',
        {"access_token": "x", "expires_in": 5, "refresh_token": {}},
        "[" * 100_000,
    ],
)
def test_an_answer_without_a_session(server: AuthServer, sign_in: SignIn, answer: Any) -> None:
    server.say(200, answer)
    with pytest.raises(StorageUnavailable, match="without a session"):
        sign_in.token()


def test_a_server_that_is_away() -> None:
    with pytest.raises(StorageUnavailable, match="reached"):
        SignIn(agent_settings("http://127.0.0.1:9"), "name", "key").token()


def test_many_threads_sign_in_once(server: AuthServer, sign_in: SignIn) -> None:
    got: list[str] = []
    run_together(lambda: got.append(sign_in.token()), 16)
    assert got == ["access-1"] * 16
    assert len(server.asked) == 1


def test_many_threads_fail_once(server: AuthServer, sign_in: SignIn) -> None:
    """Those that waited for the first one's failure do not each wait for their own."""
    failed: list[str] = []
    server.open.clear()
    for _ in range(8):
        server.say(503)

    def fail() -> None:
        with pytest.raises(StorageUnavailable):
            sign_in.token()
        failed.append("")

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(server.asked) == 1)
    server.open.set()
    for thread in threads:
        thread.join(30)
    assert len(failed) == 8
    # A thread that came to its turn only after the failure may ask once more.
    assert len(server.asked) < 8


def test_neither_key_nor_token_is_shown(
    server: AuthServer, sign_in: SignIn, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [sign_in.token()]
    clock.advance(LIFE)
    shown.append(sign_in.token())
    server.key, server.active, server.spent = "another", "", []
    clock.advance(LIFE)
    with pytest.raises(AccessDenied) as caught:
        sign_in.token()
    texts = [repr(sign_in), repr(caught.value), *(str(vars(record)) for record in caplog.records)]
    for secret in (KEY, "access-", "refresh-"):
        assert not [text for text in texts if secret in text.replace("refresh-token", "")]
    assert "session.refreshed" in caplog.messages
    assert "session.refresh_refused" in caplog.messages


# Renewing


def test_a_token_is_refreshed_before_it_ends(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    assert sign_in.token() == "access-1"
    clock.advance(LIFE * session.REFRESH_FROM - 2)
    assert sign_in.token() == "access-1"
    clock.advance(LIFE * (session.REFRESH_AT - session.REFRESH_FROM) + 2)
    assert sign_in.token() == "access-2"
    assert server.asked[1] == (
        "/auth/v1/token?grant_type=refresh_token",
        {"refresh_token": "refresh-1"},
    )
    clock.advance(LIFE * session.REFRESH_AT)
    assert sign_in.token() == "access-3"
    assert server.asked[2][1] == {"refresh_token": "refresh-2"}


def test_sessions_are_not_renewed_all_at_once() -> None:
    sessions = [Session("a", "r", 0, 1000) for _ in range(200)]
    ends = [max(t for t in range(1000) if one.is_fresh(t)) for one in sessions]
    assert 699 <= min(ends) < 720
    assert 780 < max(ends) <= 800
    assert len(set(ends)) > 50


def test_a_session_without_a_refresh_token_is_opened_anew(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    server.say(200, {"access_token": "one", "expires_in": LIFE})
    assert sign_in.token() == "one"
    clock.advance(LIFE)
    assert sign_in.token() == "access-2"
    assert server.grants == [PASSWORD, PASSWORD]


def test_a_clock_set_back_makes_a_token_doubtful(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    sign_in.token()
    clock.advance(-3600)
    assert sign_in.token() == "access-2"


@pytest.mark.parametrize(
    "code",
    ["refresh_token_not_found", "refresh_token_already_used", "session_not_found", "user_banned"],
)
def test_a_lost_session_is_opened_anew_with_the_key(
    server: AuthServer, sign_in: SignIn, clock: Clock, code: str
) -> None:
    sign_in.token()
    clock.advance(LIFE)
    server.answers.append(refusal(code))
    assert sign_in.token() == "access-3"
    assert server.grants == [PASSWORD, REFRESH, PASSWORD]


def test_an_agent_whose_key_was_replaced_is_told(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    sign_in.token()
    server.key, server.active = "a new key", ""
    clock.advance(LIFE * 0.9)  # the old access token still holds
    for _ in range(3):
        with pytest.raises(AccessDenied, match="has a new key or is disabled"):
            sign_in.token()
    assert server.grants == [PASSWORD, REFRESH, PASSWORD]


@pytest.mark.parametrize("status", [404, 409, 429, 500, 503])
def test_the_present_token_does_while_auth_is_away(
    server: AuthServer, sign_in: SignIn, clock: Clock, status: int
) -> None:
    sign_in.token()
    clock.advance(LIFE * session.REFRESH_AT)
    server.say(status)
    for _ in range(5):
        assert sign_in.token() == "access-1"
    assert len(server.asked) == 2
    clock.advance(2 * auth.PAUSE_SECONDS)
    assert sign_in.token() == "access-3"


def test_an_expired_token_does_not(server: AuthServer, sign_in: SignIn, clock: Clock) -> None:
    sign_in.token()
    clock.advance(LIFE)
    for _ in range(2):
        server.say(503)
        with pytest.raises(StorageUnavailable):
            sign_in.token()
    assert sign_in.token() == "access-4"
    assert server.grants == [PASSWORD, REFRESH, REFRESH, REFRESH]


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_auth_is_given_the_rest_it_asks_for(
    server: AuthServer, sign_in: SignIn, clock: Clock, kind: str
) -> None:
    sign_in.token()
    clock.advance(LIFE)
    after = "40" if kind == "seconds" else formatdate(time.time() - clock.passed + 41, usegmt=True)
    server.say(429, retry_after=after)
    for _ in range(3):
        with pytest.raises(StorageUnavailable) as caught:
            sign_in.token()
        assert 30 < (caught.value.retry_after or 0) <= 41
    assert len(server.asked) == 2
    clock.advance(42)
    assert sign_in.token() == "access-3"


def test_no_rest_is_too_long(server: AuthServer, sign_in: SignIn, clock: Clock) -> None:
    server.say(429, retry_after="9" * 400)
    with pytest.raises(StorageUnavailable):
        sign_in.token()
    clock.advance(auth.LONGEST_PAUSE_SECONDS)
    assert sign_in.token() == "access-2"


def test_nobody_waits_for_a_refresh_while_the_token_holds(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    sign_in.token()
    clock.advance(LIFE * session.REFRESH_AT)
    server.open.clear()
    got: list[str] = []
    refreshing = threading.Thread(target=lambda: got.append(sign_in.token()))
    refreshing.start()
    until(lambda: len(server.asked) == 2)
    assert [sign_in.token() for _ in range(5)] == ["access-1"] * 5
    server.open.set()
    refreshing.join(30)
    assert got == [sign_in.token()] == ["access-2"]
    assert len(server.asked) == 2


def test_a_refresh_that_hangs_does_not_hang_everybody(
    server: AuthServer, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "TURN_SECONDS", 0.1)
    server.open.clear()
    hanging = threading.Thread(target=sign_in.token)
    hanging.start()
    until(lambda: len(server.asked) == 1)
    with pytest.raises(StorageUnavailable, match="has been renewing"):
        sign_in.token()
    server.open.set()
    hanging.join(30)
    assert sign_in.token() == "access-1"


def until(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


# Forks


def in_child(work: Any) -> None:
    """Run it in a forked child, which must end well within 20 seconds."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_does_not_wait_for_its_parents_threads(server: AuthServer, sign_in: SignIn) -> None:
    server.open.clear()
    opening = threading.Thread(target=sign_in.token)
    opening.start()
    until(lambda: len(server.asked) == 1)

    def work() -> None:
        # The server's threads are the parent's: they answer once it is let go.
        assert not sign_in._lock.locked()
        assert auth._first.acquire(blocking=False)

    with auth._first:
        in_child(work)
    server.open.set()
    opening.join(30)
    assert sign_in.token() == "access-1"


def test_a_child_leaves_its_parent_the_refresh_token(
    server: AuthServer, sign_in: SignIn, clock: Clock
) -> None:
    sign_in.token()

    def work() -> None:
        assert sign_in.token() == "access-1"
        clock.advance(LIFE)
        assert sign_in.token() == "access-2"

    in_child(work)
    assert server.grants == [PASSWORD, PASSWORD]


# The process's own agent


@pytest.fixture
def signed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "_signed_in", None)


@pytest.mark.usefixtures("signed_out")
def test_login_makes_this_process_an_agent(server: AuthServer, tmp_path: Path) -> None:
    auth.login("name", KEY, agent_settings(server.url, session_dir=tmp_path))
    assert auth.current_token() == "access-1"


@pytest.mark.usefixtures("signed_out")
def test_a_failed_login_leaves_nobody_signed_in(server: AuthServer, tmp_path: Path) -> None:
    with pytest.raises(AccessDenied):
        auth.login("name", "wrong", agent_settings(server.url, session_dir=tmp_path))
    assert auth._signed_in is None


def test_login_without_a_name_or_a_key(server: AuthServer) -> None:
    for name, key in ((None, None), ("name", None), (None, "key"), ("", "")):
        with pytest.raises(NotSignedIn, match="ARGOSY_AGENT"):
            auth.login(name, key, agent_settings(server.url))


@pytest.mark.usefixtures("signed_out")
@pytest.mark.parametrize("folder", [".", "/dev/null/in-memory-only"])
def test_the_environment_is_enough(
    server: AuthServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    folders = {"session_dir": tmp_path / folder}
    settings = agent_settings(server.url, agent="name", agent_key=KEY, **folders)
    monkeypatch.setattr(auth, "agent_settings", lambda: settings)
    got: list[str | None] = []
    run_together(lambda: got.append(auth.current_token()), 8)
    assert got == ["access-1"] * 8
    assert len(server.asked) == 1


@pytest.mark.usefixtures("signed_out")
def test_nobody_in_the_environment(server: AuthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "agent_settings", lambda: agent_settings(server.url))
    assert auth.current_token() is None
