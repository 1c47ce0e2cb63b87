"""Whether bytes are text, and in which encoding."""

from __future__ import annotations

import codecs

UNKNOWN = "unknown-8bit"
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\r\f\b\x1b") | {0x7F}
"""Bytes that no text has; escape is in coloured logs, backspace in manual pages."""
LONG_ENOUGH = 64
"""As many bytes of noise hold a control character, all but surely."""


def encoding_of(head: bytes) -> str | None:
    """The encoding as Python names it, `unknown-8bit` for text in some other; None for no text.

    `head` may end within a character.
    """
    for mark, name in MARKS:
        if head.startswith(mark) and _reads_as(head, name):
            return name
    if not head:
        return None
    if 0 in head:
        return next((name for name in WIDE if _is_wide(head, name)), None)
    if CONTROLS.intersection(head):
        return None
    if _reads_as(head, "utf-8"):
        return "ascii" if head.isascii() else "utf-8"
    high = sum(byte >= 0x80 for byte in head)
    return UNKNOWN if high <= len(head) * 0.3 or len(head) >= LONG_ENOUGH else None


def decoder_for(encoding: str) -> codecs.IncrementalDecoder:
    """Decodes a text; what nobody can name is read as Latin-1."""
    name = "latin-1" if encoding == UNKNOWN else encoding
    return codecs.getincrementaldecoder(name)()


def decoded(head: bytes, encoding: str) -> str:
    """The text at the beginning, damaged characters replaced."""
    name = "latin-1" if encoding == UNKNOWN else encoding
    return codecs.getincrementaldecoder(name)(errors="replace").decode(head)


def _reads_as(head: bytes, name: str) -> bool:
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except UnicodeDecodeError:
        return False
    return not any(ord(letter) in CONTROLS for letter in text)


def _is_wide(head: bytes, name: str) -> bool:
    """Text in units of two or four bytes without a mark: mostly letters below U+0100."""
    unit = 4 if "32" in name else 2
    units = len(head) // unit
    if units < 2 or not _reads_as(head, name):
        return False
    text = codecs.getincrementaldecoder(name)().decode(head)
    narrow = sum(ord(letter) < 0x100 for letter in text)
    return narrow >= 0.6 * len(text)
