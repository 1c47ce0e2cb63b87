"""What the bytes of a file say about it: its type, and what is worth knowing of that type."""

from __future__ import annotations

from typing import Any, BinaryIO

from pydantic import ValidationError

from argosy.facts import Facts, Kind
from argosy.sizes import MIB
from media.archive_facts import archive_facts
from media.av_facts import recording_facts
from media.declared import agreed, fits, said_of
from media.encodings import encoding_of
from media.image_facts import image_facts
from media.pdf_facts import pdf_facts
from media.problem import Unreadable
from media.reader import Reader
from media.refine import refined
from media.sniff import HEAD_BYTES, UNKNOWN, content_type_of, kind_of
from media.source import TrafficExceeded
from media.text_facts import text_facts
from media.words import sentence

ALLOWANCE: dict[Kind, int] = {
    "image": 8 * MIB,
    "audio": 10 * MIB,
    "video": 10 * MIB,
    "pdf": 10 * MIB,
    "text": 10 * MIB,
    "archive": 8 * MIB,
    "other": MIB,
}
"""Bytes that are read of a file at most, by its kind; a source that reads ahead fetches up to
4 MiB more."""


_NOT_TOLD = "What the file says of itself cannot be told."


def inspect(file: BinaryIO, size: int, *, name: str, declared_type: str, private: bool) -> Facts:
    """What `file`, of `size` bytes, says of itself.

    The type is by the bytes. `declared_type`, or where it says nothing the `name`, decides only
    between kinds of text (and of ZIP) that bytes do not tell apart. With `private` positions,
    serial numbers and owners' names are given too. Runs foreign code on a stranger's bytes:
    call it in a process that may die.

    A damaged file gives what was found and a `problem`. Raises what `file` raises, but for
    TrafficExceeded: then too there is what was found so far.
    """
    reader = Reader(file, size, ALLOWANCE["other"])
    try:
        head = reader.at(0, HEAD_BYTES)
        tail = reader.at(max(size - HEAD_BYTES, 0), HEAD_BYTES) if _needs_tail(head) else b""
    except TrafficExceeded:
        return Facts(kind="other", content_type=UNKNOWN, problem=_too_much())
    found = content_type_of(head, tail)
    said = said_of(declared_type, name)
    reader.allowance = ALLOWANCE[kind_of(found)]
    parts, problem = _looked(reader, head, found, said, private=private)
    kind, found = refined(found, parts, said, head)
    content_type, contradicted = _settled(found, declared_type, said, parts)
    known = {"kind": kind, "content_type": content_type, "declared_type": contradicted}
    try:
        return Facts.model_validate({**known, "problem": problem, **parts})
    except ValidationError:
        return Facts(kind="other", content_type=UNKNOWN, problem=_NOT_TOLD)


def _settled(
    found: str, declared_type: str, said: str, parts: dict[str, Any]
) -> tuple[str, str | None]:
    """The type to call the file by, and the declared one if it is contradicted."""
    archive = parts.get("archive")
    if archive and archive.content == "tar" and said == "application/x-tar":
        return found, None  # a name like .tar.gz speaks of what is packed
    content_type, contradicted = agreed(found, declared_type)
    by_name = contradicted is None and fits(found, said)
    return (said if by_name else content_type), contradicted


def _needs_tail(head: bytes) -> bool:
    """ZIP keeps its directory at the end; a PDF behind other bytes is known by its end."""
    return head.startswith(b"PK") or b"%PDF-" in head[:1024]


def _looked(
    reader: Reader, head: bytes, found: str, said: str, *, private: bool
) -> tuple[dict[str, Any], str | None]:
    """The facts by kind, and why there are none or not all."""
    parts: dict[str, Any] = {}
    problem = None
    try:
        parts = _parts(reader, head, found, said, private=private)
    except Unreadable as damage:
        problem = sentence(str(damage))
    except MemoryError:
        problem = "Reading the file's header took more memory than there is."
    except Exception as damage:  # whatever a library makes of hostile bytes is their fault
        problem = sentence(f"The file is damaged: {type(damage).__name__}: {damage}")
    if reader.failure is None:
        return parts, problem
    if isinstance(reader.failure, TrafficExceeded):
        return parts, _too_much()
    raise reader.failure  # not the file's fault


def _parts(reader: Reader, head: bytes, found: str, said: str, *, private: bool) -> dict[str, Any]:
    kind = kind_of(found)
    if kind == "image":
        return {"image": image_facts(reader, found, private=private)}
    if kind in {"audio", "video"}:
        return {"recording": recording_facts(reader, found)}
    if kind == "pdf":
        return {"pdf": pdf_facts(reader)}
    if kind == "archive":
        return {"archive": archive_facts(reader, found)}
    if kind == "text":
        return {"text": text_facts(reader, encoding_of(head) or "ascii", said or found)}
    return {}


def _too_much() -> str:
    return "Not all was found out: it would have taken more bytes of the file than may be read."
