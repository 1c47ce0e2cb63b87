"""What a setting may be: types that read a variable's text, and say what is wrong with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr, StringConstraints
from pydantic_settings import NoDecode

from argosy import origins as web
from argosy.wording import Allowed


def _url_with(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not (parts.hostname or parts.path):
            starts = " or ".join(f"{scheme}://" for scheme in schemes)
            raise ValueError(f"give a URL that starts with {starts}")
        return value.rstrip("/") if parts.scheme.startswith("http") else value

    return AfterValidator(check)


def _split_paths(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(Path(part) for part in value.split(os.pathsep) if part)
    return value


def _split_spools(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    names = [name.strip() for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    return {name: folder.strip() for name, (_, _, folder) in zip(names, pairs, strict=True)}


def none_if_empty(value: Any) -> Any:
    """A variable that is there and empty, as compose makes it of one that is not set, is none."""
    return value or None


def _split_words(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(word for part in value.split(",") if (word := part.strip()))
    return value


def _read_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError("give JSON") from None


def passwords(value: SecretStr) -> SecretStr:
    """Raise ValueError unless these are pairs of a name and a password."""
    for pair in value.get_secret_value().split(","):
        name, _, password = pair.partition(":")
        if not name or not password:
            raise ValueError("give name:password, or several separated by commas")
    return value


def _absolute(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    for path in paths:
        if not path.is_absolute():
            raise ValueError(f"{path} is no whole path, from / on")
    return tuple(Path(os.path.realpath(path)) for path in paths)


BrokerUrl = Annotated[str, _url_with("amqp", "amqps", "redis", "rediss")]
ResultUrl = Annotated[str, _url_with("redis", "rediss")]
DatabaseUrl = Annotated[str, _url_with("postgresql", "postgres")]
HttpUrl = Annotated[str, _url_with("http", "https")]
SpoolPaths = Annotated[
    tuple[Path, ...], NoDecode, BeforeValidator(_split_paths), AfterValidator(_absolute)
]
SpoolName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$"),
    Allowed("give each folder a name, of up to 40 small letters, digits and hyphens"),
]
SpoolFolder = Annotated[
    str,
    StringConstraints(pattern=r"^(/[^/\x00]+)+$"),
    Allowed("give names with folders, by whole paths, as in a=/spool/a,b=/spool/b"),
]
Spools = Annotated[
    dict[SpoolName, SpoolFolder], NoDecode, BeforeValidator(_split_spools), "names and folders"
]
MediaRange = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9.+-]+/([a-z0-9.+-]+|\*)$"),
    Allowed("give content types, as in text/plain or image/*"),
]
Types = Annotated[tuple[MediaRange, ...], NoDecode, BeforeValidator(_split_words)]
Origins = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split_words), AfterValidator(web.read_list)
]
ServerUrl = Annotated[str, AfterValidator(web.read_server)]
Address = Annotated[str, AfterValidator(web.read_address), "address:port"]
PlainPath = Annotated[
    str,
    StringConstraints(pattern=r"^/[A-Za-z0-9._/+=,-]+$"),
    Allowed("give a whole path of letters, digits and . _ / + = , -"),
    "path",
]
FROM_JSON = BeforeValidator(_read_json)
"""Reads JSON, with NoDecode: what pydantic says of text that is none names no variable."""
