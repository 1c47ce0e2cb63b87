"""Commands of which only the dry run is there."""

from __future__ import annotations

import click


def only_dry(command: str, *, is_dry: bool) -> None:
    """Raise UsageError unless it is the dry run that is asked for."""
    if not is_dry:
        raise click.UsageError(
            f"Only the dry run is there yet, and nothing was changed: "
            f"`argosy {command} --dry-run` says what would be."
        )
