"""What compression changes about a transfer, by the figures of one core and the line's speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cases_compression import DECODE, ENCODE, GROUP, NONE
from benchmarks.measure import Summary

GB = 10**9
LINES: Sequence[int] = (10, 100, 1_000)
"""In Mbit/s."""


@dataclass(frozen=True)
class Coding:
    """How one coder did on one kind of content.

    `share` is what is stored of a byte; `encode` and `decode` are bytes of the file in a
    second of processor time; where nothing is coded, `encode` is the checksums' rate, and
    `decode` is None.
    """

    of: str
    by: str
    share: float
    encode: float
    decode: float | None
    samples: int

    def up(self, mbits: int) -> float:
        """Seconds for 1 GB over such a line: while one part is encoded, another is sent."""
        return _seconds(self.share, None if self.by == NONE else self.encode, mbits)

    def down(self, mbits: int) -> float:
        """The same, the other way: what has arrived is decoded while more arrives."""
        return _seconds(self.share, self.decode, mbits)


def codings(summaries: Sequence[Summary]) -> Iterator[Coding]:
    """In the order in which they were measured."""
    ours = [summary for summary in summaries if summary.series.group == GROUP]
    found: Mapping[tuple[str, str, str], Summary] = {
        (s.series.of, s.series.subject, s.series.action): s for s in ours
    }
    for (of, by, action), summary in found.items():
        if action == ENCODE:
            decode = found.get((of, by, DECODE))
            yield Coding(
                of,
                by,
                summary.stored_share or 1.0,
                _rate(summary),
                None if decode is None else _rate(decode),
                len(summary.samples),
            )


def _rate(summary: Summary) -> float:
    return summary.series.size / summary.core_seconds.median


def _seconds(share: float, rate: float | None, mbits: int) -> float:
    line = mbits * 1e6 / 8
    return max(GB * share / line, GB / rate if rate else 0.0)
