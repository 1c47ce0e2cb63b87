"""How growth is shown: what each question costs at each size, and how much more the last one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases_growth import BY_PARTS, BY_ROWS, FLAT, GROUP
from benchmarks.grid import Grid
from benchmarks.measure import Summary

MOST_IF_FLAT = 2.0
"""Times as many pages for ten times the rows: an index may get one level deeper."""
SPARE = 1.1
"""What grows with its input may grow by so much more than that."""
FEW_PAGES = 250
"""So few more are no growth, whatever they are a multiple of."""

NOTES = (
    "Growth: pages are those of tables and indexes, of 8 KiB, that PostgreSQL looks at; ms are the "
    "whole call, our own code included, in the middle of five. The last step is how many times as "
    "many pages the largest size takes as the one before it. Read whole are tables that are read "
    "from end to end at the largest size; those of a few pages are meant to be. What is "
    "linear and missed looks at more pages and at more rows than it may.",
)


def grids(summaries: Sequence[Summary]) -> list[Grid]:
    """A table by transfers, and one by parts."""
    return [_grid(of, found) for of in (BY_ROWS, BY_PARTS) if (found := _series(summaries, of))]


def notes(summaries: Sequence[Summary]) -> Sequence[str]:
    """What is needed to read them."""
    return NOTES if any(s.series.group == GROUP for s in summaries) else ()


def targets(summaries: Sequence[Summary]) -> Iterator[tuple[str, bool]]:
    """In words, and whether it is met: all of a table in one line, and one for each that is not."""
    for of in (BY_ROWS, BY_PARTS):
        found = {what: steps for what, steps in _series(summaries, of).items() if len(steps) > 1}
        if not found:
            continue
        missed = [what for what, steps in found.items() if not _is_met(steps)]
        text = f"{len(found) - len(missed)} of {len(found)} questions grow no faster than they may"
        largest = next(iter(found.values()))[-1].series.items
        yield f"{text}, up to {largest:,} {of}", not missed
        for what in missed:
            may = found[what][-1].series.of
            yield f"{what}: {_times(found[what]):.1f} times the pages, {may} wanted", False


def _series(summaries: Sequence[Summary], of: str) -> dict[str, list[Summary]]:
    """By what is asked, the smallest size first."""
    found: dict[str, list[Summary]] = {}
    for summary in summaries:
        if summary.series.group == GROUP and summary.series.action == of:
            found.setdefault(summary.series.subject, []).append(summary)
    return found


def _grid(of: str, found: dict[str, list[Summary]]) -> Grid:
    sizes = [summary.series.items for summary in next(iter(found.values()))]
    columns = ["what", "may be", *(f"{size:,}" for size in sizes), "last step", "read whole"]
    rows = [
        (
            what,
            steps[0].series.of,
            *(f"{_pages(step)} / {1000 * step.seconds.median:.1f} ms" for step in steps),
            f"{_times(steps):.1f}",
            ", ".join(sorted(steps[-1].samples[0].whole)),
        )
        for what, steps in found.items()
    ]
    return Grid(f"Growth: pages and time for so many {of}", columns, rows, 2)


def _pages(summary: Summary) -> int:
    return summary.samples[0].pages or 0


def _rows(summary: Summary) -> int:
    return summary.samples[0].rows or 0


def _times(steps: Sequence[Summary]) -> float:
    """How many times as many pages the last step takes."""
    before, last = _pages(steps[-2 if len(steps) > 1 else -1]), _pages(steps[-1])
    return last / max(1, before)


def _is_met(steps: Sequence[Summary]) -> bool:
    """By pages; what is linear also by rows: an index alone takes a page for each in a large table.

    That page says which rows are visible to all, and is looked at again for each.
    """
    before, last = steps[-2:]
    if _pages(last) - _pages(before) <= FEW_PAGES:
        return True
    more = last.series.items / before.series.items
    rows = _rows(last) / max(1, _rows(before))
    if last.series.of == FLAT:
        return _times(steps) <= MOST_IF_FLAT
    return min(_times(steps), rows) <= SPARE * more
