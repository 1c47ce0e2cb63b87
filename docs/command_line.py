"""The page of the command line, made from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby

import click

from commands.exits import MEANINGS
from commands.table import ENTRIES

INTRODUCTION = """\
`argosy` does from a shell what [the client](reference/client.md) does in a program, and runs the
fleet. `argosy --help` lists the commands and `argosy COMMAND --help` explains one. A command
imports what it needs and no more.

An agent's commands need `SUPABASE_URL`, `SUPABASE_ANON_KEY`, `BROKER_URL`, `RESULT_URL`,
`ARGOSY_AGENT` and `ARGOSY_AGENT_KEY`; and `SUPABASE_PROJECT_REF`, unless it is the first label of a
`supabase.co` address, or `stub` as self-hosted Storage has it. With `make up` that is
`. .argosy/agent.env` and what `argosy agents add` has printed. An operator's commands need all
[settings](settings.md) of the fleet. Where both `DATABASE_URL` and `SUPABASE_SERVICE_ROLE_KEY` are
set, `status`, `watch` and `history --all` ask the database and see everybody's transfers; else they
ask the fleet, and see the agent's own.

```sh
argosy upload report.bin data.csv --share-with weather   # a bar for each file, and one for all
argosy ls --long
argosy upload --json report.bin > report.json
argosy download report.json copies/
argosy download report.json - | sha256sum
tar c folder | argosy upload - --name folder.tar
argosy status 9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e --watch
```

## What names a file

`REF` is one of

- `bucket/path`, as `upload`, `ls` and `persist` print it;
- the id of a transfer of your own;
- a file on this machine that has a reference's JSON in it, as `upload --json` prints it; a name
  that is a file here is never taken for `bucket/path`;
- `-`, for that JSON on standard input.

`rm` takes JSON with many references, one after the other or as a list.

## For programs

`--json` prints one JSON document a line, in ASCII, and a mistake on standard error as
`{"error": {"code", "message", "retryable", "transfer", "about"}}` (`code` is
[one of these](errors.md), or null for wrong usage and settings). Only what runs until it is ended
(`worker`, `beat`, `flower`, `up`, `demo`) and what prints another language (`gateway`, `metrics`,
`completion`) has no `--json`.

Results go to standard output, progress and remarks to standard error. Without a terminal there
are no bars: a line now and then tells how far a long transfer is. `--quiet` silences that too.
`NO_COLOR` is honoured, and in a narrow terminal there is the name and the percentage.
Names may be in any script; what a terminal would obey (control characters, changes of direction)
is shown as an escape such as `\\x1b`. Times are UTC.

## Exit codes
"""

AFTER_CODES = """\
A command that does several things ends with 75 only where everything that failed may succeed
later. A mistake is told in a sentence; `--debug` before the command's name, or `ARGOSY_DEBUG=1`,
shows the log and the traceback as well.

After Ctrl-C, or a crash, the same `upload` or `download` goes on where it was; what comes
from standard input cannot, and leaves nothing. A second Ctrl-C does not wait for what is being put
in order. Transfers of the fleet (`--later`) go on without the command: `argosy cancel` ends them.

## Completion

```sh
eval "$(argosy completion bash)"                                  # in ~/.bashrc
eval "$(argosy completion zsh)"                                   # in ~/.zshrc
argosy completion fish > ~/.config/fish/completions/argosy.fish
```
"""


def sections() -> Iterator[str]:
    """The paragraphs of the page, without its title."""
    yield INTRODUCTION.rstrip()
    yield "| code | meaning |\n| --- | --- |\n" + "\n".join(
        f"| `{code.value}` | {said} |" for code, said in MEANINGS.items()
    )
    yield AFTER_CODES.rstrip()
    for section, entries in groupby(ENTRIES.items(), lambda one: one[1].section):
        yield f"## {section}"
        for name, entry in entries:
            yield from _command(f"argosy {name}", entry.load())


def _command(path: str, command: click.Command) -> Iterator[str]:
    """One command, or a group and its commands."""
    ctx = click.Context(command, info_name=path)
    yield f"### `{path}`"
    yield f"`{command.get_usage(ctx).removeprefix('Usage: ')}`".replace("\n", " ")
    yield from _help(command)
    rows = [_row(*record) for record in _records(command, ctx)]
    if rows:
        yield "| | |\n| --- | --- |\n" + "\n".join(rows)
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _command(f"{path} {name}", inner)


def _help(command: click.Command) -> Iterator[str]:
    """Its paragraphs: the examples as code."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            lines = (line.strip() for line in paragraph.strip("\b\n").splitlines())
            yield "```text\n" + "\n".join(lines) + "\n```"
        elif paragraph.startswith("Example: "):
            yield "```sh\n" + paragraph.removeprefix("Example: ") + "\n```"
        else:
            yield " ".join(paragraph.split())


def _records(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, str]]:
    for parameter in command.get_params(ctx):
        if isinstance(parameter, click.Argument):
            if parameter.help:
                yield parameter.make_metavar(ctx), parameter.help
        elif "--help" not in parameter.opts and (record := parameter.get_help_record(ctx)):
            yield record


def _row(names: str, meaning: str) -> str:
    cells = (cell.replace("|", "\\|") for cell in (f"`{names}`", meaning))
    return f"| {' | '.join(cells)} |"
