from __future__ import annotations

import json
from collections.abc import Iterator
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


def test_wrong_password_and_ban(auth: httpx.Client, user: dict[str, Any]) -> None:
    wrong = sign_in(auth, {**user, "password": "wrong"})
    assert (wrong.status_code, wrong.json()["error_code"]) == (400, "invalid_credentials")
    session = sign_in(auth, user).json()
    auth.put(f"/admin/users/{user['id']}", json={"ban_duration": "24h"})
    assert sign_in(auth, user).json()["error_code"] == "user_banned"
    assert refresh(auth, session["refresh_token"]).json()["error_code"] == "user_banned"
    auth.put(f"/admin/users/{user['id']}", json={"ban_duration": "none"})
    assert sign_in(auth, user).status_code == 200


def test_rotation_and_reuse(auth: httpx.Client, user: dict[str, Any], postgres: Postgres) -> None:
    first = sign_in(auth, user).json()["refresh_token"]
    second = refresh(auth, first).json()["refresh_token"]
    assert second != first
    # A late twin within the reuse interval is given the same successor.
    assert refresh(auth, first).json()["refresh_token"] == second
    third = refresh(auth, second).json()["refresh_token"]
    aged = "UPDATE auth.refresh_tokens SET updated_at = now() - interval '1 minute'"
    postgres.execute(aged + " WHERE token = %s", first)
    assert refresh(auth, first).json()["error_code"] == "refresh_token_already_used"
    assert refresh(auth, third).status_code == 400  # the whole family is revoked
    assert refresh(auth, "nonsense").json()["error_code"] == "refresh_token_not_found"


def test_admin_is_for_the_service_key_only(auth: httpx.Client, user: dict[str, Any]) -> None:
    token = sign_in(auth, user).json()["access_token"]
    denied = auth.get("/admin/users", headers={"authorization": f"Bearer {token}"})
    assert denied.status_code == 403
    assert user["id"] in [u["id"] for u in auth.get("/admin/users").json()["users"]]
    assert auth.delete(f"/admin/users/{user['id']}").status_code == 200
    assert auth.get(f"/admin/users/{user['id']}").status_code == 404


def test_logout_ends_the_session(auth: httpx.Client, user: dict[str, Any]) -> None:
    session = sign_in(auth, user).json()
    headers = {"authorization": f"Bearer {session['access_token']}"}
    assert auth.post("/logout", headers=headers).status_code == 204
    assert refresh(auth, session["refresh_token"]).status_code == 400


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
