"""What a run tells: a summary with zeros where zeros belong; on failure the timeline too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.faults.harness.checks import Evidence, outcomes
from tests.faults.harness.journal import Entry, Journal

Violations = dict[str, list[str]]
SHOWN = 20
"""Lines of each kind of violation; all are in the file."""


def summary(evidence: Evidence, wrong: Violations, seed: int, seconds: float) -> str:
    """All of it in a page."""
    journal = evidence.load.journal
    lines = [f"seed {seed}, {seconds / 60:.1f} minutes under faults"]
    lines += ["", *_faults(journal)]
    lines += ["", *_transfers(evidence), "", *_totals(evidence)]
    lines += ["", *_violations(wrong)]
    return "\n".join(lines)


def _faults(journal: Journal) -> Iterator[str]:
    counts = Counter(
        f"{entry.facts['kind']} ({entry.facts['target']})" for entry in journal.of("fault")
    )
    befell: Counter[str] = Counter()
    for entry in journal.of("befell"):
        befell[entry.facts["trouble"]] += entry.facts["requests"]
    yield f"{counts.total()} faults"
    for name, count in sorted(counts.items()):
        yield f"  {count:5}  {name}"
    yield "  requests hit: " + (", ".join(f"{k} {n}" for k, n in sorted(befell.items())) or "none")
    for entry in journal.of("fault failed"):
        yield f"  not done: {entry.facts['kind']} ({entry.facts['target']}): {entry.facts['error']}"


def _transfers(evidence: Evidence) -> Iterator[str]:
    table = outcomes(evidence)
    yield f"{table.total()} requests accepted"
    for name in sorted({load for load, _ in table}):
        ends = {end: count for (load, end), count in sorted(table.items()) if load == name}
        yield f"  {sum(ends.values()):5}  {name}: " + ", ".join(f"{e} {n}" for e, n in ends.items())


def _totals(evidence: Evidence) -> Iterator[str]:
    rows = evidence.transfers.values()
    ends = Counter(f"{row.kind} {row.state}" for row in rows)
    yield f"{len(rows)} transfers: " + ", ".join(f"{end} {n}" for end, n in sorted(ends.items()))
    done = [row.size or 0 for row in rows if row.state == "completed"]
    yield f"{sum(done):,} bytes carried to their end"
    again = evidence.world.query(
        "SELECT count(*) FILTER (WHERE epoch > 1) AS again, count(*) AS chunks FROM argosy.chunks"
    )[0]
    yield f"{again.chunks} chunks, of which {again.again} were claimed more than once"


def _violations(wrong: Violations) -> Iterator[str]:
    total = sum(map(len, wrong.values()))
    yield f"{total} violations"
    for name, lines in wrong.items():
        yield f"  {len(lines):5}  {name}"
        yield from (f"         - {line}" for line in lines[:SHOWN])


def timeline(evidence: Evidence, wrong: Violations) -> str:
    """Faults, requests, changes of state and violations, as they came one after the other."""
    journal = evidence.load.journal
    lines = [(entry.at, _told(entry)) for entry in journal.entries]
    for event in evidence.world.query("SELECT * FROM argosy.events ORDER BY id"):
        at = round(event.at.timestamp() - journal.began, 3)
        change = f"{event.from_state or ''} -> {event.to_state}" if event.to_state else ""
        facts = [event.name, event.transfer_id or event.object, change, f"epoch {event.epoch}"]
        facts += [event.reason, event.worker, event.detail]
        lines.append((at, " ".join(str(fact) for fact in facts if fact)))
    lines.sort(key=lambda line: line[0])
    told = [f"{at:9.3f}  {text}" for at, text in lines]
    began = datetime.fromtimestamp(journal.began, UTC).isoformat(timespec="seconds")
    head = [f"The run began at {began}; seconds since then.", ""]
    tail = ["", *_violations(wrong)]
    return "\n".join([*head, *told, *tail]) + "\n"


def _told(entry: Entry) -> str:
    mark = "*** " if entry.what.startswith(("fault", "mended")) else ""
    return mark + entry.what + " " + " ".join(f"{k}={v}" for k, v in entry.facts.items())
