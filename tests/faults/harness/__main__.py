"""`python -m tests.faults.harness`: the proof, and the outage. `make faults`, `make outage`."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path

import click

from tests.faults.harness.outage import measure
from tests.faults.harness.run import run

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def main() -> None:
    """Break the deployment, and see that nothing is lost."""


@main.command()
@click.option("--minutes", type=click.FloatRange(0.1), default=3, show_default=True)
@click.option("--seed", type=int, help="Of load and faults; one is drawn and told by default.")
@click.option("--data", type=_FOLDER, help="Folder of everything; kept.")
def faults(*, minutes: float, seed: int | None, data: Path | None) -> None:
    """Load and faults for so many minutes, then the checks."""
    seed = random.randrange(1_000_000) if seed is None else seed
    folder = data or _temporary()
    click.echo(f"seed {seed}, {minutes:g} minutes, data in {folder}")
    outcome = run(folder, seed=seed, seconds=minutes * 60)
    click.echo(outcome.summary)
    _end(folder, keep=data is not None, clean=outcome.is_clean, word=f"SEED={seed}")


@main.command()
@click.option("--minutes", type=click.FloatRange(0.1), default=10, show_default=True)
@click.option("--data", type=_FOLDER, help="Folder of everything; kept.")
def outage(*, minutes: float, data: Path | None) -> None:
    """Storage is away for so many minutes while work comes in; then it is back."""
    folder = data or _temporary()
    click.echo(f"{minutes:g} minutes without Storage, data in {folder}")
    seen = measure(folder, seconds=minutes * 60)
    click.echo(seen.table())
    for name, lines in seen.violations.items():
        for line in lines:
            click.echo(f"{name}: {line}")
    clean = not any(seen.violations.values())
    _end(folder, keep=data is not None, clean=clean, word="an outage")


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="argosy-faults-"))


def _end(folder: Path, *, keep: bool, clean: bool, word: str) -> None:
    if not clean:
        click.echo(f"\nFAILED with {word}: look into {folder} (timeline.txt, journal.jsonl, logs).")
        sys.exit(1)
    if not keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(prog_name="python -m tests.faults.harness")
