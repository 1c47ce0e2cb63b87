"""What commands print: lines for people, JSON for programs, and nothing that moves a cursor."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, a document a line, for programs."
)

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
"""Unicode categories that a terminal obeys or hides: controls, directions, surrogates."""


_JOINERS = "\u200c\u200d"
"""Written in Persian and Hindi, and in emoji."""


def shown(text: str) -> str:
    """A text of somebody else's, with what a terminal would obey as escapes."""
    return "".join(
        character.encode("unicode_escape").decode() if _is_escaped(character) else character
        for character in text
    )


def _is_escaped(character: str) -> bool:
    return unicodedata.category(character) in _ESCAPED and character not in _JOINERS


def say(text: str) -> None:
    """A line on standard output; what others chose is escaped."""
    click.echo(shown(text))


def note(text: str) -> None:
    """A line beside the output, on standard error."""
    click.echo(shown(text), err=True)


def document(told: Any) -> None:
    """A JSON document on a line of its own, in ASCII."""
    click.echo(as_json(told))


def as_json(told: Any) -> str:
    """JSON on one line."""
    return json.dumps(told)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: folded to the width of a terminal, as long as needed elsewhere."""
    if sys.stdout.isatty():
        _rich_table(head, rows)
        return
    escaped = [tuple(map(shown, row)) for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    for row in escaped:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _rich_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console

    Console(highlight=False).print(table_of(head, rows))


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """The same as a rich table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


def count_of(many: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{many} {what}{'' if many == 1 else 's'}"


def size(count: float | None) -> str:
    """Bytes for people."""
    from rich.filesize import decimal

    return "" if count is None else decimal(int(count))


def moment(at: datetime | None) -> str:
    """A time for people, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""


def seconds(count: float) -> str:
    """A length of time for people: `90` is `1m 30s`."""
    left, words = round(count), []
    for letter, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        many, left = divmod(left, length)
        if many:
            words.append(f"{many}{letter}")
    return " ".join(words[:2]) or "0s"


@contextmanager
def as_screen(*, is_wanted: bool) -> Iterator[Callable[[Any], None] | None]:
    """What shows a text or a rich table in place of the one before.

    None where standard output is no terminal that can do so, or is not wanted as one.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if not is_wanted or not console.is_terminal or console.is_dumb_terminal:
        yield None
        return
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False) as live:

        def show(told: Any) -> None:
            plain = Text("\n".join(map(shown, told.split("\n")))) if isinstance(told, str) else told
            live.update(plain, refresh=True)

        yield show
