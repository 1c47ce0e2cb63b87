"""The entries of a tar, from header to header (POSIX.1-1988 ustar, pax, GNU)."""

from __future__ import annotations

import re

from argosy.facts import ArchiveFacts
from media.magics import is_tar
from media.problem import Unreadable
from media.reader import Reader

BLOCK = 512
ALLOWANCE = 6 * 1024 * 1024
"""Bytes that may be fetched: some 90 headers far apart, or 12,000 in a row."""
MAX_PAX = 64 * 1024
PAX_SIZE = re.compile(rb"(?:^|\n)\d+ size=(\d{1,19})\n")
NO_ENTRIES = frozenset(b"xgLKVM")
"""Types of headers that speak of the next entry or of the archive."""
WITHOUT_BYTES = frozenset(b"123456")
"""Links, devices, directories: their size says nothing about bytes that follow."""


def tar_directory(reader: Reader) -> ArchiveFacts:
    """Entries and their sizes. Raises Unreadable where no header stands that should."""
    at = entries = total = 0
    larger: int | None = None
    budget = reader.spent + ALLOWANCE
    while reader.spent < budget and at < reader.size:
        header = reader.at(at, BLOCK)
        if not any(header):
            return _facts(entries, total, more=False)
        if not is_tar(header):
            raise Unreadable(f"The tar is damaged: there is no header at byte {at}.")
        size = _number(header[124:136]) if larger is None else larger
        kind, larger = header[156], None
        if kind in NO_ENTRIES:
            larger = _pax_size(reader, at + BLOCK, size) if kind == ord("x") else None
        else:
            size = 0 if kind in WITHOUT_BYTES else size
            entries, total = entries + 1, total + size
        at += BLOCK + -(-size // BLOCK) * BLOCK
    if at > reader.size:
        raise Unreadable("The tar ends within its last entry.")
    return _facts(entries, total, more=at < reader.size)


def _facts(entries: int, total: int, *, more: bool) -> ArchiveFacts:
    size = min(total, 2**63 - 1)
    return ArchiveFacts(form="tar", entries=entries, more_entries=more, size=size, encrypted=False)


def _number(field: bytes) -> int:
    """Octal digits, or with the first bit set a binary number (GNU, for 8 GiB and more)."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.strip(b" \0").partition(b"\0")[0] or b"0"
    if digits.strip(b"01234567"):
        raise Unreadable("The tar is damaged: an entry's size is no number.")
    return int(digits, 8)


def _pax_size(reader: Reader, at: int, size: int) -> int | None:
    found = PAX_SIZE.search(reader.at(at, min(size, MAX_PAX)))
    return int(found[1]) if found else None
