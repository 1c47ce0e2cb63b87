"""A project that signs with ES256: agents' tokens are checked by its published key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from argosy.errors import InvalidToken
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, deployed, remote

pytestmark = pytest.mark.skipif(remote(), reason="a project has the keys that it has")


def _jwk() -> str:
    key = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return json.dumps({**key, "kid": uuid4().hex, "alg": "ES256"})


@pytest.fixture(scope="module")
def asymmetric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    settings = {"SUPABASE_JWT_SIGNING_KEY": _jwk()}
    with deployed(tmp_path_factory.mktemp("asymmetric"), settings) as made:
        yield made


@pytest.fixture
def theirs(asymmetric: Deployment) -> Sender:
    asymmetric.app.set_current()
    asymmetric.app.set_default()
    return Sender(asymmetric.add_agent())


def test_there_and_back(asymmetric: Deployment, theirs: Sender) -> None:
    assert jwt.get_unverified_header(theirs.agent.token())["alg"] == "ES256"
    source = asymmetric.make_file("source.bin", 100_000)
    reference = theirs.upload(source).get(timeout=RESULT_SECONDS)
    destination = Path(f"{source}.back")
    theirs.download(reference, destination).get(timeout=RESULT_SECONDS)
    assert destination.read_bytes() == source.read_bytes()


def test_a_key_of_the_same_name(asymmetric: Deployment, theirs: Sender) -> None:
    good = theirs.agent.token()
    header = jwt.get_unverified_header(good)
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(
        claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": header["kid"]}
    )
    theirs.headers = {"argosy_token": forged}
    with pytest.raises(InvalidToken):
        theirs.upload("/nowhere").get(timeout=RESULT_SECONDS)
