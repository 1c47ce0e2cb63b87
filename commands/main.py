"""The program `argosy`."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import click

from commands.exits import MEANINGS, Exit
from commands.group import LazyGroup, show_version

PROGRAM = "argosy"
COMPLETE = "_ARGOSY_COMPLETE"
"""By this variable a shell asks for completions."""
_CODES = "\n".join(f"  {code.value:<5}{said}" for code, said in MEANINGS.items())


@dataclass
class Manner:
    """How mistakes are told."""

    debug: bool
    json: bool


def _set_debug(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value and isinstance(ctx.obj, Manner):
        ctx.obj.debug = True


@click.group(
    PROGRAM,
    cls=LazyGroup,
    epilog=f"\b\nExit codes:\n{_CODES}",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=show_version,
    help="Show the version and exit.",
)
@click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the log, and where a mistake came from; ARGOSY_DEBUG=1 does too.",
)
@click.pass_context
def argosy(ctx: click.Context) -> None:
    """Carry large files between software agents.

    An agent's commands need SUPABASE_URL, SUPABASE_ANON_KEY, BROKER_URL, RESULT_URL,
    ARGOSY_AGENT and ARGOSY_AGENT_KEY; and SUPABASE_PROJECT_REF, unless it is the first label
    of a supabase.co address, or `stub` as self-hosted Storage has it. An operator's need the
    settings of the fleet.
    Each command's --help has an example.
    """
    debug = isinstance(ctx.obj, Manner) and ctx.obj.debug
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    else:  # else Python itself would print the library's warnings
        logging.getLogger("argosy").addHandler(logging.NullHandler())


def main() -> None:
    """Run the command; a user's mistake gets a sentence, not a traceback."""
    code = run(sys.argv[1:])
    if code == Exit.INTERRUPTED and _are_others_busy():
        os._exit(code)  # it was the second Ctrl-C: they had their time
    sys.exit(code)


def _are_others_busy() -> bool:
    others = (thread for thread in threading.enumerate() if not thread.daemon)
    return any(thread is not threading.main_thread() for thread in others)


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    _write_anything()
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(argosy, {}, PROGRAM, COMPLETE, instruction)
    manner = Manner(_is_on(os.environ.get("ARGOSY_DEBUG")), _wants_json(arguments))
    try:
        with argosy.make_context(PROGRAM, list(arguments), obj=manner) as ctx:
            argosy.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return Exit.UNREAD
    except Exception as error:  # what is nobody's mistake goes on as it came
        return _tell(error, manner)
    return Exit.DONE


def _tell(error: Exception, manner: Manner) -> int:
    from commands import mistakes

    mistake = mistakes.explain(error)
    if manner.debug or mistake is None:
        import traceback

        traceback.print_exception(error)
    if mistake is None:
        return Exit.FAILED
    mistake.tell(as_json=manner.json)
    return mistake.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _is_on(value: str | None) -> bool:
    return (value or "0").lower() not in ("0", "false", "no", "off")


def _write_anything() -> None:
    """No name is an error in a terminal of another encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _close_output() -> None:
    """Else Python complains that it cannot write what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
