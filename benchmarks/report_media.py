"""The tables of thumbnails and of compression, and what is needed to read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.cases_compression import NONE
from benchmarks.cases_media import QUALITY, VIPS
from benchmarks.gains import LINES, Coding
from benchmarks.grid import Grid, spread_text
from benchmarks.measure import Spread, Summary
from benchmarks.results import Results

THUMBNAIL_NOTES = (
    "Thumbnails are made one after the other, and counted by picture, also where two are made of "
    "it. A core-second is processor time of all processes: for the fleet's workshop, which forks, "
    "limits and confines a decoder for each picture, of the one that asks, the fork server and the "
    "decoders; for Pillow of one process that has loaded it; for vipsthumbnail with the start of "
    "its process, VIPS_CONCURRENCY being 1.",
    f"Quality is {QUALITY} for all, files come from the page cache and thumbnails go to files. For "
    "two sizes the workshop and Pillow decode once and make the smaller from the larger, "
    "vipsthumbnail runs once for each. In the fleet the bytes come from Storage instead.",
)
CODING_NOTES = (
    "Coding is in memory by the fleet's own coder (frames of 4 MiB, each with its checksum), "
    "rates are bytes of the file in a second of processor time: one core's. Beside `none` stands "
    "the rate of SHA-256 and MD5, which every transfer computes over the file, compressed or not, "
    "in another thread.",
    "A transfer of 1 GB (10^9 bytes) is reckoned from the rates: sending and receiving overlap "
    "with coding, so going up takes the longer of encoding (one core) and sending what is stored, "
    "coming down the longer of receiving that and decoding (one core; the fleet decodes parts on "
    "several). The line is taken as fully used and everything else as free. Rows other than `none` "
    "are the difference to it: seconds with a minus are gained.",
    "The fleet's transfers of text are measured over the local machine, unshaped: no line is as "
    "fast, so there compression costs what it costs at most. zstd and gzip are of level 3 there.",
)


def grids(results: Results) -> list[Grid]:
    """Without rows where nothing was measured."""
    lines = [f"{mbits:,} Mbit/s" for mbits in LINES]
    ways = [f"{way} {line}" for way in ("up", "down") for line in lines]
    rates = ("stored %", "encode MB/s", "decode MB/s", "n")
    speeds = ("pictures per core-second", "per second", "n")
    codings = results.codings
    return [
        Grid("Thumbnails", ("what", "by", *speeds), list(_thumbnails(results.thumbnails)), 2),
        Grid("Compression", ("of", "by", *rates), [_coding(one) for one in codings], 2),
        Grid("Seconds for 1 GB", ("of", "by", *ways), list(_gains(codings)), 2),
    ]


def notes(results: Results) -> Iterator[str]:
    """Those on tables that have rows."""
    if results.thumbnails:
        yield from THUMBNAIL_NOTES
    if results.codings:
        yield from CODING_NOTES


def _thumbnails(summaries: Sequence[Summary]) -> Iterator[Sequence[str]]:
    for summary in summaries:
        series = summary.series
        figures = (_per(series.items, spent) for spent in (summary.core_seconds, summary.seconds))
        yield (series.action, series.subject, *figures, f"{len(summary.samples)}")
    if summaries and not any(VIPS in summary.series.subject for summary in summaries):
        yield ("all of it", VIPS, "not installed", "", "0")


def _per(items: int, spent: Spread) -> str:
    """So many in a second."""
    rate = Spread(items / spent.median, items / spent.high, items / spent.low)
    return spread_text(rate, 1, 1)


def _coding(coding: Coding) -> Sequence[str]:
    decode = "" if coding.decode is None else f"{coding.decode / 1e6:.0f}"
    share, encode = f"{coding.share * 100:.1f}", f"{coding.encode / 1e6:.0f}"
    return (coding.of, coding.by, share, encode, decode, f"{coding.samples}")


def _gains(codings: Sequence[Coding]) -> Iterator[Sequence[str]]:
    plain = {coding.of: coding for coding in codings if coding.by == NONE}
    for coding in codings:
        yield (coding.of, coding.by, *_seconds(coding, plain[coding.of]))


def _seconds(coding: Coding, plain: Coding) -> list[str]:
    """Up and down by each line; for what is coded, what that changes."""
    ours = [coding.up(line) for line in LINES] + [coding.down(line) for line in LINES]
    if coding is plain:
        return [f"{seconds:.1f}" for seconds in ours]
    theirs = [plain.up(line) for line in LINES] + [plain.down(line) for line in LINES]
    changes = (mine - other for mine, other in zip(ours, theirs, strict=True))
    return ["0.0" if abs(change) < 0.05 else f"{change:+.1f}" for change in changes]
