"""Tokens: who is let in, for how long, and what the fleet mints."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, RSAAlgorithm

from argosy import jwks
from argosy.errors import InvalidToken, NotSignedIn, StorageUnavailable
from argosy.tokens import AUDIENCE, CLOCK_SKEW_SECONDS, MAX_TOKEN_LENGTH, Mint, Verifier
from tests.unit.auth_server import SECRET, AuthServer, fleet_settings

AGENT = UUID("11111111-1111-4111-8111-111111111111")
HOUR = 3600


@pytest.fixture
def server() -> Iterator[AuthServer]:
    made = AuthServer()
    yield made
    made.close()


@pytest.fixture
def verifier(server: AuthServer) -> Verifier:
    return Verifier(fleet_settings(server.url))


class Clock:
    """Time as a test wants it: `now` since 1970, and the same steps on the monotonic clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = began = time.time()
        monotonic = time.monotonic
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self.now - began)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"sub": str(AGENT), "role": AUDIENCE, "aud": AUDIENCE, "iat": now, "exp": now + 600}
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm)


Key = tuple[ec.EllipticCurvePrivateKey, dict[str, Any], str]


def private_key(kid: str | None = "key-1") -> Key:
    """A key, its public JWK and its private JWK as text."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = ECAlgorithm.to_jwk(key, as_dict=True)
    public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    names = {"kid": kid} if kid else {}
    return key, {**public, "alg": "ES256", "use": "sig", **names}, json.dumps({**private, **names})


def asymmetric(key: Key, kid: str = "key-1", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key[0], "ES256", {"kid": kid})


# What is no token of an agent


def _encode(document: Any) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _hmac(header: Any, payload: Any, secret: bytes = SECRET.encode()) -> str:
    """Signed with an HMAC whatever it says: PyJWT would refuse to make it."""
    parts = f"{_encode(header)}.{_encode(payload)}"
    signature = HMACAlgorithm(HMACAlgorithm.SHA256).sign(parts.encode(), secret)
    return f"{parts}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _resigned(changes: dict[str, Any], secret: str = SECRET) -> str:
    return _hmac({"alg": "HS256", "typ": "JWT"}, {**claims(), **changes}, secret.encode())


def _raw(member: str) -> str:
    """With a member as it stands in JSON text: 1e400, NaN, twice the same name."""
    text = json.dumps(claims(exp=None))[:-1] + f", {member}}}"
    return _hmac({"alg": "HS256"}, text)


def _with_header(header: Any) -> str:
    return f"{_encode(header)}.{signed().split('.', 1)[1]}"


def _with_claims(token: str, changes: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{_encode({**claims(), **changes})}.{signature}"


def _without_signature() -> str:
    return ".".join([*signed().split(".")[:2], ""])


DEEP = "[" * 5000 + "]" * 5000

BAD: dict[str, Callable[[], Any]] = {
    "another secret": lambda: signed("another secret, also of 32 bytes!"),
    "no algorithm": lambda: jwt.encode(claims(), "", "none"),
    "no algorithm, in capitals": lambda: _with_header({"alg": "NONE"}),
    "no algorithm and a signature": lambda: _with_header({"alg": "none"}),
    "HS384": lambda: signed(algorithm="HS384"),
    "HS512": lambda: signed(algorithm="HS512"),
    "hs256 in small letters": lambda: _with_header({"alg": "hs256"}),
    "no signature": _without_signature,
    "a cut signature": lambda: signed()[:-4],
    "changed claims": lambda: _with_claims(signed(), {"sub": str(uuid4())}),
    "expired": lambda: signed(exp=int(time.time()) - 10),
    "expired this second": lambda: signed(exp=int(time.time())),
    "not yet": lambda: signed(nbf=int(time.time()) + CLOCK_SKEW_SECONDS + 60),
    "made in the future": lambda: signed(iat=int(time.time()) + CLOCK_SKEW_SECONDS + 60),
    "made and ending in the future": lambda: signed(
        iat=int(time.time()) + HOUR, exp=int(time.time()) + 2 * HOUR
    ),
    "no end": lambda: signed(exp=None),
    "no subject": lambda: signed(sub=None),
    "no audience": lambda: signed(aud=None),
    "another audience": lambda: signed(aud="somebody"),
    "no audience in a list": lambda: signed(aud=[]),
    "an audience that is a number": lambda: _resigned({"aud": 5}),
    "no role": lambda: signed(role=None),
    "the service role": lambda: signed(role="service_role"),
    "the anonymous role": lambda: signed(role="anon"),
    "a list of roles": lambda: signed(role=[AUDIENCE]),
    "a subject that is no UUID": lambda: signed(sub="root"),
    "a subject in braces": lambda: signed(sub=f"{{{AGENT}}}"),
    "a subject with a URN": lambda: signed(sub=f"urn:uuid:{AGENT}"),
    "a subject in capitals": lambda: signed(sub="AAAAAAAA-1111-4111-8111-111111111111"),
    "a subject that is a number": lambda: _resigned({"sub": 5}),
    "a subject that is an object": lambda: _resigned({"sub": {}}),
    "an end that is a word": lambda: _resigned({"exp": "tomorrow"}),
    "an end in quotes": lambda: _resigned({"exp": str(int(time.time()) + 600)}),
    "an end with a fraction": lambda: _resigned({"exp": time.time() + 600.5}),
    "an end that is true": lambda: _resigned({"exp": True}),
    "an end that is null": lambda: _resigned({"exp": None}),
    "an end that is a list": lambda: _resigned({"exp": [1]}),
    "an end that is an object": lambda: _resigned({"exp": {"$gt": 0}}),
    "an infinite end": lambda: _resigned({"exp": float("inf")}),
    "an end that is no number": lambda: _resigned({"exp": float("nan")}),
    "an end beyond floats": lambda: _raw('"exp": 1e400'),
    "an end beyond words": lambda: _raw(f'"exp": {"9" * 400}'),
    "an end beyond what Python reads": lambda: _raw(f'"exp": {"9" * 5000}'),
    "an end after the last year": lambda: _resigned({"exp": 253402300800}),
    "an end before time": lambda: _resigned({"exp": -1}),
    "a start that is null": lambda: _resigned({"nbf": None}),
    "a start that is no number": lambda: _resigned({"nbf": float("nan")}),
    "a start that is a word": lambda: _resigned({"nbf": "now"}),
    "made true": lambda: _resigned({"iat": True}),
    "made at a huge time": lambda: _resigned({"iat": 10**400}),
    "made with a fraction": lambda: _resigned({"iat": 1.5}),
    "claims that are a list": lambda: _hmac({"alg": "HS256"}, [1]),
    "claims that are a number": lambda: _hmac({"alg": "HS256"}, 5),
    "claims that are no JSON": lambda: _hmac({"alg": "HS256"}, "{"),
    "a header like an onion": lambda: _with_header(f'{{"alg": "HS256", "x": {DEEP}}}'),
    "a header that is a list": lambda: _with_header([]),
    "nonsense": lambda: "nonsense",
    "two parts": lambda: "a.b",
    "four parts": lambda: f"{signed()}.x",
    "only dots": lambda: "..",
    "unicode": lambda: "ä.ö.ü",
    "a surrogate": lambda: "\udcff.a.b",
    "a line end": lambda: f"{signed()}\n.",
    "a number": lambda: 5,
    "a list": lambda: ["a"],
    "bytes": lambda: b"a.b.c",
    "an object": lambda: {"a": 1},
    "a list as algorithm": lambda: _with_header({"alg": ["HS256"]}),
    "no header": lambda: _with_header({}),
    "a key id that is a number": lambda: _with_header({"alg": "ES256", "kid": 5}),
    "a key id that is null": lambda: _with_header({"alg": "ES256", "kid": None}),
    "a key id that is a path": lambda: _with_header({"alg": "ES256", "kid": "../../../dev/null"}),
    "a key id that is SQL": lambda: _with_header({"alg": "ES256", "kid": "x' UNION SELECT 'k"}),
    "an unknown key": lambda: _with_header({"alg": "ES256", "kid": "unknown"}),
    "no key named": lambda: _with_header({"alg": "ES256"}),
    "a critical extension": lambda: _with_header({"alg": "HS256", "crit": ["x"], "x": 1}),
    "unencoded claims": lambda: _hmac({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims()),
    "a large one": lambda: signed(email="x" * MAX_TOKEN_LENGTH),
    "a huge one": lambda: "a" * 50_000_000,
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_token(verifier: Verifier, server: AuthServer, case: str) -> None:
    token = BAD[case]()
    for keys in ([], [private_key()[1]]):
        server.keys = keys
        with pytest.raises(InvalidToken, match="sign in again") as caught:
            verifier.verify(token)
        assert len(caught.value.message) < 200
        assert str(token) not in caught.value.message


def test_the_helpers_sign_rightly(verifier: Verifier) -> None:
    assert verifier.verify(_resigned({})).agent_id == AGENT
    assert verifier.verify(_raw(f'"exp": {int(time.time()) + 600}')).agent_id == AGENT


def test_a_good_token(verifier: Verifier) -> None:
    token = signed(exp=int(time.time()) + 100)
    identity = verifier.verify(token)
    assert identity.agent_id == AGENT
    assert identity.expires_at == jwt.decode(token, options={"verify_signature": False})["exp"]


def test_an_audience_may_stand_in_a_list(verifier: Verifier) -> None:
    """Supabase Auth writes the first token after its start so."""
    assert verifier.verify(signed(aud=[AUDIENCE])).agent_id == AGENT


def test_a_token_of_a_full_kind(verifier: Verifier) -> None:
    profile: dict[str, Any] = {
        "email": "a@b.c",
        "app_metadata": {"x": ["y"] * 500},
        "session_id": str(uuid4()),
    }
    token = signed(iss="https://another.name/auth/v1", **profile)
    assert verifier.verify(token).agent_id == AGENT


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_token(verifier: Verifier, nothing: str | None) -> None:
    with pytest.raises(NotSignedIn, match=r"argosy\.login"):
        verifier.verify(nothing)


def test_claims_like_an_onion_end_no_worker(verifier: Verifier) -> None:
    """A user writes what is in `user_metadata`; how deep Python reads depends on its version."""
    with suppress(InvalidToken):
        verifier.verify(_raw(f'"exp": {int(time.time()) + 600}, "user_metadata": {DEEP}'))


# Dates


def test_the_wait_of_a_request_is_allowed_for(verifier: Verifier) -> None:
    token = signed(exp=int(time.time()) - 100)
    assert verifier.verify(token, leeway_seconds=200).agent_id == AGENT
    with pytest.raises(InvalidToken, match="expired"):
        verifier.verify(token, leeway_seconds=50)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_waiting_makes_no_token_valid_early(verifier: Verifier, name: str) -> None:
    token = jwt.encode(claims(**{name: int(time.time()) + 100}), SECRET, "HS256")
    with pytest.raises(InvalidToken, match="clocks"):
        verifier.verify(token, leeway_seconds=HOUR)


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_clocks_may_differ_a_little(verifier: Verifier, clock: Clock, name: str) -> None:
    token = jwt.encode(claims(**{name: int(clock.now) + CLOCK_SKEW_SECONDS}), SECRET, "HS256")
    assert verifier.verify(token).agent_id == AGENT
    clock.now -= 1
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_an_end_is_an_end(verifier: Verifier, clock: Clock) -> None:
    clock.now = float(int(clock.now))
    token = signed(exp=int(clock.now) + 1)
    assert verifier.verify(token)
    clock.now += 1
    with pytest.raises(InvalidToken):
        verifier.verify(token)


# Public keys


def test_a_key_of_the_project_is_taken(server: AuthServer) -> None:
    key = private_key()
    server.keys = [key[1]]
    verifier = Verifier(fleet_settings(server.url))
    for _ in range(5):
        assert verifier.verify(asymmetric(key)).agent_id == AGENT
    assert server.jwks_asked == 1


def test_an_rsa_key_of_the_project_is_taken(server: AuthServer) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    server.keys = [{**public, "kid": "rsa", "alg": "RS256", "use": "sig"}]
    token = jwt.encode(claims(), key, "RS256", {"kid": "rsa"})
    assert Verifier(fleet_settings(server.url)).verify(token).agent_id == AGENT


def test_the_key_counts_and_not_its_name(server: AuthServer, verifier: Verifier) -> None:
    """A stranger's key under the id of the project's."""
    server.keys = [private_key()[1]]
    with pytest.raises(InvalidToken):
        verifier.verify(asymmetric(private_key()))


@pytest.mark.parametrize(
    "use", [{"use": "enc"}, {"kid": None}, {"kid": 5}, {"kid": ""}, {"alg": "ES384"}, {"kty": "x"}]
)
def test_a_key_that_is_not_for_this(
    server: AuthServer, verifier: Verifier, use: dict[str, Any]
) -> None:
    key = private_key()
    server.keys = [{**key[1], **use}]
    with pytest.raises(InvalidToken):
        verifier.verify(asymmetric(key))


def test_a_secret_among_the_public_keys_is_none(server: AuthServer) -> None:
    """Whoever publishes a symmetric key, it lets nobody in."""
    secret = b"published, and long enough for HMAC-SHA-256"
    octets = {"kty": "oct", "k": _encode(secret.decode()), "alg": "HS256"}
    server.keys = [{**octets, "kid": "key-1", "use": "sig"}]
    for own in ({}, {"supabase_jwt_secret": None, "supabase_jwt_signing_key": private_key()[2]}):
        token = _hmac({"alg": "HS256", "kid": "key-1"}, claims(), secret)
        with pytest.raises(InvalidToken):
            Verifier(fleet_settings(server.url, **own)).verify(token)


def test_a_public_key_is_no_secret(server: AuthServer) -> None:
    """The classic confusion: an HMAC made with the public key, which everybody has."""
    key = private_key()
    server.keys = [key[1]]
    own = {"supabase_jwt_secret": None, "supabase_jwt_signing_key": key[2]}
    verifier = Verifier(fleet_settings(server.url, **own))
    forms = (serialization.Encoding.PEM, serialization.Encoding.DER)
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    public = [key[0].public_key().public_bytes(form, kind) for form in forms]
    texts = [json.dumps(key[1]), key[1]["x"] + key[1]["y"], key[1]["x"], "None", ""]
    for secret in [*public, *(text.encode() for text in texts)]:
        for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "key-1"}, {"alg": "ES256"}):
            with pytest.raises(InvalidToken):
                verifier.verify(_hmac(header, claims(), secret))
    assert verifier.verify(asymmetric(key))


def test_a_key_that_a_token_brings_along_is_not_used(server: AuthServer) -> None:
    stranger, attacker = private_key(), AuthServer()
    attacker.keys = [stranger[1]]
    url = f"{attacker.url}/auth/v1/.well-known/jwks.json"
    for header in ({"jku": url}, {"x5u": url}, {"jwk": stranger[1]}, {"x5c": ["MIIB"]}):
        for kid in ({"kid": "key-1"}, {}, {"kid": url}):
            token = jwt.encode(claims(), stranger[0], "ES256", {**header, **kid})
            with pytest.raises(InvalidToken):
                Verifier(fleet_settings(server.url)).verify(token)
    assert attacker.jwks_asked == 0
    attacker.close()


def test_a_key_of_the_wrong_kind(server: AuthServer, verifier: Verifier) -> None:
    """An RS256 token that names the project's elliptic key."""
    server.keys = [private_key()[1]]
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(InvalidToken):
        verifier.verify(jwt.encode(claims(), key, "RS256", {"kid": "key-1"}))


def test_a_key_that_was_rotated_in_is_found_at_once(
    server: AuthServer, verifier: Verifier, clock: Clock
) -> None:
    old, new = private_key("old"), private_key("new")
    server.keys = [old[1]]
    verifier.verify(asymmetric(old, "old"))
    server.keys = [old[1], new[1]]
    clock.now += jwks.PAUSE_SECONDS
    assert verifier.verify(asymmetric(new, "new"))
    assert server.jwks_asked == 2


def test_forged_key_ids_do_not_hammer_auth(
    server: AuthServer, verifier: Verifier, clock: Clock
) -> None:
    key = private_key()
    server.keys = [key[1]]
    for _ in range(3):
        for _ in range(20):
            with pytest.raises(InvalidToken):
                verifier.verify(asymmetric(private_key(), uuid4().hex))
            assert verifier.verify(asymmetric(key))
        clock.now += jwks.PAUSE_SECONDS
    assert server.jwks_asked == 3


def test_many_threads_ask_for_the_keys_once(server: AuthServer, verifier: Verifier) -> None:
    key = private_key()
    server.keys = [key[1]]
    token, found = asymmetric(key), []
    threads = [
        threading.Thread(target=lambda: found.append(verifier.verify(token).agent_id))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [AGENT] * 16
    assert server.jwks_asked == 1


def test_a_revoked_key_goes(server: AuthServer, verifier: Verifier, clock: Clock) -> None:
    key = private_key()
    server.keys = [key[1]]
    token = asymmetric(key, exp=int(clock.now) + HOUR)
    assert verifier.verify(token)
    server.keys = []
    clock.now += jwks.FRESH_SECONDS
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_known_keys_do_while_auth_is_away(
    server: AuthServer, verifier: Verifier, clock: Clock
) -> None:
    key = private_key()
    server.keys = [key[1]]
    token = asymmetric(key, exp=int(clock.now) + 2 * HOUR)
    assert verifier.verify(token)
    server.jwks_status = 503
    clock.now += jwks.FRESH_SECONDS
    assert verifier.verify(token)
    with pytest.raises(StorageUnavailable):  # this one may have been rotated in
        verifier.verify(asymmetric(private_key(), "new"))
    clock.now += jwks.STALE_SECONDS
    with pytest.raises(StorageUnavailable):
        verifier.verify(token)
    server.jwks_status = 200
    clock.now += jwks.PAUSE_SECONDS
    assert verifier.verify(token)


def test_public_keys_out_of_reach_are_no_fault_of_the_token() -> None:
    verifier = Verifier(fleet_settings("http://127.0.0.1:9"))
    with pytest.raises(StorageUnavailable) as caught:
        verifier.verify(asymmetric(private_key()))
    assert 0 < (caught.value.retry_after or 0) <= jwks.PAUSE_SECONDS
    assert verifier.verify(signed()).agent_id == AGENT


def test_auth_is_not_asked_again_at_once_when_it_fails(
    server: AuthServer, verifier: Verifier, clock: Clock
) -> None:
    key = private_key()
    server.keys, server.jwks_status = [key[1]], 500
    for _ in range(5):
        with pytest.raises(StorageUnavailable):
            verifier.verify(asymmetric(key))
    assert server.jwks_asked == 1
    server.jwks_status = 200
    clock.now += jwks.PAUSE_SECONDS
    assert verifier.verify(asymmetric(key))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_project_without_public_keys(server: AuthServer, verifier: Verifier, status: int) -> None:
    """A token with a key of its own invention is not worth waiting for."""
    server.jwks_status = status
    for _ in range(3):
        with pytest.raises(InvalidToken):
            verifier.verify(asymmetric(private_key(), uuid4().hex))
    assert server.jwks_asked == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_public_keys_that_come_later(server: AuthServer, verifier: Verifier, status: int) -> None:
    server.jwks_status = status
    with pytest.raises(StorageUnavailable):
        verifier.verify(asymmetric(private_key()))


def test_known_keys_do_while_a_gateway_does_not_find_auth(
    server: AuthServer, verifier: Verifier, clock: Clock
) -> None:
    key = private_key()
    server.keys = [key[1]]
    token = asymmetric(key, exp=int(clock.now) + 2 * HOUR)
    assert verifier.verify(token)
    server.jwks_status = 404
    clock.now += jwks.FRESH_SECONDS
    assert verifier.verify(token)
    with pytest.raises(InvalidToken):
        verifier.verify(asymmetric(private_key(), "new"))
    clock.now += jwks.STALE_SECONDS
    with pytest.raises(InvalidToken):
        verifier.verify(token)


@pytest.mark.parametrize("keys", [5, {"a": 1}, None, "keys"])
def test_what_is_no_key_set_is_an_outage(server: AuthServer, verifier: Verifier, keys: Any) -> None:
    server.keys = keys
    with pytest.raises(StorageUnavailable):
        verifier.verify(asymmetric(private_key()))


def test_a_key_that_cannot_be_read_is_passed_over(server: AuthServer, verifier: Verifier) -> None:
    key = private_key()
    odd: list[Any] = [
        1,
        None,
        "x",
        [],
        {},
        {"kty": "EC"},
        {"kty": []},
        {**key[1], "x": 5},
        {"kty": "RSA"},
    ]
    unknown = {"kty": "AKP", "alg": "ML-DSA-44", "kid": "pq", "pub": "AA"}
    server.keys = [*odd, unknown, key[1]]
    assert verifier.verify(asymmetric(key)).agent_id == AGENT


# Minting


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
