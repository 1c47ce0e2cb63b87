"""What the benchmark says of a worse network follows from what it measured."""

from __future__ import annotations

import pytest

from benchmarks import report_network
from benchmarks.cases_network import GROUP, RATE, SUPABASE_PY, fleet_name, place
from benchmarks.deployment import CHILDREN
from benchmarks.measure import Sample, Series, Summary, summarize
from benchmarks.results import Results

MB = 10**6
HERE = place(0.05, RATE).name
FLEET = fleet_name(CHILDREN)


def sample(by: str, action: str, seconds: float, where: str = HERE) -> Sample:
    return Sample(Series(GROUP, by, action, 100 * MB, "all", of=where), seconds)


def summaries(fleet_seconds: float) -> list[Summary]:
    taken = [sample(FLEET, way, fleet_seconds) for way in ("upload", "download")]
    return summarize([*taken, *(sample(SUPABASE_PY, way, 10) for way in ("upload", "download"))])


@pytest.mark.parametrize(("seconds", "met"), [(2.0, True), (2.1, False)])
def test_five_times_one_stream_is_the_target(seconds: float, met: bool) -> None:
    told = report_network.targets(summaries(seconds))
    assert [is_met for _, is_met in told] == [met, met]
    assert told[0][0].startswith(f"{FLEET}, upload, {HERE}: {10 / seconds:.1f} times")


def test_there_is_no_target_for_other_places() -> None:
    elsewhere = [sample(by, "upload", 1, "elsewhere") for by in (FLEET, SUPABASE_PY)]
    assert report_network.targets(summarize(elsewhere)) == []


def test_who_did_not_arrive_has_failed() -> None:
    known = summarize([sample(FLEET, "upload", 2), sample(SUPABASE_PY, "upload", 10)])
    assert report_network.grid(known).rows == [
        (HERE, FLEET, "50.0", "failed", "5.0", ""),
        (HERE, SUPABASE_PY, "10.0", "failed", "", ""),
    ]
    assert not Results({}, {}, known, {}, []).rates


def test_a_run_without_it_shows_nothing_of_it() -> None:
    assert not report_network.grid([]).rows
    assert not report_network.notes([])
