"""Texts of columns: what parts them, and how the first line names them."""

from __future__ import annotations

import csv
import io
import json

from argosy.facts import MAX_COLUMNS, TableFacts
from media.words import MAX_WORD, word

TABLE_TYPES = {
    "text/csv": (",", ";", "\t", "|"),
    "text/tab-separated-values": ("\t",),
}
"""What may part the columns, by type: the first that does is taken, the first if none does."""
LOOKED_AT = 20
MAX_NAMES = 6000
MAX_HEADER = 64 * 1024
"""Characters of rows that are looked at; a first line longer than that names no columns."""


def table_of(text: str, content_type: str, *, whole: bool) -> TableFacts | None:
    """The columns of a text of type CSV or TSV; None for all others.

    Nobody guesses that a text is a table: lines of a log have as many commas as they like.
    Without `whole` the text goes on behind what is given.
    """
    delimiters = TABLE_TYPES.get(content_type, ())
    start = text[:MAX_HEADER]
    if len(text) > MAX_HEADER or not whole:
        start = start.rpartition("\n")[0]
    found = [(rows, delimiter) for delimiter in delimiters if (rows := _rows(start, delimiter))]
    if not found:
        return None
    rows, delimiter = next((one for one in found if _is_even(one[0])), found[0])
    return _described(rows[0], delimiter)


def _is_even(rows: list[list[str]]) -> bool:
    """Whether all rows have the same number of columns, and more than one."""
    return len(rows[0]) > 1 and len({len(row) for row in rows}) == 1


def _rows(text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) == LOOKED_AT:
                break
    except csv.Error:  # a field over 128 KiB, or a NUL
        return []
    return rows


def _described(header: list[str], delimiter: str) -> TableFacts:
    names: list[str] = []
    left = MAX_NAMES
    for name in header[:MAX_COLUMNS]:
        shown = word(name, MAX_WORD) or ""
        left -= len(json.dumps(shown)) + 2
        if left < 0:
            break
        names.append(shown)
    return TableFacts(delimiter=delimiter, columns=tuple(names), column_count=len(header))
