"""Kinds of arguments: lengths of time, `name=value`, and what names a file."""

from __future__ import annotations

import re

import click
from click.shell_completion import CompletionItem

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw]?)")


class Duration(click.ParamType[float]):
    """Seconds, or a number with a unit: `90`, `30s`, `10m`, `1h`, `7d`, `2w`."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The length in seconds, more than 0."""
        if isinstance(value, float):
            return value
        found = _LENGTH.fullmatch(str(value))
        length = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
        if not length:
            self.fail(f"{value!r} is no length of time: 90, 30s, 10m, 1h, 7d or 2w.", param, ctx)
        return length


class Pair(click.ParamType[tuple[str, str]]):
    """`name=value`."""

    name = "name=value"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Both halves."""
        name, sign, said = str(value).partition("=")
        if not sign or not name:
            self.fail(f"{value!r} is not name=value.", param, ctx)
        return name, said


class Ref(click.ParamType[str]):
    """What names a file: see `refs.py`. A shell completes it to a file with a reference."""

    name = "ref"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Files."""
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


ref_argument = click.argument("ref", metavar="REF", type=Ref())
