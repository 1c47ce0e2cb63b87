"""Content types by the bytes alone: neither a name nor anybody's word counts here.

A type is given where its bytes are unmistakable; text of no such form is `text/plain`, and
anything else `application/octet-stream`.
"""

from __future__ import annotations

import re

from argosy.facts import Kind
from media.encodings import decoded, encoding_of
from media.magics import magic_of
from media.xml_root import root_of

HEAD_BYTES = 64 * 1024
"""How much of a file's beginning `content_type_of` can use; 4 KiB do for most."""
SHORT_MARKS = frozenset({"video/quicktime", "video/mp2t"})
"""Their marks are letters that a text may have in that place."""
EMPTY = "application/x-empty"
UNKNOWN = "application/octet-stream"

ARCHIVES = frozenset(
    "application/" + name
    for name in (
        "zip", "gzip", "zstd", "x-tar", "x-bzip2", "x-xz", "x-7z-compressed", "vnd.rar",
        "x-lz4", "vnd.ms-cab-compressed", "x-archive",
    )
)  # fmt: skip
TEXTS = frozenset(
    "application/" + name
    for name in (
        "json", "xml", "x-ndjson", "jsonl", "javascript", "ecmascript", "sql", "x-sh", "yaml",
        "x-yaml", "toml", "rtf", "x-httpd-php", "x-tex", "x-latex", "x-subrip", "graphql",
        "xhtml+xml", "x-python-code", "x-perl", "x-ruby", "pgp-signature", "x-pem-file",
    )
)  # fmt: skip
OPEN_DOCUMENT = re.compile(
    rb"mimetype(application/(?:epub\+zip|vnd\.oasis\.opendocument\.[a-z-]{1,40}))"
)
OFFICE = (
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
)


def content_type_of(head: bytes, tail: bytes = b"") -> str:
    """The type of a file that begins with `head` and ends with `tail`, in lower case.

    An empty file is `application/x-empty`. Give 4 KiB of head at least, or all there is.
    """
    if not head:
        return EMPTY
    encoding = encoding_of(head)
    found = magic_of(head)
    if found and not (found in SHORT_MARKS and encoding):
        return _zipped(head, tail) if found == "application/zip" else found
    if _is_late_pdf(head, tail):
        return "application/pdf"
    return UNKNOWN if encoding is None else _text_type(head, encoding)


def kind_of(content_type: str) -> Kind:
    """What is done with files of the type. SVG is text: nobody draws it."""
    family, _, _ = content_type.partition("/")
    if is_text_type(content_type):
        return "text"
    if content_type == "application/pdf":
        return "pdf"
    if content_type in ARCHIVES:
        return "archive"
    if content_type == "application/ogg":
        return "audio"
    return {"image": "image", "audio": "audio", "video": "video"}.get(family, "other")  # type: ignore[return-value]  # all four are kinds


def is_text_type(content_type: str) -> bool:
    """Whether files of the type are lines of text that a person could read."""
    named = content_type.endswith(("+json", "+xml", "+yaml"))
    return content_type.startswith("text/") or named or content_type in TEXTS


def _zipped(head: bytes, tail: bytes) -> str:
    """Documents that are ZIP files: OpenDocument and EPUB name their type in the first entry."""
    if first := OPEN_DOCUMENT.match(head[30:200]):
        return first[1].decode("ascii")
    if b"[Content_Types].xml" not in head + tail:
        return "application/zip"
    names = re.findall(rb"(?:word|xl|ppt)/", head + tail)
    return next((name for mark, name in OFFICE if mark in names), "application/zip")


def _is_late_pdf(head: bytes, tail: bytes) -> bool:
    """ISO 32000 wants the header first; readers find it in the first 1,024 bytes."""
    if head[:64].lstrip(b"\xef\xbb\xbf\r\n\t \0").startswith(b"%PDF-"):
        return True
    return b"%PDF-" in head[:1024] and b"startxref" in tail[-2048:]


def _text_type(head: bytes, encoding: str) -> str:
    text = decoded(head[:HEAD_BYTES], encoding).lstrip("\ufeff \t\r\n")
    start = text[:1024].lower()
    if re.match(r"<(!doctype html|html|head|body)[\s>]", start):
        return "text/html"
    if not text.startswith("<"):
        return "text/plain"
    root = root_of(head)
    if root is None:
        return "application/xml" if start.startswith("<?xml") else "text/plain"
    if root == "svg":
        return "image/svg+xml"
    if root == "html":
        return "application/xhtml+xml"
    return "application/xml" if start.startswith(("<?xml", "<!doctype")) else "text/plain"
