"""Auth hooks: Postgres functions, called as Supabase Auth calls them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from supabase_servers import SECRET, Postgres, Supabase

from local.supabase.config import Hook

ISSUED, ATTEMPTED = "token_issued", "password_attempted"
HOOKS = {
    "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_ENABLED": "true",
    "GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI": f"pg-functions://postgres/hooks/{ISSUED}",
    "GOTRUE_HOOK_PASSWORD_VERIFICATION_ATTEMPT_ENABLED": "true",
    "GOTRUE_HOOK_PASSWORD_VERIFICATION_ATTEMPT_URI": f"pg-functions://postgres/hooks/{ATTEMPTED}",
}
SCHEMA = """
    CREATE SCHEMA IF NOT EXISTS hooks;
    CREATE TABLE IF NOT EXISTS hooks.calls (
        id bigint GENERATED ALWAYS AS IDENTITY,
        name text, role text DEFAULT current_user, event jsonb
    );
    GRANT USAGE ON SCHEMA hooks TO supabase_auth_admin;
    GRANT INSERT ON hooks.calls TO supabase_auth_admin;
"""
FUNCTION = """
    CREATE OR REPLACE FUNCTION hooks.{name}(event jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO hooks.calls (name, event) VALUES ('{name}', event);
        {body}
    END $$;
    REVOKE ALL ON FUNCTION hooks.{name}(jsonb) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION hooks.{name}(jsonb) TO supabase_auth_admin;
"""
UNCHANGED = "RETURN jsonb_build_object('claims', event -> 'claims');"
CONTINUE = """RETURN '{"decision": "continue"}';"""

Define = Callable[[str, str], None]


@pytest.fixture(scope="module")
def hooked(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supabase]:
    server = Supabase(postgres.url, tmp_path_factory.mktemp("hooked") / "data", **HOOKS)
    server.start()
    postgres.execute(SCHEMA)
    yield server
    server.stop()


@pytest.fixture
def auth(hooked: Supabase) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {hooked.service_key}"}
    with httpx.Client(base_url=f"{hooked.url}/auth/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def define(postgres: Postgres, hooked: Supabase) -> Define:
    """Set what a hook does; at first both let everybody pass."""

    def define(name: str, body: str) -> None:
        postgres.execute(FUNCTION.format(name=name, body=body))

    define(ISSUED, UNCHANGED)
    define(ATTEMPTED, CONTINUE)
    return define


@pytest.fixture
def user(auth: httpx.Client, define: Define) -> dict[str, Any]:
    body = {
        "email": f"{uuid4().hex}@agents.test",
        "password": "correct horse",
        "email_confirm": True,
    }
    return {**auth.post("/admin/users", json=body).json(), "password": "correct horse"}


def sign_in(
    auth: httpx.Client, user: dict[str, Any], password: str | None = None
) -> httpx.Response:
    body = {"email": user["email"], "password": password or user["password"]}
    return auth.post("/token?grant_type=password", json=body)


def refresh(auth: httpx.Client, token: str) -> httpx.Response:
    return auth.post("/token?grant_type=refresh_token", json={"refresh_token": token})


def calls(postgres: Postgres, user: dict[str, Any], name: str) -> list[tuple[Any, Any]]:
    """(role, event) of a hook's calls that were not undone."""
    query = "SELECT role, event FROM hooks.calls WHERE name = %s AND event ->> 'user_id' = %s"
    return [(row[0], row[1]) for row in postgres.execute(f"{query} ORDER BY id", name, user["id"])]


def sessions(postgres: Postgres, user: dict[str, Any]) -> int:
    query = "SELECT count(*) FROM auth.sessions WHERE user_id = %s"
    return int(str(postgres.execute(query, user["id"])[0][0]))


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    document = answer.json()
    assert document["code"] == answer.status_code
    return answer.status_code, document["error_code"], document["msg"]


def test_the_token_hook_is_asked_at_each_issue(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    session = sign_in(auth, user).json()
    assert refresh(auth, session["refresh_token"]).status_code == 200
    (role, first), (_, second) = calls(postgres, user, ISSUED)
    assert role == "supabase_auth_admin"
    assert first["authentication_method"] == "password"
    assert second["authentication_method"] == "token_refresh"
    assert first["metadata"]["name"] == "customize-access-token"
    claims = jwt.decode(session["access_token"], SECRET, ["HS256"], audience="authenticated")
    assert first["claims"] == claims
    assert second["claims"]["session_id"] == claims["session_id"]


def test_the_hook_runs_where_auth_does(
    auth: httpx.Client, user: dict[str, Any], define: Define
) -> None:
    """Not as a superuser, and with nothing but schema auth in its search path."""
    define(
        ISSUED,
        """RETURN jsonb_set(jsonb_build_object('claims', event -> 'claims'), '{claims,seen}',
            jsonb_build_array(current_setting('search_path'), current_setting('is_superuser'),
                current_setting('statement_timeout')));""",
    )
    token = sign_in(auth, user).json()["access_token"]
    seen = jwt.decode(token, options={"verify_signature": False})["seen"]
    assert seen == ["auth", "off", "2s"]


def test_what_the_hook_says_is_signed(
    auth: httpx.Client, user: dict[str, Any], define: Define
) -> None:
    define(
        ISSUED,
        """event := jsonb_set(event, '{claims,user_role}', '"reader"') #- '{claims,user_metadata}';
        RETURN jsonb_build_object('claims', event -> 'claims', 'more', 1);""",
    )
    token = sign_in(auth, user).json()["access_token"]
    claims = jwt.decode(token, SECRET, ["HS256"], audience="authenticated")
    assert claims["user_role"] == "reader"
    assert "user_metadata" not in claims


def error_of(error: dict[str, Any]) -> str:
    return f"RETURN '{json.dumps({'error': error})}';"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"http_code": 403, "message": "Disabled."}, (403, "unknown", "Disabled.")),
        ({"http_code": 429, "message": "Slow."}, (429, "unknown", "Slow.")),
        ({"http_code": 500, "message": "Oh."}, (500, "unexpected_failure", "Oh.")),
        ({"message": "No code."}, (500, "unexpected_failure", "No code.")),
        (
            {"http_code": 403, "message": ""},  # without a message it is no error to Auth
            (500, "unexpected_failure", "output claims field is missing"),
        ),
        (
            {"http_code": "403", "message": "Not a number."},
            (500, "unexpected_failure", "output claims field is missing"),
        ),
    ],
)
def test_an_error_of_the_token_hook(
    auth: httpx.Client,
    user: dict[str, Any],
    define: Define,
    postgres: Postgres,
    error: dict[str, Any],
    expected: tuple[int, str, str],
) -> None:
    define(ISSUED, error_of(error))
    assert refused(sign_in(auth, user)) == expected
    assert sessions(postgres, user) == 0
    assert calls(postgres, user, ISSUED) == []  # undone with the rest


def test_a_refresh_that_the_hook_refuses_spends_no_token(
    auth: httpx.Client, user: dict[str, Any], define: Define, postgres: Postgres
) -> None:
    token = sign_in(auth, user).json()["refresh_token"]
    define(ISSUED, error_of({"http_code": 403, "message": "Disabled."}))
    for _ in range(3):
        assert refused(refresh(auth, token)) == (403, "unknown", "Disabled.")
    [(revoked,)] = postgres.execute(
        "SELECT revoked FROM auth.refresh_tokens JOIN auth.sessions ON sessions.id = session_id"
        " WHERE user_id = %s",
        user["id"],
    )
    assert revoked is False
    define(ISSUED, UNCHANGED)
    assert refresh(auth, token).status_code == 200


@pytest.mark.parametrize(
    "required",
    ["aud", "exp", "iat", "sub", "email", "phone", "role", "aal", "session_id", "is_anonymous"],
)
def test_claims_that_a_token_needs(
    auth: httpx.Client, user: dict[str, Any], define: Define, required: str
) -> None:
    define(ISSUED, f"RETURN jsonb_build_object('claims', (event -> 'claims') - '{required}');")
    status, code, message = refused(sign_in(auth, user))
    assert (status, code) == (500, "unexpected_failure")
    assert f"(root): {required} is required" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [("exp", '"soon"'), ("exp", "1.5"), ("sub", "5"), ("aud", "5"), ("role", "null"), ("amr", "{}"),
     ("app_metadata", "[]"), ("iat", "true")],
)  # fmt: skip
def test_claims_of_another_type(
    auth: httpx.Client, user: dict[str, Any], define: Define, name: str, value: str
) -> None:
    changed = f"jsonb_set(event -> 'claims', '{{{name}}}', '{value}')"
    define(ISSUED, f"RETURN jsonb_build_object('claims', {changed});")
    status, _, message = refused(sign_in(auth, user))
    assert status == 500
    assert f"{name}: Invalid type" in message


@pytest.mark.parametrize("answer", ["NULL", "'null'", "'[]'", "'5'", """'{"claims": 5}'""", "'{}'"])
@pytest.mark.parametrize("grant", ["password", "refresh_token"])
def test_an_answer_that_is_none(
    auth: httpx.Client, user: dict[str, Any], define: Define, answer: str, grant: str
) -> None:
    token = sign_in(auth, user).json()["refresh_token"]
    define(ISSUED, f"RETURN {answer};")
    answered = sign_in(auth, user) if grant == "password" else refresh(auth, token)
    assert refused(answered)[:2] == (500, "unexpected_failure")


def test_an_exception_is_shown(auth: httpx.Client, user: dict[str, Any], define: Define) -> None:
    define(ISSUED, "RAISE EXCEPTION 'Out of order' USING HINT = 'Repair', DETAIL = 'Broken';")
    answer = sign_in(auth, user)
    assert answer.status_code == 500
    said = {"code": "P0001", "message": "Out of order", "hint": "Repair", "detail": "Broken"}
    assert answer.json() == said


def test_an_exception_may_name_its_status(
    auth: httpx.Client, user: dict[str, Any], define: Define
) -> None:
    define(ISSUED, "RAISE EXCEPTION 'Not you' USING ERRCODE = 'PT403';")
    answer = sign_in(auth, user)
    assert (answer.status_code, answer.json()["message"]) == (403, "Not you")


@pytest.mark.parametrize("body", ["RETURN 1 / 0;", "PERFORM pg_sleep(20);", "PERFORM nothing();"])
def test_a_hook_that_fails_is_not_explained(
    auth: httpx.Client, user: dict[str, Any], define: Define, body: str
) -> None:
    define(ISSUED, body)
    began = time.monotonic()
    uri = HOOKS["GOTRUE_HOOK_CUSTOM_ACCESS_TOKEN_URI"]
    expected = (500, "unexpected_failure", f"Error running hook URI: {uri}")
    assert refused(sign_in(auth, user)) == expected
    assert time.monotonic() - began < 10


def test_a_hook_that_auth_may_not_call(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    function = f"FUNCTION hooks.{ISSUED}(jsonb)"
    postgres.execute(f"REVOKE EXECUTE ON {function} FROM supabase_auth_admin")
    assert refused(sign_in(auth, user))[0] == 500


def test_the_password_hook_hears_of_every_attempt(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    assert sign_in(auth, user).status_code == 200
    assert refused(sign_in(auth, user, "wrong"))[1] == "invalid_credentials"
    refresh(auth, sign_in(auth, user).json()["refresh_token"])
    heard = calls(postgres, user, ATTEMPTED)
    assert [event["valid"] for _, event in heard] == [True, False, True]
    assert {role for role, _ in heard} == {"supabase_auth_admin"}
    assert heard[0][1]["metadata"]["name"] == "password-verification"


@pytest.mark.parametrize(
    ("message", "expected"),
    [("Locked.", "Locked."), ("", "Further password verification attempts will be rejected.")],
)
@pytest.mark.parametrize("password", ["correct horse", "wrong"])
def test_the_password_hook_rejects(
    auth: httpx.Client,
    user: dict[str, Any],
    define: Define,
    postgres: Postgres,
    message: str,
    expected: str,
    password: str,
) -> None:
    token = sign_in(auth, user).json()["refresh_token"]
    define(ATTEMPTED, f"""RETURN '{{"decision": "reject", "message": "{message}"}}';""")
    assert refused(sign_in(auth, user, password)) == (400, "invalid_credentials", expected)
    assert len(calls(postgres, user, ATTEMPTED)) == 2  # what it wrote stays
    assert refresh(auth, token).status_code == 200


def test_the_password_hook_ends_sessions(
    auth: httpx.Client, user: dict[str, Any], define: Define, postgres: Postgres
) -> None:
    sign_in(auth, user)
    define(ATTEMPTED, """RETURN '{"decision": "reject", "should_logout_user": true}';""")
    assert sign_in(auth, user).status_code == 400
    assert sessions(postgres, user) == 0


@pytest.mark.parametrize("answer", ["NULL", "'{}'", """'{"decision": "whatever"}'"""])
def test_a_password_hook_without_an_opinion(
    auth: httpx.Client, user: dict[str, Any], define: Define, answer: str
) -> None:
    define(ATTEMPTED, f"RETURN {answer};")
    assert sign_in(auth, user).status_code == 200
    assert refused(sign_in(auth, user, "wrong"))[1] == "invalid_credentials"


def test_an_error_of_the_password_hook(
    auth: httpx.Client, user: dict[str, Any], define: Define, postgres: Postgres
) -> None:
    define(ATTEMPTED, error_of({"http_code": 429, "message": "Later."}))
    assert refused(sign_in(auth, user)) == (429, "unknown", "Later.")
    assert len(calls(postgres, user, ATTEMPTED)) == 1  # what it wrote stays
    assert sessions(postgres, user) == 0


def test_nobody_is_asked_about_who_is_unknown_or_banned(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    sign_in(auth, {**user, "email": "nobody@agents.test"})
    auth.put(f"/admin/users/{user['id']}", json={"ban_duration": "1h"})
    assert refused(sign_in(auth, user))[1] == "user_banned"
    assert calls(postgres, user, ATTEMPTED) == calls(postgres, user, ISSUED) == []


NAME = "CUSTOM_ACCESS_TOKEN"


@pytest.mark.parametrize("enabled", ["", "false", "0", "no"])
def test_a_hook_that_is_off(monkeypatch: pytest.MonkeyPatch, enabled: str) -> None:
    monkeypatch.setenv(f"GOTRUE_HOOK_{NAME}_ENABLED", enabled)
    monkeypatch.setenv(f"GOTRUE_HOOK_{NAME}_URI", "nonsense")
    assert Hook.from_environment(NAME) is None


@pytest.mark.parametrize(
    "uri",
    ["", "https://hooks.test/x", "pg-functions://postgres/auth", "pg-functions://postgres/1a/b",
     'pg-functions://postgres/a/b"c', "pg-functions://postgres//b"],
)  # fmt: skip
def test_a_hook_that_is_no_function(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv(f"GOTRUE_HOOK_{NAME}_ENABLED", "true")
    monkeypatch.setenv(f"GOTRUE_HOOK_{NAME}_URI", uri)
    with pytest.raises(ValueError, match="pg-functions://postgres/<schema>/<function>"):
        Hook.from_environment(NAME)


def test_a_server_with_such_a_hook_does_not_start(postgres: Postgres, tmp_path: Path) -> None:
    server = Supabase(postgres.url, tmp_path, **{**HOOKS, f"GOTRUE_HOOK_{NAME}_URI": "nonsense"})
    with pytest.raises(AssertionError, match="the server ended"):
        server.start()
