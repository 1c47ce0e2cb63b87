"""Amounts on the command line: bytes with a unit, numbers, and `none` for what is no limit."""

from __future__ import annotations

import re
from enum import Enum

import click

_UNITS = ("", "K", "M", "G", "T")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(I?)B?", re.IGNORECASE)


_MOST_BYTES = 8_388_607 * 1024**4
"""Whole TiB that fit into the column."""


class NoLimit(Enum):
    """Said instead of an amount: the fleet's own holds then, if it has one."""

    NONE = "none"


class Amount(click.ParamType[int | NoLimit]):
    """A whole number of at least `least`, or `none`."""

    name = "number|none"

    def __init__(self, least: int = 0, most: int = 2**31 - 1) -> None:
        self._least, self._most = least, most

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | NoLimit:
        """The number, or NoLimit."""
        if isinstance(value, int | NoLimit):
            return value
        if str(value).lower() == NoLimit.NONE.value:
            return NoLimit.NONE
        count = self._read(str(value))
        if count is None:
            self.fail(f"{value!r} is {self._example}", param, ctx)
        if not self._least <= count <= self._most:
            self.fail(f"{value!r} is {self._wrong(count)}.", param, ctx)
        return count

    def _wrong(self, count: int) -> str:
        if count < self._least:
            return f"too little: give {self._said(self._least)} or more"
        return f"too much: give {self._said(self._most)} or less"

    def _said(self, count: int) -> str:
        return str(count)

    _example = "no number, and not `none`."

    def _read(self, said: str) -> int | None:
        return int(said) if re.fullmatch("[0-9]{1,18}", said) else None


class Size(Amount):
    """Bytes, or a number with a unit: `500`, `20MB`, `1.5GB`, `64KiB`."""

    name = "size|none"
    _example = "no size, and not `none`: 500, 20MB, 1.5GB, 64KiB."

    def __init__(self, least: int = 0) -> None:
        super().__init__(least, _MOST_BYTES)

    def _read(self, said: str) -> int | None:
        found = _SIZE.fullmatch(said)
        if found is None or (found[3] and not found[2]):
            return None
        exponent = _UNITS.index(found[2].upper())
        unit = 1024**exponent if found[3] else 1000**exponent
        return int(float(found[1]) * unit) if "." in found[1] else int(found[1]) * unit

    def _said(self, count: int) -> str:
        for exponent in range(len(_UNITS) - 1, 0, -1):
            if count >= 1024**exponent and count % 1024**exponent == 0:
                return f"{count // 1024**exponent}{_UNITS[exponent]}iB"
        return f"{count} bytes"
