"""Mistakes that a user can put right, as sentences; everything else is ours, with a traceback."""

from __future__ import annotations

import json
from dataclasses import dataclass

import click

from argosy.errors import Error
from argosy.settings import SettingsError
from commands.exits import Exit, exit_of
from commands.output import note


@dataclass(frozen=True)
class Mistake:
    """What to say of an error. `code` is Argosy's own where the error is."""

    message: str
    exit_code: int
    code: str = ""
    retryable: bool = False
    transfer_id: str | None = None
    usage: click.UsageError | None = None

    def tell(self, *, as_json: bool, about: str = "") -> None:
        """Say it on standard error; `about` names what it is about, where there is more."""
        if as_json:
            note(self._document(about))
        elif self.usage:
            self.usage.show()
        else:
            prefix = f"{about}: " if about and not _names(self.message, about) else ""
            suffix = f" [{self.code}]" if self.code else ""
            for line in f"{prefix}{self.message}{suffix}".splitlines():
                note(line)

    def _document(self, about: str) -> str:
        told = {
            "code": self.code or None,
            "message": self.message,
            "retryable": self.retryable,
            "transfer": self.transfer_id,
            "about": about or None,
        }
        return json.dumps({"error": told})


def _names(message: str, about: str) -> bool:
    """Whether the message says itself what it is about; what is short is in many a sentence."""
    return message.startswith(f"{about}: ") or (len(about) > 8 and about in message)


def explain(error: BaseException) -> Mistake | None:
    """The sentence and the exit code for an error; None where it is nobody's mistake."""
    if isinstance(error, Error):
        about = (error.code, error.retryable, error.transfer_id)
        return Mistake(error.message, exit_of(error), *about)
    if isinstance(error, click.ClickException):
        usage = error if isinstance(error, click.UsageError) else None
        return Mistake(error.format_message(), error.exit_code, usage=usage)
    if isinstance(error, SettingsError):
        return Mistake(str(error), Exit.USAGE)
    return _of_deployment(error) or _of_path(error)


def _of_deployment(error: BaseException) -> Mistake | None:
    """What the operator's commands meet."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    from worker.broker_api import BrokerApiError
    from worker.unready import BrokerUnready, DatabaseUnready

    if isinstance(error, BrokerApiError | BrokerUnready | DatabaseUnready):
        return Mistake(str(error), Exit.USAGE)
    if isinstance(error, OperationalError | ProgrammingError):
        why = str(error.orig).partition("\n")[0]
        said = f"PostgreSQL: {why}. Is it there, and ready by `argosy bootstrap`?"
        return Mistake(said, Exit.USAGE)
    return None


def _of_path(error: BaseException) -> Mistake | None:
    if isinstance(error, OSError) and error.strerror:
        path = f"{error.filename}: " if error.filename else ""
        return Mistake(f"{path}{error.strerror}.", Exit.FAILED)
    return None
