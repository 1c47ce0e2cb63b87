"""`argosy send`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from commands.account import client
from commands.output import document, json_option, say

MOST_BYTES = 64 * 1024 * 1024
"""Of a body: what is longer is a file to attach."""


@click.command()
@click.argument("to", help="The agent's name.")
@click.argument("body", required=False, help="What to say; - is standard input.")
@click.option(
    "--attach",
    multiple=True,
    metavar="FILE",
    type=click.Path(),
    help="File to upload and send with it. May be repeated.",
)
@click.option("--text", is_flag=True, help="BODY is text even where it is JSON.")
@json_option
def send(*, to: str, body: str | None, attach: tuple[str, ...], text: bool, as_json: bool) -> None:
    """Send a message to an agent.

    BODY goes as the JSON document that it is, or as text where it is none. Prints the
    message's id.

    Example: argosy send weather '{"task": "read"}' --attach report.bin
    """
    if body is None and not attach:
        raise click.UsageError("Give a BODY, or --attach a file.")
    told = None if body is None else _document(_read() if body == "-" else body, text=text)
    with client() as agent:
        sent = agent.send(to, told, attachments=list(attach))
    if as_json:
        document({"message": str(sent), "to": to})
    else:
        say(str(sent))


def _read() -> str:
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise click.UsageError(f"The body is longer than {MOST_BYTES} bytes: --attach it instead.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError("The body is not UTF-8: --attach it instead.") from None


def _document(body: str, *, text: bool) -> Any:
    if text:
        return body
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return body


def _refuse(word: str) -> Any:
    """NaN and its like are Python's, not JSON's."""
    raise ValueError(word)
