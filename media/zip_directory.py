"""The central directory of a ZIP file (PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.5)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from argosy.facts import ArchiveFacts
from media.problem import Unreadable
from media.reader import Reader

END, END64, WHERE64, ENTRY = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
MAX_COMMENT = 65_535
DIRECTORY_BYTES = 4 * 1024 * 1024
"""As much of a directory is read: some 60,000 entries."""
ENCRYPTED = 0x0001
ZIP64_EXTRA = 0x0001


class Directory(NamedTuple):
    """Where the directory lies."""

    start: int
    length: int


class Entry(NamedTuple):
    """One line of the directory; `end` is where the next begins."""

    size: int
    encrypted: bool
    end: int


def zip_directory(reader: Reader) -> ArchiveFacts:
    """Entries, sizes and encryption. Raises Unreadable where there is no directory."""
    where = _directory(reader)
    lines = reader.at(where.start, min(where.length, DIRECTORY_BYTES))
    at = entries = total = 0
    encrypted = False
    while entry := _entry(lines, at):
        entries, total, at = entries + 1, total + entry.size, entry.end
        encrypted = encrypted or entry.encrypted
    if where.length and not entries:
        raise Unreadable("The ZIP file is damaged: its directory is not where it should be.")
    return ArchiveFacts(
        form="zip",
        entries=entries,
        more_entries=where.length > DIRECTORY_BYTES,
        size=min(total, 2**63 - 1),
        encrypted=encrypted,
    )


def _directory(reader: Reader) -> Directory:
    start = max(reader.size - MAX_COMMENT - 22, 0)
    tail = reader.at(start, MAX_COMMENT + 22)
    at = _end_record(tail)
    if at < 0 or len(tail) < at + 22:
        raise Unreadable("The ZIP file is cut short: its directory, at the end, is missing.")
    length, offset = struct.unpack("<II", tail[at + 12 : at + 20])
    if length == 0xFFFFFFFF or offset == 0xFFFFFFFF:
        return _directory64(reader, start + at)
    before = start + at - length  # as it lies: bytes before the archive shift its offsets
    return Directory(before if before >= 0 else offset, length)


def _end_record(tail: bytes) -> int:
    """Where it begins: the last whose comment ends with the file, else the last there is."""
    at = last = tail.rfind(END)
    while at >= 0 and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(END, 0, at)  # that one stood in a comment
    return at if at >= 0 else last


def _directory64(reader: Reader, end: int) -> Directory:
    locator = reader.at(max(end - 20, 0), 20)
    if not locator.startswith(WHERE64):
        raise Unreadable("The ZIP file is damaged: the end of its directory is missing.")
    record = reader.at(struct.unpack("<Q", locator[8:16])[0], 56)
    if not record.startswith(END64) or len(record) < 56:
        raise Unreadable("The ZIP file is damaged: the end of its directory is missing.")
    length, offset = struct.unpack("<QQ", record[40:56])
    return Directory(offset, length)


def _entry(lines: bytes, at: int) -> Entry | None:
    if lines[at : at + 4] != ENTRY or at + 46 > len(lines):
        return None
    flags = int.from_bytes(lines[at + 8 : at + 10], "little")
    size, name, extra, comment = struct.unpack("<IHHH", lines[at + 24 : at + 34])
    fields = at + 46 + name
    if size == 0xFFFFFFFF:
        size = _size64(lines[fields : fields + extra], size)
    return Entry(size, bool(flags & ENCRYPTED), fields + extra + comment)


def _size64(extra: bytes, size: int) -> int:
    """The uncompressed size is the first number of the ZIP64 field."""
    at = 0
    while at + 4 <= len(extra):
        name, length = struct.unpack("<HH", extra[at : at + 4])
        if name == ZIP64_EXTRA and length >= 8:
            return int.from_bytes(extra[at + 4 : at + 12], "little")
        at += 4 + length
    return size
