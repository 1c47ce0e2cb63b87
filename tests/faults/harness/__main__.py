"""`python -m tests.faults.harness`: the proof, and the outage. `make faults`, `make outage`."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path

import click

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
    folder = data or Path(tempfile.mkdtemp(prefix="argosy-faults-"))
    click.echo(f"seed {seed}, {minutes:g} minutes, data in {folder}")
    outcome = run(folder, seed=seed, seconds=minutes * 60)
    click.echo(outcome.summary)
    if not outcome.is_clean:
        click.echo(f"\nFAILED with SEED={seed}: {folder}/timeline.txt tells what happened when.")
        sys.exit(1)
    if data is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(prog_name="python -m tests.faults.harness")
