"""Who may open Flower, and what its pages say of tasks, without a deployment."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from argosy.settings import FleetSettings, SettingsError, load
from tests.unit.test_docs import MADE_UP
from worker import flower_tasks
from worker.flower import arguments, prepare
from worker.flower_tasks import LONGEST, Told

OAUTH = {
    "ARGOSY_FLOWER_OAUTH": "github",
    "ARGOSY_FLOWER_OAUTH_EMAILS": "*@example.com",
    "ARGOSY_FLOWER_OAUTH_KEY": "an id",
    "ARGOSY_FLOWER_OAUTH_SECRET": "a secret",
    "ARGOSY_FLOWER_OAUTH_URL": "https://flower.example.com/login",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FLOWER_"):
            monkeypatch.delenv(name)
    for name, value in MADE_UP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "environ", dict(os.environ))  # what `prepare` adds goes with the test


def _settings(**environment: str) -> FleetSettings:
    os.environ.update(environment)
    return load(FleetSettings)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_this_machine_needs_no_password(address: str) -> None:
    prepare(_settings(), address)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "::", "10.0.0.7", "flower.internal"])
def test_everybody_else_does(address: str) -> None:
    with pytest.raises(SettingsError, match="ARGOSY_FLOWER_BASIC_AUTH"):
        prepare(_settings(), address)
    prepare(_settings(ARGOSY_FLOWER_BASIC_AUTH="a:b,c:d:e"), address)
    assert os.environ["FLOWER_BASIC_AUTH"] == "a:b,c:d:e"


def test_flowers_own_variables_stand() -> None:
    os.environ["FLOWER_BASIC_AUTH"] = "mine:own"
    prepare(_settings(ARGOSY_FLOWER_BASIC_AUTH="a:b"), "0.0.0.0")
    assert os.environ["FLOWER_BASIC_AUTH"] == "mine:own"


@pytest.mark.parametrize("wrong", ["name", "name:", ":password", "a:b,c", "a:b,"])
def test_half_a_password_is_none(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"ARGOSY_FLOWER_BASIC_AUTH: .*name:password"):
        _settings(ARGOSY_FLOWER_BASIC_AUTH=wrong)


def test_an_empty_variable_is_none() -> None:
    """As a file of variables leaves it that somebody has not filled."""
    empty = dict.fromkeys(("ARGOSY_FLOWER_BASIC_AUTH", *OAUTH), "")
    with pytest.raises(SettingsError, match="let anybody in"):
        prepare(_settings(**empty), "0.0.0.0")


def test_a_provider_signs_in() -> None:
    prepare(_settings(**OAUTH), "0.0.0.0")
    assert os.environ["FLOWER_AUTH_PROVIDER"] == "flower.views.auth.GithubLoginHandler"
    assert os.environ["FLOWER_AUTH"] == "*@example.com"
    assert os.environ["FLOWER_OAUTH2_SECRET"] == "a secret"


@pytest.mark.parametrize("left_out", list(OAUTH)[1:])
def test_half_a_provider_is_none(left_out: str) -> None:
    settings = _settings(**{name: value for name, value in OAUTH.items() if name != left_out})
    with pytest.raises(SettingsError, match=f"set {left_out} too"):
        prepare(settings, "127.0.0.1")


def test_no_secret_is_an_argument() -> None:
    settings = _settings(ARGOSY_FLOWER_BASIC_AUTH="a:password", ARGOSY_STATE_DIR="/state", **OAUTH)
    told = arguments(settings, "::", 0)
    assert told == [
        *("flower", "--port=0", "--address=::", "--persistent=true", "--db=/state/flower"),
    ]


def test_who_has_signed_in_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cookies = set()
    for secret in ("one" * 12, "one" * 12, "other" * 12):
        os.environ.pop("FLOWER_COOKIE_SECRET", None)
        prepare(_settings(SUPABASE_JWT_SECRET=secret), "127.0.0.1")
        cookies.add(os.environ["FLOWER_COOKIE_SECRET"])
    assert len(cookies) == 2


# What the pages say

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"


def _task(**columns: Any) -> Any:
    return SimpleNamespace(
        **{"uuid": str(uuid4()), "args": "", "kwargs": "", "result": None} | columns
    )


def test_without_the_database_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages are shown all the same, and it is asked once in a while."""
    asked = []
    told = Told(_settings())
    monkeypatch.setattr(flower_tasks.log, "warning", lambda *_, **__: asked.append(1))
    for _ in range(3):
        assert told.shown(_task(args="('/spool/report.bin',)")).args == "('/spool/report.bin',)"
    assert asked == [1]


def test_what_no_transfer_is_known_to_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(_settings())
    shown = told.shown(
        _task(args=f"('{TOKEN}', '\x1b[2J')", kwargs="{}", result="x" * 1000, uuid="no id")
    )
    assert TOKEN not in shown.args
    assert "\x1b" not in shown.args
    assert (shown.kwargs, len(shown.result)) == ("", LONGEST)
