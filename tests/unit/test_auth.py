"""Tokens: who is let in, for how long, and what the fleet mints."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt import jwks_client
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from argosy import auth
from argosy.auth import AUDIENCE, Mint, SignIn, Verifier
from argosy.errors import AccessDenied, InvalidToken, NotSignedIn, StorageUnavailable
from argosy.settings import AgentSettings, FleetSettings

SECRET = "a secret that nobody else knows, and long enough for every algorithm"
AGENT = UUID("11111111-1111-4111-8111-111111111111")


class AuthServer:
    """Answers JWKS and sign-in requests with what a test says."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {"keys": outer.keys})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.asked.append((self.path, json.loads(body)))
                self._send(*outer.answers.pop(0))

            def _send(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Be quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[AuthServer]:
    made = AuthServer()
    yield made
    made.close()


def fleet_settings(url: str, **changes: Any) -> FleetSettings:
    return FleetSettings(
        **{
            "supabase_url": url,
            "supabase_anon_key": "anon",
            "broker_url": "amqp://localhost",
            "result_url": "redis://localhost",
            "supabase_service_role_key": "service",
            "supabase_project_ref": "local",
            "database_url": "postgresql://localhost/x",
            "spool": "/var/spool",
            "supabase_jwt_secret": SECRET,
            **changes,
        }
    )


@pytest.fixture
def verifier(server: AuthServer) -> Verifier:
    return Verifier(fleet_settings(server.url))


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"sub": str(AGENT), "role": AUDIENCE, "aud": AUDIENCE, "iat": now, "exp": now + 600}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm)


def private_key(kid: str | None = "key-1") -> tuple[Any, dict[str, Any], str]:
    """A key, its public JWK and its private JWK as text."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = ECAlgorithm.to_jwk(key, as_dict=True)
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    names = {"kid": kid} if kid else {}
    return key, {**public, "alg": "ES256", "use": "sig", **names}, json.dumps({**private, **names})


# Verifying


def test_a_good_token(verifier: Verifier) -> None:
    token = signed(exp=int(time.time()) + 100)
    identity = verifier.verify(token)
    assert identity.agent_id == AGENT
    assert identity.expires_at == jwt.decode(token, options={"verify_signature": False})["exp"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token(verifier: Verifier, nothing: str | None) -> None:
    with pytest.raises(NotSignedIn, match=r"argosy\.login"):
        verifier.verify(nothing)


BAD: dict[str, Any] = {
    "another secret": lambda: signed("another secret, also of 32 bytes!"),
    "no algorithm": lambda: jwt.encode(claims(), None, "none"),
    "HS384": lambda: signed(algorithm="HS384"),
    "HS512": lambda: signed(algorithm="HS512"),
    "expired": lambda: signed(exp=int(time.time()) - 10),
    "not yet": lambda: signed(nbf=int(time.time()) + 100),
    "made in the future": lambda: signed(iat=int(time.time()) + 100),
    "no end": lambda: signed(exp=None),
    "no subject": lambda: signed(sub=None),
    "no audience": lambda: signed(aud=None),
    "another audience": lambda: signed(aud="somebody"),
    "no role": lambda: signed(role=None),
    "the service role": lambda: signed(role="service_role"),
    "the anonymous role": lambda: signed(role="anon"),
    "a subject that is no UUID": lambda: signed(sub="root"),
    "an end that is no number": lambda: _resigned({"exp": "tomorrow"}),
    "an end beyond numbers": lambda: _resigned({"exp": float("inf")}),
    "an end that is a list": lambda: _resigned({"exp": [1]}),
    "a subject that is a number": lambda: _resigned({"sub": 5}),
    "a subject that is an object": lambda: _resigned({"sub": {}}),
    "nonsense": lambda: "nonsense",
    "two parts": lambda: "a.b",
    "unicode": lambda: "ä.ö.ü",
    "a surrogate": lambda: "\udcff.a.b",
    "a number": lambda: 5,
    "a list": lambda: ["a"],
    "bytes": lambda: b"a.b.c",
    "an object": lambda: {"a": 1},
    "a list as algorithm": lambda: _with_header({"alg": ["HS256"]}),
    "no header": lambda: _with_header({}),
    "a key id that is a number": lambda: _with_header({"alg": "ES256", "kid": 5}),
    "an unknown key": lambda: _with_header({"alg": "ES256", "kid": "unknown"}),
    "no key named": lambda: _with_header({"alg": "ES256"}),
    "a cut signature": lambda: signed()[:-4],
    "changed claims": lambda: _with_claims(signed(), {"sub": str(uuid4())}),
    "a critical extension": lambda: _with_header({"alg": "HS256", "crit": ["x"], "x": 1}),
}


def _encode(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def _resigned(changes: dict[str, Any], secret: str = SECRET) -> str:
    """Signed with the right secret; PyJWT would refuse to make it."""
    parts = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode({**claims(), **changes})}"
    signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
        parts.encode(), secret.encode()
    )
    return f"{parts}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _with_header(header: dict[str, Any]) -> str:
    return f"{_encode(header)}.{signed().split('.', 1)[1]}"


def _with_claims(token: str, changes: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{_encode({**claims(), **changes})}.{signature}"


@pytest.mark.parametrize("case", BAD)
def test_a_bad_token(verifier: Verifier, server: AuthServer, case: str) -> None:
    token = BAD[case]()
    for keys in ([], [private_key()[1]]):
        server.keys = keys
        with pytest.raises(InvalidToken) as caught:
            verifier.verify(token)
        assert str(token) not in caught.value.message


def test_the_helper_signs_rightly(verifier: Verifier) -> None:
    assert verifier.verify(_resigned({})).agent_id == AGENT


def test_the_wait_of_a_request_is_allowed_for(verifier: Verifier) -> None:
    token = signed(exp=int(time.time()) - 100)
    assert verifier.verify(token, leeway_seconds=200).agent_id == AGENT
    with pytest.raises(InvalidToken):
        verifier.verify(token, leeway_seconds=50)


def test_a_key_of_the_project_is_taken(server: AuthServer) -> None:
    key, public, _ = private_key()
    server.keys = [public]
    token = jwt.encode(claims(), key, "ES256", {"kid": "key-1"})
    assert Verifier(fleet_settings(server.url)).verify(token).agent_id == AGENT


def test_an_rsa_key_of_the_project_is_taken(server: AuthServer) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    server.keys = [{**public, "kid": "rsa", "alg": "RS256", "use": "sig"}]
    token = jwt.encode(claims(), key, "RS256", {"kid": "rsa"})
    assert Verifier(fleet_settings(server.url)).verify(token).agent_id == AGENT


def test_a_key_that_was_rotated_in_is_found(
    server: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = private_key("old"), private_key("new")
    server.keys = [old[1]]
    verifier = Verifier(fleet_settings(server.url))
    verifier.verify(jwt.encode(claims(), old[0], "ES256", {"kid": "old"}))
    server.keys = [old[1], new[1]]
    later = time.monotonic() + 60  # unknown keys make it ask again, but not all the time
    monkeypatch.setattr(jwks_client.time, "monotonic", lambda: later)
    assert verifier.verify(jwt.encode(claims(), new[0], "ES256", {"kid": "new"}))


def test_a_public_key_is_no_secret(server: AuthServer) -> None:
    """The classic confusion: an HMAC made with the public key, which everybody has."""
    key, public, private = private_key()
    server.keys = [public]
    verifier = Verifier(
        fleet_settings(server.url, supabase_jwt_secret=None, supabase_jwt_signing_key=private)
    )
    for secret in (json.dumps(public), public["x"] + public["y"], "None", ""):
        with pytest.raises(InvalidToken):
            verifier.verify(_resigned({}, secret))
    assert verifier.verify(jwt.encode(claims(), key, "ES256", {"kid": "key-1"}))


def test_a_key_of_the_wrong_kind(server: AuthServer) -> None:
    """An RS256 token that names the project's elliptic key."""
    server.keys = [private_key()[1]]
    key = rsa.generate_private_key(65537, 2048)
    token = jwt.encode(claims(), key, "RS256", {"kid": "key-1"})
    with pytest.raises(InvalidToken):
        Verifier(fleet_settings(server.url)).verify(token)


def test_public_keys_out_of_reach_are_no_fault_of_the_token(server: AuthServer) -> None:
    key, _, _ = private_key()
    verifier = Verifier(fleet_settings("http://127.0.0.1:9"))
    with pytest.raises(StorageUnavailable):
        verifier.verify(jwt.encode(claims(), key, "ES256", {"kid": "key-1"}))
    assert verifier.verify(signed()).agent_id == AGENT


# Minting


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(auth.time, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_minted_token_is_the_agents(server: AuthServer) -> None:
    settings = fleet_settings(server.url)
    token = Mint(settings).token_for(AGENT)
    found = jwt.decode(token, SECRET, ["HS256"], audience=AUDIENCE)
    assert (found["sub"], found["role"]) == (str(AGENT), AUDIENCE)
    assert found["exp"] - found["iat"] == settings.agent_token_seconds
    assert found["iss"] == f"{server.url}/auth/v1"
    assert Verifier(settings).verify(token).agent_id == AGENT


@pytest.mark.parametrize("kid", ["key-1", None])
def test_a_token_minted_with_a_signing_key(server: AuthServer, kid: str | None) -> None:
    _, public, private = private_key(kid)
    server.keys = [{**public, "kid": kid or "key-1"}]
    settings = fleet_settings(
        server.url, supabase_jwt_secret=None, supabase_jwt_signing_key=private
    )
    token = Mint(settings).token_for(AGENT)
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "ES256"
    assert header.get("kid") == kid
    if kid:
        assert Verifier(settings).verify(token).agent_id == AGENT


def test_the_signing_key_is_taken_before_the_secret(server: AuthServer) -> None:
    settings = fleet_settings(server.url, supabase_jwt_signing_key=private_key()[2])
    assert jwt.get_unverified_header(Mint(settings).token_for(AGENT))["alg"] == "ES256"


def test_a_token_is_kept_for_most_of_its_life(server: AuthServer, clock: Clock) -> None:
    mint = Mint(fleet_settings(server.url, agent_token_seconds=1000))
    first = mint.token_for(AGENT)
    clock.now += 799
    assert mint.token_for(AGENT) == first
    clock.now += 2
    second = mint.token_for(AGENT)
    assert second != first
    left = jwt.decode(second, options={"verify_signature": False})["exp"] - clock.now
    assert left > 990


def test_each_agent_has_its_own(server: AuthServer) -> None:
    mint = Mint(fleet_settings(server.url))
    other = uuid4()
    subjects = [
        jwt.decode(mint.token_for(agent), options={"verify_signature": False})["sub"]
        for agent in (AGENT, other, AGENT)
    ]
    assert subjects == [str(AGENT), str(other), str(AGENT)]


def test_spent_tokens_are_forgotten(server: AuthServer, clock: Clock) -> None:
    mint = Mint(fleet_settings(server.url, agent_token_seconds=60))
    for _ in range(50):
        mint.token_for(uuid4())
        clock.now += 10
    assert len(mint._tokens) < 10


# Signing in


def agent_settings(url: str) -> AgentSettings:
    return AgentSettings(
        supabase_url=url,
        supabase_anon_key="anon",
        broker_url="amqp://localhost",
        result_url="redis://localhost",
    )


@pytest.fixture
def session(server: AuthServer) -> SignIn:
    return SignIn(agent_settings(server.url), "name", "the-key")


def test_signing_in(server: AuthServer, session: SignIn) -> None:
    server.answers = [(200, {"access_token": "one", "expires_in": 100})]
    assert session.token() == session.token() == "one"
    [(path, body)] = server.asked
    assert path == "/auth/v1/token?grant_type=password"
    assert body == {"email": "name@agents.argosy.invalid", "password": "the-key"}


def test_a_token_is_renewed_before_it_ends(
    server: AuthServer, session: SignIn, clock: Clock
) -> None:
    answers = ("one", "two")
    server.answers = [(200, {"access_token": text, "expires_in": 100}) for text in answers]
    assert session.token() == "one"
    clock.now += 79
    assert session.token() == "one"
    clock.now += 2
    assert session.token() == "two"


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_wrong_key(server: AuthServer, session: SignIn, status: int) -> None:
    server.answers = [(status, {"error": "invalid_grant"})]
    with pytest.raises(AccessDenied, match="ARGOSY_AGENT_KEY"):
        session.token()


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_trouble_at_the_server(server: AuthServer, session: SignIn, status: int) -> None:
    server.answers = [(status, {}), (200, {"access_token": "one", "expires_in": 100})]
    with pytest.raises(StorageUnavailable):
        session.token()
    assert session.token() == "one"


def test_a_server_that_is_away() -> None:
    with pytest.raises(StorageUnavailable):
        SignIn(agent_settings("http://127.0.0.1:9"), "name", "key").token()


def test_many_threads_sign_in_once(server: AuthServer, session: SignIn) -> None:
    server.answers = [(200, {"access_token": "one", "expires_in": 100})]
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(session.token())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["one"] * 16
    assert len(server.asked) == 1


def test_neither_key_nor_token_is_shown(server: AuthServer, session: SignIn) -> None:
    server.answers = [(200, {"access_token": "my-token", "expires_in": 100})]
    session.token()
    assert "the-key" not in repr(session)
    assert "my-token" not in repr(session)


def test_login_makes_this_process_an_agent(
    server: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_signed_in", None)
    server.answers = [(200, {"access_token": "one", "expires_in": 100})]
    auth.login("name", "the-key", agent_settings(server.url))
    assert auth.current_token() == "one"


def test_a_failed_login_leaves_nobody_signed_in(
    server: AuthServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "_signed_in", None)
    server.answers = [(400, {})]
    with pytest.raises(AccessDenied):
        auth.login("name", "wrong", agent_settings(server.url))
    assert auth._signed_in is None


def test_login_without_a_name_or_a_key(server: AuthServer) -> None:
    for name, key in ((None, None), ("name", None), (None, "key"), ("", "")):
        with pytest.raises(NotSignedIn, match="ARGOSY_AGENT"):
            auth.login(name, key, agent_settings(server.url))
