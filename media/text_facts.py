"""What a text is made of: read whole where it is short, from samples where it is long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from argosy.facts import TextFacts
from media.encodings import UNKNOWN, decoded, decoder_for
from media.json_form import is_document, is_lines
from media.reader import Reader
from media.table import table_of
from media.xml_root import root_of

WHOLE = 8 * 1024 * 1024
"""A text of as many bytes is read whole."""
SAMPLE = 512 * 1024
SAMPLES = 4
MARK = "\ufeff"


@dataclass(frozen=True)
class Passage:
    """What was read of a text: `text` from its beginning, all of it if `whole`."""

    text: str
    raw: bytes
    encoding: str
    lines: int
    whole: bool


def text_facts(reader: Reader, encoding: str, content_type: str) -> TextFacts:
    """Facts of a text that begins in `encoding` and is, by what is known, a `content_type`."""
    read = _whole if reader.size <= WHOLE else _sampled
    passage = read(reader, encoding)
    json_form = _json_form(passage, content_type)
    root = root_of(passage.raw) if passage.text.lstrip()[:1] == "<" else None
    return TextFacts(
        encoding=passage.encoding,
        lines=passage.lines,
        lines_estimated=not passage.whole,
        json_form=json_form,
        table=None if json_form else table_of(passage.text, content_type, whole=passage.whole),
        root=root,
    )


def _whole(reader: Reader, encoding: str) -> Passage:
    """All of it, but for a character that is cut at the end.

    What turns out not to be what it began as is in no encoding we know.
    """
    raw = reader.at(0, reader.size)
    try:
        text = decoder_for(encoding).decode(raw)
    except UnicodeDecodeError:
        encoding, text = UNKNOWN, raw.decode("latin-1")
    return Passage(text.removeprefix(MARK), raw, encoding, _lines(text), whole=True)


def _lines(text: str) -> int:
    """Ends of lines (LF, or CR where there is no LF), and what stands behind the last."""
    end = "\n" if "\n" in text else "\r"
    return text.count(end) + (not text.endswith((end, MARK)) and text != "")


def _sampled(reader: Reader, encoding: str) -> Passage:
    """Lines by samples spread over the file, of which each counts for its share."""
    step = (reader.size - SAMPLE) // (SAMPLES - 1) // 4 * 4  # no unit of UTF-32 is cut
    samples = [reader.at(at * step, SAMPLE) for at in range(SAMPLES)]
    end = "\n".encode(_within(encoding, samples[0]))
    found = sum(sample.count(end) for sample in samples)
    lines = max(round(found * reader.size / (SAMPLES * SAMPLE)), 1)
    text = decoded(samples[0], encoding).removeprefix(MARK)
    return Passage(text, samples[0], encoding, lines, whole=False)


def _within(encoding: str, start: bytes) -> str:
    """The codec that writes a line's end as it stands within a text with a byte order mark."""
    if encoding in {"utf-16", "utf-32"}:
        little = start[:2] == b"\xff\xfe"
        return f"{encoding}-{'le' if little else 'be'}"
    return "utf-8"


def _json_form(passage: Passage, content_type: str) -> Literal["document", "lines"] | None:
    """By its first letter, or its type's word: a lone number is JSON only if somebody says so."""
    said = content_type == "application/json" or content_type.endswith("+json")
    if passage.encoding == UNKNOWN or not (said or passage.text.lstrip()[:1] in {"{", "["}):
        return None
    if passage.whole and is_document(passage.text):
        return "document"
    return "lines" if is_lines(passage.text, whole=passage.whole) else None
