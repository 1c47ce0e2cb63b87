"""What the benchmark says of speed follows from what it measured, and so do its pictures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import report, report_files, report_load, report_many, report_stages
from benchmarks.cases_broker import GROUP as THROUGH
from benchmarks.cases_files import GROUP as ONE_FILE
from benchmarks.cases_load import COST, TOOK, TOOK_P99, WAIT, WAIT_P99
from benchmarks.cases_load import GROUP as LOAD
from benchmarks.cases_many import GROUP as MANY
from benchmarks.cases_many import MEDIAN, P99, RCLONE
from benchmarks.cases_stages import GROUP as STAGES_GROUP
from benchmarks.cases_stages import STAGES, stages_of
from benchmarks.clock import Clock
from benchmarks.counters import added
from benchmarks.deployment import BROKER_BEFORE, BROKER_PEAK, STORAGE, WORKER
from benchmarks.drawing import Bar, Panel, draw, figure
from benchmarks.grid import size_text
from benchmarks.lot import fill, freshen
from benchmarks.measure import (
    GB,
    MB,
    MIB,
    Block,
    Sample,
    Series,
    interleave,
    percentile,
    summarize,
)
from benchmarks.processes import TOOL, family, largest
from benchmarks.results import Results, Target

SVG = "{http://www.w3.org/2000/svg}"


def moved(by: str, action: str, seconds: float, cpu: float = 1.0, size: int = GB) -> Sample:
    mover = WORKER if by == "fleet" else TOOL
    series = Series(ONE_FILE, by, action, size, mover)
    return Sample(series, seconds, {mover: cpu, STORAGE: 0.5}, peak=100 * MB)


def many(by: str, mover: str, seconds: float, **facts: float) -> Sample:
    series = Series(MANY, by, "upload", 100 * MB, mover, items=100, of="1 MB")
    return Sample(series, seconds, {mover: 0.5}, facts=facts)


def at_once(count: int, seconds: float, cpu: float) -> Sample:
    series = Series(LOAD, f"{count}", "at once", count * MB, WORKER, items=count)
    facts = {WAIT: 0.1, WAIT_P99: 0.2, TOOK: 0.3, TOOK_P99: 0.5}
    return Sample(series, seconds, {WORKER: cpu}, facts=facts)


def results(*taken: Sample) -> Results:
    return Results({}, {"cores": "2"}, summarize(taken), {}, [])


def texts(targets: list[Target] | tuple[Target, ...]) -> list[tuple[str, bool]]:
    return [(target.text.split(":")[0], target.met) for target in targets]


# Figures


def test_a_percentile_of_one_figure_is_that_figure() -> None:
    assert percentile([3.0], 99) == 3.0
    assert percentile([1.0, 2.0, 4.0], 50) == 2.0
    assert percentile([float(n) for n in range(101)], 99) == pytest.approx(99)


def test_processor_time_is_a_mean_and_the_rest_medians() -> None:
    taken = [moved("fleet", "upload", seconds, cpu) for seconds, cpu in ((1, 0), (2, 0), (9, 6))]
    (summary,) = summarize(taken)
    assert summary.seconds.median == 2
    assert summary.cpu_per_gb([WORKER]) == pytest.approx(2)
    assert summary.cpu_per_gb(["nobody"]) is None
    assert summary.peak == 100 * MB


def test_a_block_takes_part_in_no_more_rounds_than_it_says() -> None:
    seen: list[str] = []

    def case(name: str) -> Iterator[Sample]:
        seen.append(name)
        yield moved(name, "upload", 1)

    blocks = [
        Block("a", nullcontext, [lambda: case("a")]),
        Block("b", nullcontext, [lambda: case("b")], rounds=1),
    ]
    assert len(list(interleave(blocks, 3, lambda _: nullcontext()))) == 4
    assert seen == ["a", "b", "a", "a"]


def test_sizes_are_written_in_the_unit_in_which_they_are_round() -> None:
    sizes = (10_000, MB, 100 * MB, 5 * GB, 16 * MIB, 1024 * MIB, 1_500)
    written = ["10 kB", "1 MB", "100 MB", "5 GB", "16 MiB", "1 GiB", "1.465 KiB"]
    assert [size_text(size) for size in sizes] == written


def test_what_the_clock_adds_is_taken_off() -> None:
    looks = [(0.0, {"commits": 100.0}), (10.0, {"commits": 110.0}), (30.0, {"commits": 200.0})]
    assert added(*looks) == {"commits": pytest.approx(70)}


def test_the_clock_adds_up_a_phase_and_enters_what_is_beneath() -> None:
    entered: list[str] = []

    def beneath(name: str) -> nullcontext[None]:
        entered.append(name)
        return nullcontext()

    clock = Clock(beneath)
    for name in ("a", "b", "a"):
        with clock.phase(name):
            pass
    assert entered == ["a", "b", "a"]
    assert clock.said == "a: 0; b: 0"


# One file


def test_the_fleet_is_held_against_the_best_tool() -> None:
    found = results(
        moved("fleet", "upload", 4),
        moved("rclone", "upload", 6),
        moved("aws", "upload", 3),
        moved("curl", "upload", 1),
    )
    speed, *_ = report_files.targets(found)
    assert "aws, 333 MB/s" in speed.text
    assert "fleet 250 MB/s" in speed.text
    assert not speed.met


def test_a_small_file_is_not_held_against_anybody() -> None:
    found = results(
        moved("fleet", "upload", 1, size=MB),
        moved("rclone", "upload", 0.1, size=MB),
        moved("fleet", "upload", 3),
        moved("rclone", "upload", 4),
    )
    assert texts(report_files.targets(found)) == [("upload of 1 GB", True)] * 2


def test_processor_time_is_held_against_the_issue() -> None:
    found = results(moved("fleet", "upload", 3, 4.6), moved("fleet", "download", 3, 3.4))
    assert texts(report_files.targets(found)) == [
        ("upload of 1 GB", False),
        ("download of 1 GB", True),
    ]


def test_the_broker_is_compared_by_what_it_takes_besides() -> None:
    ours = moved("fleet", "upload", 1)
    theirs = Series(THROUGH, "messages of 1 MiB", "there", GB, TOOL)
    before = {BROKER_BEFORE: 150.0 * MB, BROKER_PEAK: 151.0 * MB}
    found = results(
        Sample(ours.series, 1, ours.cpu, facts=before),
        Sample(theirs, 9, facts={BROKER_BEFORE: 300.0 * MB, BROKER_PEAK: 309.0 * MB}),
    )
    *_, faster, memory = report_files.targets(found)
    assert "9.0 times" in faster.text
    assert not faster.met
    assert "1 MB more" in memory.text
    assert not memory.met


def test_nothing_is_compared_with_what_was_not_measured() -> None:
    assert report_files.targets(results(moved("rclone", "upload", 1))) == []
    assert report_many.targets(results(many("s5cmd", TOOL, 1))) == []


# Many files, load, stages


def test_the_best_fleet_is_held_against_rclone() -> None:
    found = results(
        many(RCLONE, TOOL, 1),
        many("fleet, one by one, 4 processes", WORKER, 5),
        many("fleet, upload_many, 4 processes", WORKER, 1.2),
    )
    (target,) = report_many.targets(found)
    assert "upload_many" in target.text
    assert "0.83" in target.text
    assert target.met


def test_many_files_are_sorted_by_speed_and_show_how_long_one_waits() -> None:
    found = results(
        many("fleet, one by one, 4 processes", WORKER, 2, **{MEDIAN: 1.25, P99: 1.9}),
        many(RCLONE, TOOL, 1),
    )
    (grid,) = report_many.grids(found)
    first, second = grid.rows
    assert first[:6] == ("1 MB", RCLONE, "100", "100.0", "", "")
    assert second[3:7] == ("50.0", "1.25", "1.90", "5.0")
    assert {len(row) for row in grid.rows} == {len(grid.columns)}


def test_where_throughput_stops_growing_is_said_with_who_is_busy() -> None:
    found = results(at_once(1, 1, 0.4), at_once(10, 1, 1.6), at_once(100, 10, 18))
    _, limit, _ = report_load.notes(found)
    assert limit.startswith("With 10 at once")
    assert "80 % by the worker" in limit


def test_what_one_upload_costs_has_a_table_of_its_own() -> None:
    series = Series(LOAD, COST, "upload", 100 * MB, WORKER, items=100)
    found = results(at_once(1, 1, 1), Sample(series, 1, facts={"commits": 7.25}))
    load, cost = report_load.grids(found)
    assert len(load.rows) == 1
    assert list(cost.rows) == [("commits", "7.2")]


def test_stages_are_between_moments_and_add_up() -> None:
    stages = stages_of([0, 1, 3, 6, 10, 15, 21, 28, 36])
    assert list(stages) == list(STAGES)
    assert list(stages.values()) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_moment_that_is_early_or_not_known_takes_no_time() -> None:
    stages = stages_of([0, 3, 2, 6, None, 15, 21, 28, 36])
    assert list(stages.values()) == [3, 0, 3, 0, 9, 6, 7, 8]


def test_stages_have_a_row_each_and_one_for_all() -> None:
    facts = dict.fromkeys(STAGES, 0.001)
    series = Series(STAGES_GROUP, "an empty file", "upload", 0, WORKER)
    (grid,) = report_stages.grids(results(*[Sample(series, 0.008, facts=facts)] * 3))
    assert [row[0] for row in grid.rows] == [*STAGES, "all of it"]
    assert grid.rows[0][1:] == ("1.0", "1.0", "3")


# Pictures and pages


def bars_of(svg: str) -> list[float]:
    drawn = ElementTree.fromstring(svg)
    return [float(one.get("width", 0)) for one in drawn.iterfind(f"{SVG}g/{SVG}rect")]


def test_bars_are_as_long_as_their_figures() -> None:
    short, long = bars_of(draw("x", [Panel("p", "s", [Bar.of("a", 1), Bar.of("b", 4)])], 1))
    assert long == pytest.approx(4 * short, abs=0.2)


def test_parts_of_a_bar_follow_each_other_and_are_named_once() -> None:
    bars = [Bar("a", {"one": 1, "two": 3}), Bar("b", {"two": 2})]
    svg = draw("x", [Panel("p", "s", bars)], 1)
    assert svg.count(">one<") == svg.count(">two<") == 1
    one, two, alone = ElementTree.fromstring(svg).iterfind(f"{SVG}g/{SVG}rect")
    assert float(two.get("x", 0)) == pytest.approx(
        float(one.get("x", 0)) + float(one.get("width", 0)), abs=0.2
    )
    assert two.get("fill") == alone.get("fill") != one.get("fill")


def test_labels_cannot_break_a_picture() -> None:
    svg = draw("<&>", [Panel("a & b", "<s>", [Bar.of("<tool>", 0)])], 1)
    assert "<tool>" in list(ElementTree.fromstring(svg).itertext())


def test_a_figure_in_a_picture_has_no_exponent() -> None:
    assert [figure(v) for v in (0, 0.00001, 0.1234, 12.34, 1234.5)] == [
        "0",
        "< 0.001",
        "0.123",
        "12.3",
        "1,234",
    ]


def test_a_page_shows_the_pictures_that_lie_beside_it(tmp_path: Path) -> None:
    page = tmp_path / "full.md"
    report.write_markdown(results(moved("fleet", "upload", 1)), page)
    assert "![one file](full.one-file.svg)" in page.read_text()
    assert bars_of((tmp_path / "full.one-file.svg").read_text())
    assert "**missed**" not in page.read_text()


# Files and processes


def test_files_of_a_lot_are_new_for_whoever_is_next(tmp_path: Path) -> None:
    paths = fill(tmp_path / "lot", 1000, 3)
    before = [path.read_bytes() for path in paths]
    freshen(paths)
    after = [path.read_bytes() for path in fill(tmp_path / "lot", 1000, 3)]
    assert not set(before) & set(after)
    assert {len(one) for one in after} == {1000}


def test_memory_is_that_of_the_largest_of_a_family() -> None:
    child = "import sys; block = b'x' * 60_000_000; print(flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pids = family(process.pid)
        seen, alone = largest(pids), largest([process.pid])
        process.communicate(b"")
    assert len(pids) == 2
    assert seen is not None
    assert alone is not None
    assert alone < 60_000_000 < seen
