"""A message's properties, whatever its sender has written there."""

from __future__ import annotations

from typing import Any

import structlog
from amqp import serialization  # type: ignore[import-untyped]
from amqp.spec import Basic  # type: ignore[import-untyped]

log = structlog.get_logger(__name__)


def take_any_properties() -> None:
    """Have the library of this process live any properties."""
    serialization.PROPERTY_CLASSES[Basic.CLASS_ID] = read_properties


def read_properties(buffer: Any, offset: int) -> tuple[dict[str, Any], int]:
    """A message's properties; none of a message whose properties cannot be read.

    The library raises out of the event loop then, for a date after the year
    9999 as for text that is not UTF-8, and the worker would end. It also decodes
    a body by any codec that the sender names, and some take hours: JSON is UTF-8.
    """
    try:
        read, end = serialization.decode_properties_basic(buffer, offset)
    except Exception as error:  # whatever it is: such a message has no content type, so it goes
        log.warning("message.unreadable", error=type(error).__name__)
        return {}, offset
    read.pop("content_encoding", None)
    return read, end
