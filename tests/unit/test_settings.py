"""Settings: each missing or malformed one is named, and no secret is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from argosy.settings import (
    S3_MIN_PART_BYTES,
    AgentSettings,
    FleetSettings,
    SettingsError,
    environment_name,
    load,
)

SECRETS = {
    "SUPABASE_ANON_KEY": "the-anon-key",
    "SUPABASE_SERVICE_ROLE_KEY": "the-service-key",
    "SUPABASE_JWT_SECRET": "the-jwt-secret-of-32-bytes-or-so",
    "BROKER_URL": "amqp://agent:broker-password@localhost:5672/argosy",
    "RESULT_URL": "redis://:result-password@localhost:6379/0",
    "DATABASE_URL": "postgresql://postgres:database-password@localhost:5432/postgres",
    "ARGOSY_AGENT_KEY": "the-agent-key",
}
GOOD = {
    **SECRETS,
    "SUPABASE_URL": "https://project.supabase.co/",
    "SUPABASE_PROJECT_REF": "project",
    "ARGOSY_SPOOL": "/var/spool/argosy",
    "ARGOSY_AGENT": "somebody",
}
FLEET = [
    "SUPABASE_URL",
    "SUPABASE_ANON_KEY",
    "BROKER_URL",
    "RESULT_URL",
    "SUPABASE_SERVICE_ROLE_KEY",
    "DATABASE_URL",
    "ARGOSY_SPOOL",
]
AGENT = ["SUPABASE_URL", "SUPABASE_ANON_KEY", "BROKER_URL", "RESULT_URL"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("ARGOSY_", "SUPABASE_", "DATABASE_", "BROKER_", "RESULT_")):
            monkeypatch.delenv(name)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("url", "reference", "expected"),
    [
        ("https://abc.supabase.co", None, "abc"),
        ("https://abc.supabase.co", "other", "other"),
        ("https://files.example.com", None, "stub"),
        ("http://127.0.0.1:8000", None, "stub"),
    ],
)
def test_the_projects_reference(
    monkeypatch: pytest.MonkeyPatch, url: str, reference: str | None, expected: str
) -> None:
    monkeypatch.setenv("SUPABASE_URL", url)
    monkeypatch.delenv("SUPABASE_PROJECT_REF")
    if reference:
        monkeypatch.setenv("SUPABASE_PROJECT_REF", reference)
    assert load(AgentSettings).project_ref == expected


def test_good_settings_are_read() -> None:
    settings = load(FleetSettings)
    assert settings.supabase_url == "https://project.supabase.co"
    assert settings.spool == (Path("/var/spool/argosy"),)
    assert settings.agent == "somebody"


@pytest.mark.parametrize("name", FLEET)
def test_a_missing_setting_of_the_fleet_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsError) as caught:
        load(FleetSettings)
    assert f"{name} is not set" in str(caught.value).splitlines()[1]


@pytest.mark.parametrize("name", AGENT)
def test_a_missing_setting_of_an_agent_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        load(AgentSettings)


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in FLEET:
        monkeypatch.delenv(name)
    with pytest.raises(SettingsError) as caught:
        load(FleetSettings)
    assert all(f"{name} is not set" in str(caught.value) for name in FLEET)


def test_an_agent_needs_nothing_of_the_fleets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(FLEET) - set(AGENT) | {"SUPABASE_JWT_SECRET"}:
        monkeypatch.delenv(name)
    assert not hasattr(load(AgentSettings), "supabase_service_role_key")


def test_where_missing_settings_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROKER_URL")
    with pytest.raises(SettingsError, match=r"\.argosy/agent\.env, and `argosy agents add` prints"):
        load(AgentSettings)
    with pytest.raises(SettingsError, match=r"\.argosy/operator\.env") as caught:
        load(FleetSettings)
    assert "operator, and" not in str(caught.value)


def test_an_agent_is_told_what_is_an_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(FLEET) - set(AGENT):
        monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match="for the fleet's operator, and what is set here are"):
        load(FleetSettings)


@pytest.mark.parametrize("empty", [None, ""])
def test_a_fleet_that_cannot_mint_is_refused(
    monkeypatch: pytest.MonkeyPatch, empty: str | None
) -> None:
    monkeypatch.delenv("SUPABASE_JWT_SECRET")
    if empty is not None:
        monkeypatch.setenv("SUPABASE_JWT_SECRET", empty)
    with pytest.raises(SettingsError, match=r"SUPABASE_JWT_SECRET.*SUPABASE_JWT_SIGNING_KEY"):
        load(FleetSettings)


MALFORMED = [
    ("SUPABASE_URL", "project.supabase.co"),
    ("SUPABASE_URL", "ftp://project.supabase.co"),
    ("SUPABASE_URL", "https://"),
    ("DATABASE_URL", "mysql://localhost/x"),
    ("DATABASE_URL", "nonsense"),
    ("BROKER_URL", "nonsense"),
    ("RESULT_URL", "nonsense"),
    ("SUPABASE_JWT_SIGNING_KEY", "{"),
    ("SUPABASE_JWT_SIGNING_KEY", '{"kty": "EC"}'),
    ("SUPABASE_JWT_SIGNING_KEY", "[]"),
    ("ARGOSY_PROCESS", "text/*"),
    ("ARGOSY_THUMBNAIL_SIZES", "128,512"),
    ("ARGOSY_SPOOL", ""),
    ("ARGOSY_SPOOL", "relative/folder"),
    ("ARGOSY_SPOOL", f"/var/spool{os.pathsep}relative"),
    ("ARGOSY_BUCKET", ""),
    ("ARGOSY_PART_SIZE", "large"),
    ("ARGOSY_PART_SIZE", str(S3_MIN_PART_BYTES - 1)),
    ("ARGOSY_PART_SIZE", str(5 * 1024**3 + 1)),
    ("ARGOSY_PART_SIZE", "1e999"),
    ("ARGOSY_CHUNK_THRESHOLD", "-1"),
    ("ARGOSY_WINDOW", "0"),
    ("ARGOSY_WINDOW", "10001"),
    ("ARGOSY_LEASE_SECONDS", "0"),
    ("ARGOSY_LEASE_SECONDS", "soon"),
    ("ARGOSY_LEASE_SECONDS", "inf"),
    ("ARGOSY_LEASE_SECONDS", "nan"),
    ("ARGOSY_RESUME_SECONDS", "inf"),
    ("ARGOSY_REPUBLISH_SECONDS", "inf"),
    ("ARGOSY_RETENTION_DAYS", "inf"),
    ("ARGOSY_GIVE_UP_HOURS", "inf"),
    ("ARGOSY_REQUEST_WAIT_SECONDS", "inf"),
    ("ARGOSY_MAX_ATTEMPTS", "0"),
    ("ARGOSY_AGENT_TOKEN_SECONDS", "59"),
    ("ARGOSY_PROGRESS_SECONDS", "0.01"),
    ("ARGOSY_CONCURRENCY", "0"),
    ("ARGOSY_FLOWER_PORT", "65536"),
    ("ARGOSY_CHILD_MEMORY_MB", "1"),
]


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(FleetSettings)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SUPABASE_URL", "project", "give a URL that starts with http:// or https://"),
        ("ARGOSY_LEASE_SECONDS", "soon", "give a number"),
        ("ARGOSY_LEASE_SECONDS", "nan", "give a finite number"),
        ("ARGOSY_PART_SIZE", "1", "give 5242880 or more"),
        ("ARGOSY_WHOLE_MD5", "no way", "give true or false"),
        ("ARGOSY_THUMBNAIL_FORMAT", "bmp", "give one of 'webp', 'jpeg', 'png' or 'avif'"),
        ("ARGOSY_THUMBNAIL_SIZES", "128,512", "give JSON"),
        ("ARGOSY_THUMBNAIL_SIZES", "128", "give a list"),
        ("ARGOSY_PROCESS", "[]", "give names and values"),
        ("ARGOSY_ALLOWED_TYPES", "text", "give content types, as in text/plain or image/*"),
        ("ARGOSY_SPOOLS", "a=b", "give names with folders, by whole paths, as in a=/spool/a,b=/s"),
    ],
)
def test_what_is_allowed_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(FleetSettings)
    assert str(caught.value).splitlines()[1].startswith(f"  {name}: {words}")


@pytest.mark.parametrize("name", ["SUPABASE_URL", "DATABASE_URL", "ARGOSY_PART_SIZE"])
def test_a_malformed_value_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It may be a secret in the wrong variable."""
    monkeypatch.setenv(name, "misplaced-secret")
    with pytest.raises(SettingsError) as caught:
        load(FleetSettings)
    assert "misplaced-secret" not in str(caught.value)


@pytest.mark.parametrize("secret", SECRETS, ids=str)
def test_no_secret_is_shown(secret: str) -> None:
    value = SECRETS[secret]
    password = value.split("@")[0].rpartition(":")[2]
    for kind in (AgentSettings, FleetSettings):
        settings = load(kind)
        assert password not in repr(settings)
        assert password not in str(settings)


def test_spool_folders_are_separated_like_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_SPOOL", os.pathsep.join(["/one", "/two", ""]))
    assert load(FleetSettings).spool == (Path("/one"), Path("/two"))


def test_a_spool_behind_a_symlink_is_taken_for_what_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("ARGOSY_SPOOL", str(tmp_path / "link"))
    assert load(FleetSettings).spool == ((tmp_path / "real").resolve(),)


@pytest.mark.parametrize("field", FleetSettings.model_fields)
def test_every_setting_is_read_from_the_variable_that_is_named(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """Every variable is heard: a value no setting takes is refused under its name."""
    name = environment_name(field)
    kind = FleetSettings.model_fields[field].annotation
    if kind not in (int, float):
        assert name in GOOD or load(FleetSettings)
        return
    monkeypatch.setenv(name, "banana")
    with pytest.raises(SettingsError, match=name):
        load(FleetSettings)


def test_every_setting_is_described() -> None:
    assert all(info.description for info in FleetSettings.model_fields.values())
