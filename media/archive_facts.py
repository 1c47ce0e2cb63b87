"""What an archive's directory says. Nothing is unpacked: of a compressed file only as much is
decompressed as shows whether a tar begins there.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable

import zstandard

from argosy.facts import ArchiveFacts
from media.magics import is_tar
from media.reader import Reader
from media.tar_walk import tar_directory
from media.zip_directory import zip_directory

PEEK = 1024
"""Bytes of a compressed file's content that are looked at."""
PACKED_PEEK = 64 * 1024
WINDOW = 8 * 1024 * 1024
"""Memory that a compressed file may ask for: RFC 8878 wants readers to grant this much."""

FORMS = {
    "application/zip": "zip",
    "application/x-tar": "tar",
    "application/gzip": "gzip",
    "application/zstd": "zstd",
    "application/x-bzip2": "bzip2",
    "application/x-xz": "xz",
    "application/x-7z-compressed": "7z",
    "application/vnd.rar": "rar",
    "application/x-lz4": "lz4",
    "application/vnd.ms-cab-compressed": "cab",
    "application/x-archive": "ar",
}


def archive_facts(reader: Reader, content_type: str) -> ArchiveFacts:
    """Facts of an archive or of a compressed file. Raises Unreadable for a damaged one."""
    form = FORMS[content_type]
    if form == "zip":
        return zip_directory(reader)
    if form == "tar":
        return tar_directory(reader)
    if form in PEEKS:
        content = "tar" if is_tar(_peeked(reader, form)) else None
        return ArchiveFacts(form=form, content=content, encrypted=False)
    return ArchiveFacts(form=form)


def _peeked(reader: Reader, form: str) -> bytes:
    """The first bytes that were compressed; none where they cannot be decompressed."""
    try:
        return PEEKS[form](reader.at(0, PACKED_PEEK))
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError):
        if reader.failure is not None:
            raise
        return b""


def _gzip(packed: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(packed, PEEK)


def _zstd(packed: bytes) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    with decoder.stream_reader(packed, read_across_frames=True) as stream:
        return bytes(stream.read(PEEK))


def _bzip2(packed: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(packed, PEEK)


def _xz(packed: bytes) -> bytes:
    return lzma.LZMADecompressor(memlimit=8 * WINDOW).decompress(packed, PEEK)


PEEKS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "bzip2": _bzip2,
    "xz": _xz,
}
