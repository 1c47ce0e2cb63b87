"""Kinds of arguments: lengths of time, moments, `name=value`, and what names a file."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

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


class Moment(click.ParamType[datetime]):
    """A time in UTC: `2026-11-28`, `2026-11-28T09:30`, or so long ago: `30m`, `12h`, `7d`."""

    name = "when"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The moment, with its time zone."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            if found := _LENGTH.fullmatch(text):
                ago = timedelta(seconds=float(found[1]) * _UNITS[found[2] or "s"])
                return datetime.now(UTC) - ago
            at = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: 2026-11-28, 2026-11-28T09:30, 12h or 7d.", param, ctx)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


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
