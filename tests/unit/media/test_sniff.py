from __future__ import annotations

import random
import struct

import pytest

from media.sniff import content_type_of, kind_of

UNKNOWN = "application/octet-stream"
MP3 = b"\xff\xfb\x90\x64" + bytes(413)
"""A frame of 128 kbit/s at 44.1 kHz is 417 bytes long."""


def ftyp(major: bytes, *others: bytes) -> bytes:
    return struct.pack(">I4s4sI", 16 + 4 * len(others), b"ftyp", major, 0) + b"".join(others)


def bitmap(header: int = 40, offset: int = 54) -> bytes:
    return struct.pack("<2sIIII", b"BM", 1000, 0, offset, header) + bytes(40)


@pytest.mark.parametrize(
    ("head", "content_type", "kind"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg", "image"),
        (b"\x89PNG\r\n\x1a\n", "image/png", "image"),
        (b"GIF89a\x01\0", "image/gif", "image"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp", "image"),
        (b"II*\0\x08\0\0\0", "image/tiff", "image"),
        (b"MM\0+\0\x08\0\0", "image/tiff", "image"),
        (bitmap(), "image/bmp", "image"),
        (ftyp(b"avif"), "image/avif", "image"),
        (ftyp(b"mif1", b"miaf", b"avif"), "image/avif", "image"),
        (ftyp(b"heic", b"mif1"), "image/heic", "image"),
        (ftyp(b"isom", b"iso2"), "video/mp4", "video"),
        (ftyp(b"qt  "), "video/quicktime", "video"),
        (ftyp(b"M4A "), "audio/mp4", "audio"),
        (ftyp(b"3gp4"), "video/3gpp", "video"),
        (b"\0\0\0\x08wide\0\0\0\x20mdat", "video/quicktime", "video"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "video/webm", "video"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska", "video/x-matroska", "video"),
        (b"RIFF\x10\0\0\0AVI LIST", "video/x-msvideo", "video"),
        ((b"\x47" + bytes(187)) * 8, "video/mp2t", "video"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav", "audio"),
        (b"FORM\0\0\0\x10AIFFCOMM", "audio/aiff", "audio"),
        (b"fLaC\0\0\0\x22", "audio/flac", "audio"),
        (b"ID3\x04\0\0\0\0\0\0", "audio/mpeg", "audio"),
        (MP3 + MP3, "audio/mpeg", "audio"),
        (b"OggS\0\x02" + bytes(22) + b"OpusHead", "audio/ogg", "audio"),
        (b"OggS\0\x02" + bytes(22) + b"\x80theora", "video/ogg", "video"),
        (b"%PDF-1.7\n", "application/pdf", "pdf"),
        (b"\xef\xbb\xbf\n%PDF-1.7\n", "application/pdf", "pdf"),
        (b"PK\x03\x04" + bytes(26), "application/zip", "archive"),
        (b"\x1f\x8b\x08\0", "application/gzip", "archive"),
        (b"\x28\xb5\x2f\xfd\x24", "application/zstd", "archive"),
        (b"\x5e\x2a\x4d\x18\x04\0\0\0data", "application/zstd", "archive"),
        (b"BZh91AY&SY", "application/x-bzip2", "archive"),
        (b"\xfd7zXZ\0", "application/x-xz", "archive"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "application/x-7z-compressed", "archive"),
        (b"SQLite format 3\0", "application/vnd.sqlite3", "other"),
        (b"hello\n", "text/plain", "text"),
        (b"<!DOCTYPE HTML><html>", "text/html", "text"),
        (b"  <html lang='en'>", "text/html", "text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "text"),
        (b"<?xml version='1.0'?><!-- a --><s:svg xmlns:s='u'/>", "image/svg+xml", "text"),
        (b"<?xml version='1.0'?><feed>", "application/xml", "text"),
        (b"<?xml version='1.0'?><html xmlns='u'>", "application/xhtml+xml", "text"),
        ("<svg/>".encode("utf-16"), "image/svg+xml", "text"),
        (b"", "application/x-empty", "other"),
        (b"\0\0\0\0", UNKNOWN, "other"),
    ],
)
def test_types(head: bytes, content_type: str, kind: str) -> None:
    assert content_type_of(head) == content_type
    assert kind_of(content_type) == kind


@pytest.mark.parametrize(
    "text",
    [
        b"BMW sells cars and motorcycles, and a few bicycles to whoever wants one.\n",
        b"MZ is what DOS programs begin with.\n",
        b"ID3 tags are at the front of a song.\n",
        b"PK is short for Phil Katz.\n",
        b"RIFF and WEBP are containers, a text is not.\n",
        b"GIF is said with a soft g.\n",
        b"%PD is no mark. %PDF-1.4 is.\n",
        b"II*and MM* begin TIFF files\n",
        b"7z, Rar! and the others\n",
        b"a ftypical text: the word stands where the box does\n",
        b"{not json}",
        b"<not html",
        b"\x1b[31mred\x1b[0m\n",
    ],
)
def test_words_are_no_marks(text: bytes) -> None:
    assert content_type_of(text) == "text/plain"


def test_a_mark_alone_does_not_make_a_bitmap() -> None:
    assert content_type_of(bitmap(header=41)) == UNKNOWN
    assert content_type_of(bitmap(offset=20)) == UNKNOWN


def test_noise_is_nothing() -> None:
    found = {content_type_of(random.Random(seed).randbytes(4096)) for seed in range(3000)}
    assert found == {UNKNOWN}


def test_documents_in_zip_files() -> None:
    name = b"application/epub+zip"
    epub = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, len(name), len(name), 8, 0)
    assert content_type_of(epub + b"mimetype" + name + b"PK\x03\x04META") == name.decode()
    office = b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml"
    sheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    assert content_type_of(office, b"PK\x01\x02xl/workbook.xml") == sheet
    assert content_type_of(office) == "application/zip"


def test_a_pdf_behind_other_bytes_needs_its_end() -> None:
    late = b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4\n"
    assert content_type_of(late) == "text/plain"
    assert content_type_of(late, b"startxref\n9\n%%EOF") == "application/pdf"


def test_every_unit_of_wide_text_may_be_cut() -> None:
    for codec in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8"):
        encoded = ("Zeile äöü €\n" * 20).encode(codec)
        for cut in range(40, 60):
            assert content_type_of(encoded[:cut]) == "text/plain", (codec, cut)
