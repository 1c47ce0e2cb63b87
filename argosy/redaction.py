"""The one filter for secrets: nothing that Argosy writes down goes past it.

It knows what tokens, keys and passwords look like, and the very values that
this process was given. What it takes out is gone, not encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, SecretStr

GONE = "[redacted]"
SHORTEST_SECRET = 8
"""A known value shorter than this is also part of ordinary words."""

# Each of these takes time in proportion to the text: strangers write what is looked at.
_TOKEN = re.compile(r"(?<![\w-])eyJ[\w-]{9,}(?:\.[\w-]*){0,4}", re.ASCII)
"""A JWT, whole or cut short: base64url of `{"`, then the rest."""
_NEVER_AN_ARGUMENT = re.compile(
    r"(?<![\w-])eyJ[\w-]{9,}\.eyJ[\w-]{9,}\.[\w-]{16,}"  # a whole JWT
    r"|(?i:X-Amz-(?:Signature|Security-Token)=)\w"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bsb_secret_\w",
    re.ASCII,
)

_NAMES = (
    r"api[_-]?key|authorization|password|passwd|secret|access_token|refresh_token|"
    r"(?:agent|service|service_role|anon|signing)_key|argosy_(?:token|seal)"
)
_IN_URLS = (
    r"token|access_token|refresh_token|apikey|api_key|key|sig|signature|password|"
    r"X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential"
)

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
        ),
        GONE,
    ),
    # The private members of a JWK (RFC 7518, 6), also inside a quoted document.
    (re.compile(r"""(["'](?:d|k|p|q|dp|dq|qi)\\*["']\s*:\s*\\*["'])[\w-]{16,}"""), rf"\1{GONE}"),
    (_TOKEN, GONE),
    (re.compile(r"\bsb_(?:secret|publishable)_\w+"), GONE),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}"), rf"\1{GONE}"),
    (re.compile(rf"(?i)([?&;](?:{_IN_URLS})=)[^&;\s\"'<>\\]+"), rf"\1{GONE}"),
    (
        re.compile(
            rf"""(?i)((?:{_NAMES})(?:\\*["']?\s*[:=]|\\*["']\s*,)\s*b?\\*["']?(?:basic\s+)?)"""
            r"""[^\s"'\\,;&)}\[]{6,}"""
        ),
        rf"\1{GONE}",
    ),
    (re.compile(r"(://[^\s/@:\"']*:)[^\s/@\"']+(?=@)"), rf"\1{GONE}"),
)


class _Known:
    """The values that this process was given."""

    values: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None


def learn(secrets: Iterable[str]) -> None:
    """Take these very values out from now on, also as they stand in a URL."""
    fit = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
    _Known.values |= fit | {quote(secret, safe="") for secret in fit}
    longest_first = sorted(_Known.values, key=len, reverse=True)
    if longest_first:
        _Known.pattern = re.compile("|".join(map(re.escape, longest_first)))


def secrets_in(settings: BaseModel) -> set[str]:
    """Every secret of these settings: the secret fields, and the passwords of URLs."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        elif isinstance(value, str) and "://" in value:
            found |= {unquote(password) for password in _passwords(value)}
    return found


def redact(text: str) -> str:
    """The text without secrets."""
    if _Known.pattern:
        text = _Known.pattern.sub(GONE, text)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def redacted(value: Any) -> Any:
    """A value for a log, without secrets at any depth; an object becomes its redacted repr."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(name)): redacted(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(inner) for inner in value]
    return redact(repr(value))


def holds_secret(value: Any) -> bool:
    """Whether a whole token, signature or private key stands anywhere in a JSON value.

    Only what no name of a file would be: see `redact` for what may be one.
    """
    if isinstance(value, str):
        return _NEVER_AN_ARGUMENT.search(value) is not None
    if isinstance(value, Mapping):
        return any(holds_secret(inner) for pair in value.items() for inner in pair)
    return isinstance(value, list | tuple) and any(map(holds_secret, value))


def _passwords(urls: str) -> set[str]:
    """Of one URL, or of several with semicolons between them, as kombu takes them."""
    parts = (urlsplit(url) for url in urls.split(";"))
    return {part.password for part in parts if part.password}
