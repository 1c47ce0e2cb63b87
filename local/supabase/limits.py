"""What names, types and sizes a bucket takes."""

from __future__ import annotations

import re

from local.supabase import errors

MIB = 1024 * 1024
MIN_PART_SIZE = 5 * MIB
MAX_PART_SIZE = 5 * 1024 * MIB
MAX_PART_NUMBER = 10_000
MAX_KEY_BYTES = 1024
EMPTY_FOLDER = ".emptyFolderPlaceholder"

_KEY = re.compile(r"[A-Za-z0-9_/!.*'() &$=@;:+,?-]+")
_BUCKET = re.compile(r"[A-Za-z0-9_!.*'() &$=@;:+,?-]{1,100}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(gb|mb|kb|b)", re.IGNORECASE)
_UNITS = {"gb": 10**9, "mb": 10**6, "kb": 10**3, "b": 1}
_MIME_TYPE = re.compile(r"[a-zA-Z0-9\-+.]+/([a-zA-Z0-9\-+.]+(;\s*charset=[a-zA-Z0-9\-]+)?|\*)|\*")


def check_key(key: str) -> None:
    """Refuse an object name that is empty, too long, or has other than the allowed letters."""
    if not _KEY.fullmatch(key):
        raise errors.invalid_key(key)
    if len(key) > MAX_KEY_BYTES:
        raise errors.key_too_long()


def check_bucket_name(name: str) -> None:
    """Refuse a bucket name that is empty, too long, or has other than the allowed letters."""
    if name != name.strip() or not _BUCKET.fullmatch(name):
        raise errors.invalid_bucket_name()


def check_mime_type(mime_type: str, allowed: list[str] | None) -> None:
    """Refuse a content type that the bucket does not take; no list takes all."""
    if not allowed:
        return
    kind, slash, name = mime_type.partition("/")
    if not slash or not {f"{kind}/*", f"{kind}/{name}", "*/*", "*"} & set(allowed):
        raise errors.invalid_mime_type(mime_type)


def check_mime_patterns(patterns: list[str]) -> None:
    """Refuse what cannot be a content type in a bucket's list."""
    for pattern in patterns:
        if not _MIME_TYPE.fullmatch(pattern):
            raise errors.invalid_mime_type(pattern)


def parse_size(value: int | str) -> int:
    """Read a size limit: bytes, or text such as 20GB, 20MB, 30KB, 3B."""
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        message = "Invalid file size format, hint: use 20GB / 20MB / 30KB / 3B"
        raise errors.invalid_request(message)
    return int(float(match[1]) * _UNITS[match[2].lower()])


def size_limit(of_server: int, of_bucket: int | None) -> int:
    """Return the smaller of the two limits."""
    return min(of_server, of_bucket) if of_bucket is not None else of_server
