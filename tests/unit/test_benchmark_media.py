"""What the benchmark says of compression follows from what it measured."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.cases_compression import CODERS, DECODE, ENCODE, GROUP, NONE, samples
from benchmarks.cases_media import GROUP as THUMBNAILS
from benchmarks.contents import KINDS, content
from benchmarks.gains import Coding, codings
from benchmarks.measure import MIB, Sample, Series, summarize
from benchmarks.report_media import grids, notes
from benchmarks.results import Results

MB = 10**6


def coding(by: str = "zstd 3", *, share: float = 0.25, encode: float, decode: float) -> Coding:
    return Coding("text", by, share, encode, decode, 1)


def sample(
    by: str, action: str, cpu: float, stored: int | None = None, size: int = 100 * MB
) -> Sample:
    series = Series(GROUP, by, action, size, "client", of="text")
    return Sample(series, 2 * cpu, {"client": cpu}, stored)


def results(taken: list[Sample]) -> Results:
    return Results({}, {}, summarize(taken), {}, [])


def test_a_slow_line_gains_what_is_not_sent() -> None:
    assert coding(encode=200 * MB, decode=800 * MB).up(10) == pytest.approx(200)
    assert coding(encode=200 * MB, decode=800 * MB).down(10) == pytest.approx(200)


def test_a_fast_line_waits_for_the_coder() -> None:
    assert coding(encode=20 * MB, decode=800 * MB).up(1_000) == pytest.approx(50)
    assert coding(encode=20 * MB, decode=800 * MB).down(1_000) == pytest.approx(2)
    assert coding(encode=20 * MB, decode=100 * MB).down(1_000) == pytest.approx(10)


def test_what_is_not_coded_waits_for_the_line_alone() -> None:
    plain = Coding("text", NONE, 1.0, 1 * MB, None, 1)
    assert [plain.up(line) for line in (10, 100, 1_000)] == pytest.approx([800, 80, 8])
    assert [plain.down(line) for line in (10, 100, 1_000)] == pytest.approx([800, 80, 8])


def test_rates_are_of_processor_time_and_medians() -> None:
    taken = [sample("zstd 3", ENCODE, cpu, 25 * MB) for cpu in (1.0, 0.5, 4.0)]
    taken += [sample("zstd 3", DECODE, cpu) for cpu in (0.2, 0.1, 0.4)]
    (found,) = codings(summarize(taken))
    assert (found.share, found.samples) == (0.25, 3)
    assert found.encode == pytest.approx(100 * MB)
    assert found.decode == pytest.approx(500 * MB)


def test_the_table_shows_the_difference_to_none() -> None:
    taken = [
        sample(NONE, ENCODE, 0.2, 100 * MB),
        sample("gzip 6", ENCODE, 5.0, 25 * MB),
        sample("gzip 6", DECODE, 0.1),
    ]
    _, _, seconds = grids(results(taken))
    assert [row[1:] for row in seconds.rows] == [
        (NONE, "800.0", "80.0", "8.0", "800.0", "80.0", "8.0"),
        ("gzip 6", "-600.0", "-30.0", "+42.0", "-600.0", "-60.0", "-6.0"),
    ]


def test_thumbnails_are_counted_by_core_second_and_an_absent_tool_is_named() -> None:
    series = Series(THUMBNAILS, "Pillow thumbnail()", "256 px, webp", MB, "all", items=10)
    found = results([Sample(series, 2.0, {"all": 0.5})])
    thumbnails, *_ = grids(found)
    assert thumbnails.rows[0] == ("256 px, webp", "Pillow thumbnail()", "20.0", "5.0", "1")
    assert thumbnails.rows[1][1:3] == ("vipsthumbnail", "not installed")
    assert not found.rates and not found.latencies


def test_notes_are_those_of_the_tables() -> None:
    assert list(notes(results([]))) == []
    assert any("1 GB" in note for note in notes(results([sample(NONE, ENCODE, 1.0, MB)])))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_contents_are_the_same_in_every_run(kind: str) -> None:
    first, again = KINDS[kind](Random(5)), KINDS[kind](Random(5))
    assert [next(first) for _ in range(100)] == [next(again) for _ in range(100)]


def test_contents_have_the_size_asked_for() -> None:
    assert sum(map(len, content("binary (random)", 17 * MIB + 5))) == 17 * MIB + 5


def test_every_coder_is_measured_both_ways() -> None:
    taken = samples("binary (random)", 5 * MIB)
    seen = {(one.series.subject, one.series.action) for one in taken}
    assert seen == {(NONE, ENCODE)} | {(by, way) for by in CODERS for way in (ENCODE, DECODE)}
    assert all(one.cpu["client"] > 0 for one in taken)
    assert all((one.stored or 0) >= 5 * MIB for one in taken if one.series.action == ENCODE)
