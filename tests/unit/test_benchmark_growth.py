"""What the benchmark says of growth follows from the pages that were counted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks import report_growth
from benchmarks.cases_growth import BY_ROWS, FLAT, GROUP, LINEAR
from benchmarks.growth_rows import _escaped
from benchmarks.measure import Sample, Series, Summary, summarize
from benchmarks.plan import sizes
from benchmarks.results import Results

SIZES = (1_000, 10_000, 100_000)


def summaries(
    pages: Sequence[int], may: str = FLAT, what: str = "claim", steady: bool = False
) -> list[Summary]:
    return summarize(
        Sample(
            Series(GROUP, what, BY_ROWS, 0, "PostgreSQL", items=size, of=may),
            0.0025,
            pages=count,
            rows=1 if steady else count,
            whole=frozenset({"agents"}),
        )
        for size, count in zip(SIZES, pages, strict=True)
    )


def told(found: list[Summary]) -> list[tuple[str, bool]]:
    return list(report_growth.targets(found))


@pytest.mark.parametrize(
    ("pages", "may", "met"),
    [
        ((10, 15, 20), FLAT, True),
        ((10, 10, 260), FLAT, True),  # 250 pages are few
        ((100, 400, 800), FLAT, True),
        ((100, 400, 801), FLAT, False),
        ((100, 1_000, 1_000), FLAT, True),  # a page of a list that is full by now
        ((100, 1_000, 11_000), LINEAR, True),
        ((100, 1_000, 11_001), LINEAR, False),
    ],
)
def test_the_last_step_says_whether_it_grows(pages: Sequence[int], may: str, met: bool) -> None:
    first, *others = told(summaries(pages, may))
    assert first[1] == met
    assert [is_met for _, is_met in others] == ([] if met else [False])


def test_pages_alone_are_no_growth_of_what_may_be_linear() -> None:
    assert told(summaries((100, 1_000, 20_000), LINEAR, steady=True))[0][1]
    assert not told(summaries((100, 1_000, 20_000), LINEAR))[0][1]
    assert not told(summaries((100, 1_000, 20_000), FLAT, steady=True))[0][1]


def test_what_grows_is_named() -> None:
    found = [*summaries((1, 2, 3)), *summaries((100, 1_000, 10_000), what="resume")]
    assert told(found) == [
        ("1 of 2 questions grow no faster than they may, up to 100,000 transfers", False),
        ("resume: 10.0 times the pages, flat wanted", False),
    ]


def test_a_row_for_each_question_and_a_column_for_each_size() -> None:
    (grid,) = report_growth.grids(summaries((10, 15, 20)))
    assert grid.columns == [
        "what",
        "may be",
        "1,000",
        "10,000",
        "100,000",
        "last step",
        "read whole",
    ]
    assert grid.rows == [
        ("claim", "flat", "10 / 2.5 ms", "15 / 2.5 ms", "20 / 2.5 ms", "1.3", "agents")
    ]


def test_a_single_size_says_nothing_of_growth() -> None:
    assert told(summaries((10, 15, 20))[:1]) == []
    assert report_growth.grids(summaries((10, 15, 20))[:1])
    assert told([]) == []
    assert not report_growth.notes([])


def test_it_is_not_among_the_files_that_were_moved() -> None:
    found = Results({}, {}, summaries((1, 2, 3)), {}, [])
    assert not found.rates
    assert not found.latencies


def test_sizes_go_up_by_ten() -> None:
    assert sizes(100_000) == [1_000, 10_000, 100_000]
    assert sizes(1_000_000) == [1_000, 10_000, 100_000, 1_000_000]


def test_an_operator_is_no_mark_of_a_value() -> None:
    assert _escaped("n % 100 = %(first)s") == b"n %% 100 = %(first)s"
