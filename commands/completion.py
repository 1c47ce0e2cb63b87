"""`argosy completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a shell's completion.

    \b
    Example, in ~/.bashrc:  eval "$(argosy completion bash)"
    in ~/.zshrc:            eval "$(argosy completion zsh)"
    for fish:  argosy completion fish > ~/.config/fish/completions/argosy.fish
    """
    from commands.main import COMPLETE, PROGRAM

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  click has all three
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, COMPLETE).source())
