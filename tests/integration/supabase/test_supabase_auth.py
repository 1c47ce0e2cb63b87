from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from supabase_servers import SECRET, Postgres, Supabase


@pytest.fixture
def user(auth: httpx.Client) -> dict[str, Any]:
    body = {
        "email": f"{uuid4().hex}@agents.test",
        "password": "correct horse",
        "email_confirm": True,
        "app_metadata": {"fleet": "one"},
    }
    return {**auth.post("/admin/users", json=body).json(), "password": "correct horse"}


def sign_in(auth: httpx.Client, user: dict[str, Any]) -> httpx.Response:
    body = {"email": user["email"], "password": user["password"]}
    return auth.post("/token?grant_type=password", json=body)


def refresh(auth: httpx.Client, token: str) -> httpx.Response:
    return auth.post("/token?grant_type=refresh_token", json={"refresh_token": token})


def test_a_session(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = sign_in(auth, user).json()
    assert (session["token_type"], session["expires_in"]) == ("bearer", 900)
    claims = jwt.decode(
        session["access_token"], SECRET, algorithms=["HS256"], audience="authenticated"
    )
    assert claims["sub"] == user["id"]
    assert claims["role"] == "authenticated"
    assert claims["app_metadata"]["fleet"] == "one"
    assert claims["exp"] - claims["iat"] == 900
    assert claims["session_id"]
    me = auth.get("/user", headers={"authorization": f"Bearer {session['access_token']}"})
    assert me.json()["email"] == user["email"]


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and error code, which Auth also puts into a header."""
    assert answer.headers["x-sb-error-code"] == answer.json()["error_code"]
    return answer.status_code, answer.json()["error_code"]


def bearer(session: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {session['access_token']}"}


def test_wrong_password_and_ban(auth: httpx.Client, user: dict[str, Any]) -> None:
    wrong = {**user, "password": "wrong"}
    assert code(sign_in(auth, wrong)) == (400, "invalid_credentials")
    session = sign_in(auth, user).json()
    auth.put(f"/admin/users/{user['id']}", json={"ban_duration": "24h"})
    assert code(sign_in(auth, user)) == (400, "user_banned")
    assert code(sign_in(auth, wrong)) == (400, "user_banned")
    assert code(refresh(auth, session["refresh_token"])) == (400, "user_banned")
    assert code(auth.get("/user", headers=bearer(session))) == (403, "user_banned")
    auth.put(f"/admin/users/{user['id']}", json={"ban_duration": "none"})
    assert sign_in(auth, user).status_code == 200
    assert refresh(auth, session["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("1h30m", 5400), ("1.5h", 5400), ("+.5h", 1800), ("100ms", 0.1), ("876000h", 3_153_600_000)],
)
def test_how_long_a_ban_lasts(
    auth: httpx.Client, user: dict[str, Any], duration: str, seconds: float
) -> None:
    path = f"/admin/users/{user['id']}"
    until = auth.put(path, json={"ban_duration": duration}).json()["banned_until"]
    assert abs((datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds() - seconds) < 30


@pytest.mark.parametrize("duration", ["none", "0", "0s", "0h0m"])
def test_what_ends_a_ban(auth: httpx.Client, user: dict[str, Any], duration: str) -> None:
    path = f"/admin/users/{user['id']}"
    auth.put(path, json={"ban_duration": "1h"})
    assert "banned_until" not in auth.put(path, json={"ban_duration": duration}).json()
    assert sign_in(auth, user).status_code == 200


@pytest.mark.parametrize("duration", ["24", "h", "1d", "1 h", "forever", "9999999h", "1h-1m"])
def test_no_duration(auth: httpx.Client, user: dict[str, Any], duration: str) -> None:
    path = f"/admin/users/{user['id']}"
    assert code(auth.put(path, json={"ban_duration": duration})) == (400, "validation_failed")


def age(postgres: Postgres, *tokens: str) -> None:
    """Make it long ago that these refresh tokens were spent."""
    aged = "UPDATE auth.refresh_tokens SET updated_at = now() - interval '1 hour'"
    postgres.execute(f"{aged} WHERE token = ANY (%s)", list(tokens))


def test_a_refresh_token_is_exchanged(auth: httpx.Client, user: dict[str, Any]) -> None:
    first = sign_in(auth, user).json()
    second = refresh(auth, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert (second["token_type"], second["expires_in"]) == ("bearer", 900)
    one, two = (
        jwt.decode(session["access_token"], options={"verify_signature": False})
        for session in (first, second)
    )
    assert one["session_id"] == two["session_id"]
    assert one["amr"] == two["amr"]
    assert re.fullmatch("[a-z0-9]{12}", second["refresh_token"])


def test_an_answer_that_was_lost_is_given_again(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    """The parent of the newest token is good for that one, however long ago it was spent."""
    first = sign_in(auth, user).json()["refresh_token"]
    second = refresh(auth, first).json()["refresh_token"]
    age(postgres, first, second)
    assert refresh(auth, first).json()["refresh_token"] == second
    assert refresh(auth, first).json()["refresh_token"] == second
    third = refresh(auth, second).json()["refresh_token"]
    assert third not in (first, second)


def test_within_the_reuse_interval_a_spent_token_is_good_for_a_new_one(
    auth: httpx.Client, user: dict[str, Any]
) -> None:
    first = sign_in(auth, user).json()["refresh_token"]
    second = refresh(auth, first).json()["refresh_token"]
    third = refresh(auth, second).json()["refresh_token"]
    fourth = refresh(auth, first).json()["refresh_token"]
    assert len({first, second, third, fourth}) == 4
    assert refresh(auth, third).status_code == 200  # both lines live


def test_a_stolen_token_ends_the_family(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    first = sign_in(auth, user).json()["refresh_token"]
    second = refresh(auth, first).json()["refresh_token"]
    third = refresh(auth, second).json()["refresh_token"]
    other = sign_in(auth, user).json()["refresh_token"]
    age(postgres, first, second)
    assert code(refresh(auth, first)) == (400, "refresh_token_already_used")
    age(postgres, third)  # just revoked, it would still be within the reuse interval: see below
    for token in (third, second, first):
        assert code(refresh(auth, token)) == (400, "refresh_token_already_used")
    assert refresh(auth, other).status_code == 200  # another session is another family


def test_a_token_just_revoked_with_its_family_is_still_good(
    auth: httpx.Client, user: dict[str, Any], postgres: Postgres
) -> None:
    """So does Auth: the reuse interval counts from the revocation."""
    first = sign_in(auth, user).json()["refresh_token"]
    second = refresh(auth, first).json()["refresh_token"]
    third = refresh(auth, second).json()["refresh_token"]
    age(postgres, first)
    assert refresh(auth, first).status_code == 400
    assert refresh(auth, third).status_code == 200


def test_many_at_once_are_given_one_successor(auth: httpx.Client, user: dict[str, Any]) -> None:
    first = sign_in(auth, user).json()["refresh_token"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: refresh(auth, first), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


@pytest.mark.parametrize("token", ["", "short", "x" * 13, "ABCDEFGHIJKL", "a" * 10_000, "ä" * 12])
def test_what_is_no_refresh_token(auth: httpx.Client, token: str) -> None:
    assert code(refresh(auth, token)) == (400, "validation_failed")


def test_an_unknown_refresh_token(auth: httpx.Client) -> None:
    assert code(refresh(auth, "abcdefghijkl")) == (400, "refresh_token_not_found")


def test_who_has_not_confirmed_the_email_is_not_let_in(auth: httpx.Client) -> None:
    body = {"email": f"{uuid4().hex}@agents.test", "password": "correct horse"}
    auth.post("/admin/users", json=body)
    assert code(sign_in(auth, {**body, "password": "wrong"})) == (400, "invalid_credentials")
    assert code(sign_in(auth, body)) == (400, "email_not_confirmed")


@pytest.mark.parametrize("body", [{}, {"email": ""}, {"password": "x"}])
def test_nobody_named(auth: httpx.Client, body: dict[str, str]) -> None:
    answer = auth.post("/token?grant_type=password", json=body)
    assert code(answer) == (400, "validation_failed")


def test_an_unknown_grant(auth: httpx.Client) -> None:
    answer = auth.post("/token?grant_type=client_credentials", json={})
    assert code(answer) == (400, "invalid_credentials")


def test_admin_is_for_the_service_key_only(auth: httpx.Client, user: dict[str, Any]) -> None:
    token = sign_in(auth, user).json()["access_token"]
    denied = auth.get("/admin/users", headers={"authorization": f"Bearer {token}"})
    assert denied.status_code == 403
    assert user["id"] in [u["id"] for u in auth.get("/admin/users").json()["users"]]
    assert auth.delete(f"/admin/users/{user['id']}").status_code == 200
    assert auth.get(f"/admin/users/{user['id']}").status_code == 404


@pytest.mark.parametrize(
    ("scope", "left"),
    [("", (400, 400)), ("?scope=global", (400, 400)), ("?scope=local", (400, 200)),
     ("?scope=others", (200, 400))],
)  # fmt: skip
def test_logout_ends_sessions(
    auth: httpx.Client, user: dict[str, Any], scope: str, left: tuple[int, int]
) -> None:
    one, other = sign_in(auth, user).json(), sign_in(auth, user).json()
    assert auth.post(f"/logout{scope}", headers=bearer(one)).status_code == 204
    answers = [refresh(auth, session["refresh_token"]) for session in (one, other)]
    assert tuple(answer.status_code for answer in answers) == left
    for answer in answers:
        if answer.status_code == 400:
            assert code(answer) == (400, "refresh_token_not_found")


@pytest.mark.parametrize("scope", ["local", "others"])
def test_a_token_without_a_session_ends_them_all(
    auth: httpx.Client, user: dict[str, Any], scope: str
) -> None:
    session = sign_in(auth, user).json()
    minted = {"sub": user["id"], "role": "authenticated", "exp": int(time.time()) + 60}
    headers = bearer({"access_token": jwt.encode(minted, SECRET, "HS256")})
    assert auth.get("/user", headers=headers).json()["id"] == user["id"]
    assert auth.post(f"/logout?scope={scope}", headers=headers).status_code == 204
    assert code(refresh(auth, session["refresh_token"])) == (400, "refresh_token_not_found")


def test_an_unknown_scope_ends_nothing(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = sign_in(auth, user).json()
    answer = auth.post("/logout?scope=some", headers=bearer(session))
    assert code(answer) == (400, "validation_failed")
    assert refresh(auth, session["refresh_token"]).status_code == 200


def test_the_access_token_of_an_ended_session(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = sign_in(auth, user).json()
    assert auth.post("/logout", headers=bearer(session)).status_code == 204
    for answer in (
        auth.get("/user", headers=bearer(session)),
        auth.post("/logout", headers=bearer(session)),
    ):
        assert code(answer) == (403, "session_not_found")


def test_the_access_token_of_a_deleted_user(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = sign_in(auth, user).json()
    auth.delete(f"/admin/users/{user['id']}")
    assert code(auth.get("/user", headers=bearer(session))) == (403, "user_not_found")
    assert code(refresh(auth, session["refresh_token"])) == (400, "refresh_token_not_found")


@pytest.mark.parametrize(
    ("password", "expected"),
    [("short", (422, "weak_password")), ("", (422, "weak_password")),
     ("x" * 73, (400, "validation_failed"))],
)  # fmt: skip
def test_a_bad_password_changes_nothing(
    auth: httpx.Client, user: dict[str, Any], password: str, expected: tuple[int, str]
) -> None:
    session = sign_in(auth, user).json()
    answer = auth.put(f"/admin/users/{user['id']}", json={"password": password})
    assert code(answer) == expected
    assert refresh(auth, session["refresh_token"]).status_code == 200


def test_a_new_password_ends_every_session(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = sign_in(auth, user).json()
    changed = auth.put(f"/admin/users/{user['id']}", json={"password": "battery staple"})
    assert changed.status_code == 200
    assert refresh(auth, session["refresh_token"]).json()["error_code"] == "refresh_token_not_found"
    assert sign_in(auth, user).json()["error_code"] == "invalid_credentials"
    assert sign_in(auth, {**user, "password": "battery staple"}).status_code == 200


def test_an_email_is_taken_once(auth: httpx.Client, user: dict[str, Any]) -> None:
    again = auth.post("/admin/users", json={"email": user["email"], "password": "x"})
    assert (again.status_code, again.json()["error_code"]) == (422, "email_exists")


@pytest.fixture
def es256_server(postgres: Postgres, tmp_path: Path) -> Iterator[Supabase]:
    key = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))
    signing_key = json.dumps({**key, "kid": "key-1"})
    server = Supabase(postgres.url, tmp_path / "data", SUPABASE_JWT_SIGNING_KEY=signing_key)
    server.start()
    yield server
    server.stop()


def test_es256(es256_server: Supabase, user: dict[str, Any]) -> None:
    with httpx.Client(base_url=es256_server.url + "/auth/v1") as auth:
        token = sign_in(auth, user).json()["access_token"]
        assert jwt.get_unverified_header(token)["kid"] == "key-1"
        keys = auth.get("/.well-known/jwks.json").json()["keys"]
    assert "d" not in keys[0]
    jwt.decode(token, ECAlgorithm.from_jwk(keys[0]), algorithms=["ES256"], audience="authenticated")
    storage = es256_server.url + "/storage/v1/bucket"
    assert httpx.get(storage, headers={"authorization": f"Bearer {token}"}).status_code == 200
    # The public key is public: a token signed with it as a secret must not pass.
    forged = jwt.encode({"role": "service_role"}, keys[0]["x"], algorithm="HS256")
    assert httpx.get(storage, headers={"authorization": f"Bearer {forged}"}).status_code == 400
