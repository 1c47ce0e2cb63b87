"""How a worse network is shown: who is how much faster than one stream."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.cases_network import (
    GROUP,
    RATE,
    SUPABASE_PY,
    TARGET,
    fleet_name,
    place,
)
from benchmarks.deployment import CHILDREN
from benchmarks.grid import Grid, spread_text
from benchmarks.measure import Summary

TIMES = 5
"""So much faster than supabase-py the fleet is to be."""

NOTES = (
    "Network: a connection is late by the round trip, half of it each way, and carries so much "
    "each way; a new one takes two round trips more, as with TCP and TLS 1.3. Packets are not "
    "lost, and TCP does not start slowly: that would cost one stream more than many.",
    "Network: rclone has four streams, in parts of 16 MiB. It and supabase-py are measured in the "
    "first round alone: their connections say how fast they are.",
)


def grid(summaries: Sequence[Summary]) -> Grid:
    """A row for each place and each who went there."""
    found = {(s.series.of, s.series.subject, s.series.action): s for s in _ours(summaries)}
    who = dict.fromkeys((where, by) for where, by, _ in found)
    rows = [
        (
            where,
            by,
            *(_rate(found.get((where, by, way))) for way in ("upload", "download")),
            *(_times(found, where, by, way) for way in ("upload", "download")),
        )
        for where, by in who
    ]
    columns = ("network", "by", "up MB/s", "down MB/s", "up", "down")
    return Grid("Worse networks, and times supabase-py", columns, rows, 2)


def notes(summaries: Sequence[Summary]) -> Sequence[str]:
    """What is needed to read it."""
    return NOTES if _ours(summaries) else ()


def targets(summaries: Sequence[Summary]) -> list[tuple[str, bool]]:
    """In words, and whether it is met: with the delay for which there is a target."""
    found = {(s.series.of, s.series.subject, s.series.action): s for s in _ours(summaries)}
    where = place(TARGET, RATE).name
    told = []
    by = fleet_name(CHILDREN)
    for way in ("upload", "download"):
        if times := _ratio(found, where, by, way):
            text = f"{by}, {way}, {where}: {times:.1f} times supabase-py, {TIMES} wanted"
            told.append((text, times >= TIMES))
    return told


_Found = dict[tuple[str, str, str], Summary]


def _ours(summaries: Sequence[Summary]) -> list[Summary]:
    return [s for s in summaries if s.series.group == GROUP]


def _rate(summary: Summary | None) -> str:
    return "failed" if summary is None else spread_text(summary.rate, 1e6, 1)


def _times(found: _Found, where: str, by: str, way: str) -> str:
    times = _ratio(found, where, by, way)
    return "" if times is None or by == SUPABASE_PY else f"{times:.1f}"


def _ratio(found: _Found, where: str, by: str, way: str) -> float | None:
    ours, theirs = found.get((where, by, way)), found.get((where, SUPABASE_PY, way))
    return ours.rate.median / theirs.rate.median if ours and theirs else None
