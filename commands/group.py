"""The group `argosy`, which imports a command when it is chosen."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import click
from click.shell_completion import CompletionItem

from commands.table import ENTRIES


class LazyGroup(click.Group):
    """The commands of `table.py`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every name, in the order of the help."""
        return list(ENTRIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command of that name."""
        entry = ENTRIES.get(cmd_name)
        return entry.load() if entry else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The help's lists of commands, by section."""
        for section, entries in groupby(ENTRIES.items(), lambda one: one[1].section):
            with formatter.section(section):
                formatter.write_dl([(name, entry.help) for name, entry in entries])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and options that begin so."""
        names: list[CompletionItem] = [
            CompletionItem(name, help=entry.help)
            for name, entry in ENTRIES.items()
            if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def show_version(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
    """`--version`."""
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"argosy {version('argosy-fleet')}")
        ctx.exit()
