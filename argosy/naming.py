"""Names: what Storage takes as an object's name, for any name a file may have."""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

MAX_SAFE_NAME = 120
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,16}")
_OF_A_FILE = re.compile(r"([^/]+/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/)(?:derived/)?[^/]+")
_REFUSED = re.compile(r"[^A-Za-z0-9!\-.*'()_ ]+")


def safe_name(name: str) -> str:
    """A readable ASCII name that every Storage accepts; the real one is metadata.

    Keeps the extension, is never empty, hidden or a dot segment, and is at most
    120 characters: with the ids before it a key stays far below 1,024 bytes.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem, dot, extension = plain.rpartition(".")
    if not dot or not _EXTENSION.fullmatch(extension):
        stem, extension = plain, ""
    suffix = f".{extension}" if extension else ""
    one_space = " ".join(stem.split())  # S3 signatures disagree about more
    clean = _REFUSED.sub("_", one_space).strip(" ._")[: MAX_SAFE_NAME - len(suffix)].rstrip(" .")
    return (clean or "file") + suffix


def object_name(agent_id: UUID, transfer_id: UUID, name: str) -> str:
    """`<agent id>/<transfer id>/<safe name>`."""
    return f"{agent_id}/{transfer_id}/{safe_name(name)}"


def derived_folder(path: str) -> str | None:
    """Where lies what is derived of a file: `<agent id>/<transfer id>/derived/`.

    The same of the file's own path and of what lies in that folder; None for any other path.
    """
    found = _OF_A_FILE.fullmatch(path)
    return f"{found[1]}derived/" if found else None


def is_derived(path: str) -> bool:
    """Whether this object was derived of a file, and is no file itself."""
    folder = derived_folder(path)
    return folder is not None and path.startswith(folder)
