"""Nothing secret gets past the filter, what is no secret does, and nobody can make it slow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.redaction import GONE, holds_secret, learn, redact, redacted, secrets_in
from argosy.settings import FleetSettings
from tests.unit.test_docs import MADE_UP

ROOT = Path(__file__).parents[2]
TOKEN = jwt.encode({"sub": "x", "exp": 1}, "a-secret-of-thirty-two-characters", "HS256")
SECRET = "Zq8vT3kP0wLmXn5cRb7y"
KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
).decode()
JWK = json.dumps(jwt.algorithms.ECAlgorithm.to_jwk(KEY, as_dict=True))
PRIVATE = json.loads(JWK)["d"]

LEAKS = {
    "a token": TOKEN,
    "a token in quotes": f"{{'argosy_token': '{TOKEN}'}}",
    "a token that was cut": TOKEN[:40],
    "a token in JSON in JSON": json.dumps(json.dumps({"token": TOKEN})),
    "a bearer": f"Authorization: Bearer {SECRET}",
    "a bearer in a repr": f"{{'Authorization': 'Bearer {SECRET}'}}",
    "basic credentials": f"authorization: Basic {SECRET}==",
    "an API key": f"apikey: {SECRET}",
    "an API key in a repr": f"Headers({{'apikey': '{SECRET}', 'accept': '*/*'}})",
    "an API key in bytes": f"[(b'apikey', b'x'), (b'apikey', '{SECRET}')]",
    "a token in a URL": f"GET http://x/object/sign/a/b?token={SECRET}&download=1",
    "a signature in a URL": f"http://x/s3/a/b?X-Amz-Expires=60&X-Amz-Signature={SECRET}",
    "a session in a URL": f"http://x/s3/a/b?X-Amz-Security-Token={SECRET}&x=1",
    "a credential in a URL": f"http://x/s3/a/b?x=1&X-Amz-Credential={SECRET}%2F2026",
    "a password in a URL": f"amqp://argosy:{SECRET}@127.0.0.1:5672/argosy",
    "a password without a user": f"redis://:{SECRET}@127.0.0.1:6379/0",
    "a password for psycopg": f"host=127.0.0.1 user=postgres password={SECRET} dbname=postgres",
    "a password in JSON": json.dumps({"email": "x", "password": SECRET}),
    "a refresh token": json.dumps({"refresh_token": SECRET}),
    "a seal": f"{{'argosy_seal': '{SECRET}'}}",
    "an environment": f"SUPABASE_SERVICE_ROLE_KEY={SECRET}\nARGOSY_AGENT_KEY={SECRET}",
    "a key of the project": f"sb_secret_{SECRET}",
    "a private key": PEM,
    "a private key in a repr": repr(PEM),
    "half a private key": PEM[:120],
    "a JWK": JWK,
    "a JWK in a repr": repr(json.loads(JWK)),
    "a JWK in JSON": json.dumps({"SUPABASE_JWT_SIGNING_KEY": JWK}),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_secret_goes(leak: str) -> None:
    clean = redact(f"before {LEAKS[leak]} after")
    assert GONE in clean
    assert clean.startswith("before ")
    secrets = [SECRET, PRIVATE, TOKEN[:30], TOKEN.rpartition(".")[2], *PEM.splitlines()[1:-1]]
    assert not [secret for secret in secrets if secret in clean]


HARMLESS = (
    "transfer.upload",
    "/spool/report token 7.bin",
    "/spool/Secret Garden.pdf",
    "/spool/Bericht: Passwort vergessen.txt",
    "argosy://x/y",
    "http://127.0.0.1:5555/task/0b7e1f2c-1111-4222-8333-944455556666",
    "SHA-256 429da6a3c81d3ba4797d299e02359c2d56d1c7039b1f04b3de9a8b65d79345d3 in Storage",
    "sign in with argosy.login(...) or set the message header 'argosy_token'.",
    "SUPABASE_JWT_SECRET or SUPABASE_JWT_SIGNING_KEY is needed",
    "ask its owner for a grant",
    "eyJafjallajökull.jpg",
    "a@b.example",
    "",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_known_values_go_wherever_they_stand() -> None:
    settings = FleetSettings(
        _env_file=None,
        **{
            **{name.lower(): value for name, value in MADE_UP.items() if name.startswith("SUPA")},
            "supabase_service_role_key": f"service {SECRET}",
            "database_url": f"postgresql://fleet:p%40ss{SECRET}@127.0.0.1/postgres",
            "broker_url": f"amqp://a:one{SECRET}@h/v;amqp://a:two{SECRET}@h/v",
            "result_url": "redis://:short@127.0.0.1/0",
            "spool": "/spool",
        },
    )
    found = secrets_in(settings)
    expected = {f"service {SECRET}", f"p@ss{SECRET}", f"one{SECRET}", f"two{SECRET}", "short"}
    assert expected <= found
    learn(found)
    for secret in expected - {"short"}:
        assert SECRET not in redact(f"the server said {secret}!")
    assert SECRET not in redact(f"in a URL: p%40ss{SECRET}")
    assert redact("a short word") == "a short word"


def test_whatever_a_log_is_given() -> None:
    class Odd:
        def __repr__(self) -> str:
            return f"<Odd apikey={SECRET}>"

    value: dict[str, Any] = {
        "event": "x",
        "count": 3,
        "ratio": 0.5,
        "nothing": None,
        "flag": True,
        "headers": {"argosy_token": TOKEN, TOKEN: 1},
        "list": [TOKEN, (TOKEN, {TOKEN})],
        "bytes": TOKEN.encode(),
        "object": Odd(),
        "error": ValueError(TOKEN),
    }
    clean = redacted(value)
    assert SECRET not in repr(clean)
    assert TOKEN[:20] not in repr(clean)
    assert {name: clean[name] for name in ("event", "count", "ratio", "nothing", "flag")} == {
        name: value[name] for name in ("event", "count", "ratio", "nothing", "flag")
    }


def test_what_is_never_an_argument() -> None:
    for leak in ("a token", "a signature in a URL", "a session in a URL", "a private key"):
        assert holds_secret({"a": [LEAKS[leak]]}), leak
        assert holds_secret({LEAKS[leak]: 1}), leak
    for text in (*HARMLESS, "page?token=7.html", "password: none.txt", TOKEN[:60], "eyJhIjoxfQ"):
        assert not holds_secret([text, {"name": text}]), text
    assert not holds_secret([None, 1, 0.5, True, {}])


N = 300_000
SLOW = (
    "x" * N, "a." * N, "eyJ-" * N, "eyJ." * N, "eyJaaaaaaaaaa." * (N // 10), "\\" * N,
    "-----BEGIN " * N, "-----BEGIN PRIVATE KEY-----" * (N // 10), "-----END A" * N, "://" * N,
    "://a:" * N, "a://b:c" * N, "://a:" + "b" * N, "bearer " * N, "bearer" + " " * N,
    "password" + " " * N, "password" * N, "password:" * N, "password:basic " * N, "secret\\" * N,
    "'d':" * N, '"d"' + " " * N, "?token=" * N, "?token" * N, "sb_secret_" * N, "api_key_" * N,
    "password" + "\\" * N, "a" * N + "@",
)  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=[repr(text[:16]) for text in SLOW])
def test_the_time_it_takes_grows_with_the_text_only(text: str) -> None:
    """Strangers write what is looked at: three megabytes are not to take minutes."""
    began = time.thread_time()
    redact(text)
    holds_secret(text)
    assert time.thread_time() - began < 10


EVERY_WAY = """
import logging, sys, threading, warnings
import structlog
from worker.logs import configure_logging
configure_logging()
secret = sys.argv[1]
structlog.get_logger("ours").warning("an.event", headers={"argosy_token": secret}, deep=[[secret]])
logging.getLogger("theirs").warning("said %s", secret, extra={"data": {"args": (secret,)}})
try:
    raise ValueError(secret)
except ValueError as error:
    structlog.get_logger("ours").exception("it.failed")
    logging.getLogger("theirs").exception("it failed: %r", error)
silent = logging.getLogger("multiprocessing")
silent.propagate = False
silent.warning("said %s", secret)
print("printed", secret)
print("printed", secret, file=sys.stderr)
warnings.warn(secret)
thread = threading.Thread(target=lambda: 1 / 0 if secret == "" else int(secret))
thread.start()
thread.join()
raise KeyError(secret)
"""


@pytest.mark.parametrize(
    "secret", [TOKEN, MADE_UP["SUPABASE_JWT_SECRET"], f"http://u:{SECRET}@h/"], ids=str
)
def test_nothing_that_a_process_prints_holds_a_secret(secret: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_WAY, secret],
        cwd=ROOT,
        env={**os.environ, **MADE_UP},
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    for word in (
        "an.event",
        "it.failed",
        "it failed",
        "said",
        "printed",
        "UserWarning",
        "KeyError",
    ):
        assert word in printed
    assert (SECRET if SECRET in secret else secret) not in printed
    assert printed.count(GONE) >= 12
