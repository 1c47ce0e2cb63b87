"""User metadata, on its way through HTTP headers and back.

Header values are ASCII, names and values of files are not: values travel
percent-encoded (RFC 3986, UTF-8). Names are letters, digits and hyphens, in lower
case: proxies drop headers with an underscore or a dot without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from argosy.errors import InvalidRequest

PREFIX = "x-amz-meta-"
MAX_BYTES = 8 * 1024
"""All names and encoded values together: servers take 16 KiB of headers, the token included."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def encode_value(value: str) -> str:
    """Any Unicode text as unreserved characters and percent-escapes.

    Raises InvalidRequest for text that is no Unicode (half of a surrogate pair).
    """
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest(f"metadata is not valid Unicode: {value!a:.80}") from None


def decode_value(value: str) -> str:
    """The text again; what is not our encoding is returned as it is."""
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return value


def to_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """The `x-amz-meta-*` headers.

    Raises InvalidRequest for a bad name, text that is no Unicode, or more than `MAX_BYTES`.
    """
    for name in metadata:
        if not _NAME.fullmatch(name):
            raise InvalidRequest(
                f"metadata name {name!a:.80}: use lower-case letters, digits and single hyphens"
            )
    headers = {PREFIX + name: encode_value(value) for name, value in metadata.items()}
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_BYTES:
        raise InvalidRequest(f"metadata takes more than {MAX_BYTES} bytes when encoded")
    return headers


def from_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The metadata in the headers of an answer."""
    return {
        name.lower().removeprefix(PREFIX): decode_value(value)
        for name, value in headers.items()
        if name.lower().startswith(PREFIX)
    }
