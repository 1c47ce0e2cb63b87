"""The fleet's mark on its own messages.

Celery publishes chains and callbacks of a request on the sender's behalf, so
neither a task's name nor its exchange tells who wanted it run. A message of an
internal task is taken only with a keyed hash of its name and arguments
(HMAC-SHA-256, RFC 2104), which nobody but the fleet can make.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence

from argosy.settings import FleetSettings

SEAL_HEADER = "argosy_seal"


def seal(settings: FleetSettings, task: str, arguments: Sequence[object]) -> str:
    """The mark of a message, in hexadecimal."""
    secret = settings.supabase_jwt_secret or settings.supabase_jwt_signing_key
    key = secret.get_secret_value().encode() if secret else b""  # settings refuse to have neither
    said = json.dumps(["argosy internal message", task, list(arguments)]).encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def is_sealed(
    settings: FleetSettings, mark: object, task: str, arguments: Sequence[object]
) -> bool:
    """Whether a message that came with this mark is the fleet's own."""
    return isinstance(mark, str) and hmac.compare_digest(
        mark.encode(), seal(settings, task, arguments).encode()
    )
