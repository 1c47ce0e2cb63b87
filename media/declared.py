"""What was said of a file's type, held against what its bytes say."""

from __future__ import annotations

import mimetypes
import re

from media.sniff import ARCHIVES, EMPTY, UNKNOWN, is_text_type
from media.words import MAX_WORD

NAME = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*")
"""RFC 6838, section 4.2."""
TYPES = mimetypes.MimeTypes(filenames=())
"""Python's own: the machine's lists differ, and would make other facts."""
NOTHING = frozenset({"", UNKNOWN, "binary/octet-stream", "application/x-unknown",
                     "application/unknown", "application/force-download"})  # fmt: skip
"""Types that say only that somebody did not know."""

SAME = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp", "image/x-bmp": "image/bmp", "image/tif": "image/tiff",
    "image/vnd.microsoft.icon": "image/x-icon", "image/ico": "image/x-icon",
    "audio/mp3": "audio/mpeg", "audio/x-mp3": "audio/mpeg", "audio/mpeg3": "audio/mpeg",
    "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac", "audio/x-m4a": "audio/mp4", "audio/m4a": "audio/mp4",
    "audio/x-aac": "audio/aac", "audio/aacp": "audio/aac", "audio/x-aiff": "audio/aiff",
    "audio/opus": "audio/ogg", "audio/vorbis": "audio/ogg", "audio/x-ogg": "audio/ogg",
    "audio/mid": "audio/midi", "audio/x-midi": "audio/midi", "audio/au": "audio/basic",
    "video/avi": "video/x-msvideo", "video/msvideo": "video/x-msvideo",
    "video/x-m4v": "video/mp4", "application/mp4": "video/mp4", "video/x-mpeg": "video/mpeg",
    "video/x-ms-wmv": "video/x-ms-asf", "audio/x-ms-wma": "audio/x-ms-asf",
    "video/matroska": "video/x-matroska", "audio/matroska": "audio/x-matroska",
    "application/x-pdf": "application/pdf",
    "application/x-zip-compressed": "application/zip", "application/x-zip": "application/zip",
    "application/x-gzip": "application/gzip", "application/x-zstd": "application/zstd",
    "application/x-bzip": "application/x-bzip2", "application/bzip2": "application/x-bzip2",
    "application/xz": "application/x-xz", "application/x-rar-compressed": "application/vnd.rar",
    "application/x-rar": "application/vnd.rar", "application/tar": "application/x-tar",
    "application/x-gtar": "application/x-tar", "application/x-sqlite3": "application/vnd.sqlite3",
    "application/x-parquet": "application/vnd.apache.parquet",
    "text/xml": "application/xml", "text/json": "application/json",
    "application/x-json": "application/json", "application/ndjson": "application/x-ndjson",
    "application/jsonl": "application/x-ndjson", "application/x-jsonlines": "application/x-ndjson",
    "application/jsonlines": "application/x-ndjson", "application/x-javascript": "text/javascript",
    "application/javascript": "text/javascript", "application/csv": "text/csv",
    "inode/x-empty": EMPTY,
}  # fmt: skip
"""Names of one and the same type: the ones by which the bytes are called stand to the right."""

IN_ZIP = (
    "application/vnd.openxmlformats", "application/vnd.oasis", "application/vnd.android",
    "application/vnd.google-earth", "application/vnd.apple", "application/epub",
    "application/java", "application/x-java", "application/x-xpinstall", "application/x-wheel",
    "application/x-cbz", "application/vnd.ms-word.", "application/vnd.ms-excel.",
    "application/vnd.ms-powerpoint.", "application/vnd.comicbook+zip",
)  # fmt: skip
IN_OLE = ("application/msword", "application/vnd.ms-", "application/vnd.visio", "application/x-msi")
IN_TIFF = (
    "image/x-adobe-dng", "image/x-nikon", "image/x-canon-cr2", "image/x-sony", "image/x-pentax",
    "image/x-epson", "image/x-kodak", "image/x-raw", "image/vnd.adobe.dng",
)  # fmt: skip
WITHIN = {
    "application/zip": IN_ZIP,
    "application/x-ole-storage": IN_OLE,
    "image/tiff": IN_TIFF,
}
"""Formats that others are built of, and the names that those begin with."""
SEEN_BY_BYTES = ("image/", "audio/", "video/", "application/pdf")
JSON, LINES, XML = "application/json", "application/x-ndjson", "application/xml"
HTML, XHTML, SVG = "text/html", "application/xhtml+xml", "image/svg+xml"


def agreed(found: str, declared: str) -> tuple[str, str | None]:
    """The type to call the file by, and the declared one where the bytes contradict it.

    Parameters (`; charset=`) do not count, nor does a type's other name. A declared type that
    the bytes cannot tell from another, as a kind of text, is taken at its word.
    """
    said = plain(declared)
    if said in NOTHING or said == found:
        return found, None
    return (said, None) if fits(found, said) else (found, said)


def said_of(declared: str, name: str) -> str:
    """What is said of the file: by its sender, or where he did not know, by its name."""
    said = plain(declared)
    if said not in NOTHING:
        return said
    guessed, packed = TYPES.guess_type(name, strict=False)
    return plain(guessed) if guessed and not packed else ""


def plain(declared: str) -> str:
    """The bare type in lower case, by the name that the bytes would get; empty for no type."""
    said = declared.partition(";")[0].strip().lower()
    return SAME.get(said, said) if NAME.fullmatch(said) and len(said) <= MAX_WORD else ""


def fits(found: str, said: str) -> bool:
    """Whether a file whose bytes look like `found` may well be a `said`."""
    if is_text_type(found):
        return is_text_type(said) and _text_fits(found, said)
    if found == UNKNOWN:
        return bool(said) and not _has_a_mark(said)
    return said.startswith(WITHIN.get(found, ()))


def _has_a_mark(said: str) -> bool:
    """Whether a file of the type would have been known by its bytes."""
    return said.startswith(SEEN_BY_BYTES) or is_text_type(said) or said in ARCHIVES


def _text_fits(found: str, said: str) -> bool:
    """Any text is plain text; what needs a mark (JSON, XML, SVG) must have it."""
    of_json = said == JSON or said.endswith("+json")
    of_xml = said == XML or said.endswith("+xml")
    fitting = {
        JSON: of_json or said in {"text/javascript", LINES} or "yaml" in said,
        LINES: said == "text/x-log",
        XML: of_xml and said != SVG,
        HTML: said in {XHTML, "text/markdown", "application/x-httpd-php"},
        XHTML: said in {HTML, XML},
        SVG: said == XML,
    }
    return said == "text/plain" or fitting.get(found, not (of_json or of_xml or said == LINES))
