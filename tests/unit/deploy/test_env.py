"""`make env`: fresh keys once, and never another key in place of one that is used."""

from __future__ import annotations

import re
from pathlib import Path

import jwt

from tests.unit.deploy.compose import ROOT
from tests.unit.deploy.conftest import make_env

SECRET = re.compile(r"(PASSWORD|SECRET|KEY)$")


def test_every_secret_is_made_up(folder: Path) -> None:
    made = make_env(folder)
    secrets = {name: value for name, value in made.items() if SECRET.search(name)}
    assert len(secrets) == 13
    assert all(len(value) >= 32 for value in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", value) for value in secrets.values())  # in URLs


def test_the_example_has_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = [line.partition("=") for line in lines if not line.startswith("#")]
    assert [value for name, _, value in named if SECRET.search(name) and value] == []


def test_keys_speak_for_their_roles(folder: Path) -> None:
    made = make_env(folder)
    for name, role in (
        ("SUPABASE_ANON_KEY", "anon"),
        ("SUPABASE_SERVICE_ROLE_KEY", "service_role"),
    ):
        claims = jwt.decode(made[name], made["SUPABASE_JWT_SECRET"], algorithms=["HS256"])
        assert claims["role"] == role
        assert claims["exp"] - claims["iat"] > 9 * 365 * 86_400


def test_only_its_owner_reads_it(folder: Path) -> None:
    make_env(folder)
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in folder.iterdir()} == {".env", ".env.example"}


def test_what_is_there_stays(folder: Path) -> None:
    before = make_env(folder)
    lines = (folder / ".env").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("FLOWER_PASSWORD")]
    (folder / ".env").write_text("\n".join([*kept, "BIND=0.0.0.0", "OWN=mine", ""]))
    after = make_env(folder)
    assert after.pop("FLOWER_PASSWORD") not in ("", before.pop("FLOWER_PASSWORD"))
    assert after == {**before, "BIND": "0.0.0.0", "OWN": "mine"}
    again = (folder / ".env").read_text()
    make_env(folder)
    assert (folder / ".env").read_text() == again


def test_two_are_never_the_same(folder: Path) -> None:
    one = make_env(folder)
    (folder / ".env").unlink()
    other = make_env(folder)
    assert not [name for name in one if SECRET.search(name) and one[name] == other[name]]
