"""The fleet's log: one JSON line an event, static names, identifiers instead of objects.

Whatever is written goes through `argosy.redaction`: our own events, those of
libraries, tracebacks, and what somebody prints.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from argosy.redaction import learn, redact, redacted, secrets_in
from argosy.settings import fleet_settings

_NOISY = ("httpx", "httpcore", "celery.app.trace", "celery.worker.strategy")


def redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Take secrets out of an event, at any depth: Celery logs headers and arguments."""
    clean: Mapping[str, Any] = redacted(event)
    return clean


class RedactedStream:
    """A stream on which nothing secret is printed, not even by what does not log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without its secrets."""
        self._stream.write(redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def configure_logging() -> None:
    """Send structlog's and the libraries' events to standard error as JSON, without secrets."""
    learn(secrets_in(fleet_settings()))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.stdout, sys.stderr = _redacted(sys.stdout), _redacted(sys.stderr)


def _redacted(stream: TextIO) -> Any:
    return stream if isinstance(stream, RedactedStream) else RedactedStream(stream)
