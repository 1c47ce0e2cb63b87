"""The answer of a check, whoever asks: `argosy doctor`, `health` or `ready`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """The answer of one check; `advice` says what to do where it is not well."""

    what: str
    well: bool
    said: str
    advice: str = ""


class Unwell(Exception):
    """A check found something; carries what was found, and what to do."""

    def __init__(self, said: str, advice: str = "") -> None:
        super().__init__(said)
        self.said = said
        self.advice = advice
