"""The trace that a request belongs to, as W3C Trace Context says it in a header.

Nothing of OpenTelemetry is needed to pass it on.
"""

from __future__ import annotations

import re
import sys

TRACE_HEADER = "traceparent"
_FORM = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def current_trace() -> str | None:
    """What this process is doing at the moment; None where nobody traces it."""
    if "opentelemetry" not in sys.modules:  # then nobody has begun a span
        return None
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return valid_trace(carrier.get(TRACE_HEADER))


def valid_trace(header: object) -> str | None:
    """The header, if it is one: anybody may write anything into it."""
    return header if isinstance(header, str) and _FORM.fullmatch(header) else None
