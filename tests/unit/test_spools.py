"""Which spool a path is in, and how the spools of a fleet are named."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from argosy.setting_types import Spools
from argosy.settings import FleetSettings
from tasks.spools import elsewhere, own_spools, spool_of
from tests.unit.auth_server import fleet_settings

NAMED = "a=/spool/a,b=/spool/b, inner=/spool/a/inner"


@pytest.fixture
def settings() -> FleetSettings:
    return fleet_settings("http://localhost:1", spools=NAMED, spool="/spool/a")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/spool/a/x", "a"),
        ("/spool/a/deep/er/x", "a"),
        ("/spool/b/x", "b"),
        ("/spool/a/inner/x", "inner"),
        ("/spool/ab/x", None),
        ("/spool/a", None),
        ("/spool/x", None),
        ("", None),
        ("relative/x", None),
    ],
)
def test_the_spool_of_a_path(settings: FleetSettings, path: str, name: str | None) -> None:
    assert spool_of(settings, path) == name


def test_what_is_here_and_what_is_elsewhere(settings: FleetSettings) -> None:
    assert own_spools(settings) == ["a"]
    assert elsewhere(settings, "/spool/a/x") is None
    assert elsewhere(settings, "/no/spool/x") is None
    assert elsewhere(settings, "/spool/b/x") == "b"


@pytest.mark.parametrize(
    "text",
    ["a", "a=", "=/x", "a=x", "A=/x", "a b=/x", "a=/x/", "a=/x,a=/y", "a@b=/x", "a=/", "-=/x"],
)
def test_names_and_folders_that_are_none(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Spools).validate_python(text)


def test_none_are_named() -> None:
    assert TypeAdapter(Spools).validate_python("") == {}
