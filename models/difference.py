"""One difference between the books and Storage, or within the books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from models.moments import iso


class Differing(StrEnum):
    """Every kind of difference."""

    OBJECT_WITHOUT_TRANSFER = "object_without_transfer"
    OBJECT_WITHOUT_DERIVATIVE = "object_without_derivative"
    TRANSFER_WITHOUT_OBJECT = "transfer_without_object"
    DERIVATIVE_WITHOUT_OBJECT = "derivative_without_object"
    UPLOAD_WITHOUT_TRANSFER = "upload_without_transfer"
    WRONG_SIZE = "wrong_size"
    WRONG_SHA256 = "wrong_sha256"
    UNREADABLE = "unreadable"
    STALE_LEASE = "stale_lease"
    GRANT_WITHOUT_FILE = "grant_without_file"
    PIN_WITHOUT_FILE = "pin_without_file"


DEEP = frozenset({Differing.WRONG_SHA256, Differing.UNREADABLE})
"""Kinds that only show where the bytes are read."""
REPORTED = frozenset({Differing.WRONG_SIZE, *DEEP})
"""Kinds that nothing repairs: somebody has to look whose bytes are right."""

_WORDS = MappingProxyType(
    {
        Differing.OBJECT_WITHOUT_TRANSFER: "object that no transfer accounts for",
        Differing.OBJECT_WITHOUT_DERIVATIVE: "derived object that no derivative accounts for",
        Differing.TRANSFER_WITHOUT_OBJECT: "completed transfer whose object is gone",
        Differing.DERIVATIVE_WITHOUT_OBJECT: "derivative whose object is gone",
        Differing.UPLOAD_WITHOUT_TRANSFER: "unfinished upload that no transfer goes on with",
        Differing.WRONG_SIZE: "object of another size than in the books",
        Differing.WRONG_SHA256: "object whose bytes are not those of the books",
        Differing.UNREADABLE: "object that Storage knows and cannot read",
        Differing.STALE_LEASE: "claim that has ended and that nobody has taken since",
        Differing.GRANT_WITHOUT_FILE: "grant on a file that is gone",
        Differing.PIN_WITHOUT_FILE: "pin on a file that is gone",
    }
)
_KEPT = MappingProxyType(
    {
        "pin": "a message names it",
        "transfer": "a transfer on its way names it",
        "copy": "its compressed copy is there",
    }
)


def words_of(kind: Differing) -> str:
    """A kind in words."""
    return _WORDS[kind]


@dataclass(frozen=True)
class Difference:
    """One thing that is in one book alone, or that two books say differently.

    `at` is when it came to be; `key` names it to the function that found it, mostly the id of
    its row or upload. `found` is what Storage has and `expected` what the books say: bytes or a
    SHA-256. `kept` says why it is not repaired: `pin`, `transfer` or `copy`.
    """

    kind: Differing
    bucket: str
    path: str
    at: datetime
    key: str
    found: int | str | None = None
    expected: int | str | None = None
    kept: str | None = None

    @property
    def what(self) -> str:
        """Its kind in words."""
        return words_of(self.kind)

    @property
    def place(self) -> str:
        """`bucket/path`."""
        return f"{self.bucket}/{self.path}"

    @property
    def id(self) -> str | None:
        """The id of its row or upload; of an object alone there is none."""
        return None if self.key == self.path else self.key

    @property
    def detail(self) -> str:
        """The rest in words."""
        told = [
            self.id or "",
            _said(self.found),
            f"expected {_said(self.expected)}" if self.expected is not None else "",
            f"{self.at:%Y-%m-%d %H:%M}",
            _KEPT[self.kept] if self.kept else "",
        ]
        return ", ".join(filter(None, told))

    def document(self) -> dict[str, Any]:
        """As plain JSON types; what there is nothing to say of is left out."""
        told = {
            "kind": self.kind,
            "file": self.place,
            "at": iso(self.at),
            "id": self.id,
            "found": self.found,
            "expected": self.expected,
            "kept": self.kept,
        }
        return {name: value for name, value in told.items() if value is not None}


def _said(value: int | str | None) -> str:
    return f"{value:,} B" if isinstance(value, int) else value or ""
