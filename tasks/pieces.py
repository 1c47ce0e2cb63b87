"""How large the pieces are that a file is moved in, and up to what size it is one."""

from __future__ import annotations

from argosy.sizes import S3_MAX_PART_BYTES, S3_MIN_PART_BYTES
from argosy.storage.parts import grown_part_size, part_size_for
from models import Transfer
from tasks.fleet import fleet

PIECE_SECONDS = 5
"""What a part may take at the agent's rate: so long others may wait for the worker that has it."""


def at_once(transfer: Transfer) -> int:
    """Bytes up to which a file is moved in one piece.

    As the operator has said; where nothing is said, fewer where one stream is slow.
    """
    settings = fleet().settings
    usual = min(settings.chunk_threshold, at_its_rate(transfer))
    if "chunk_threshold" in settings.model_fields_set:
        return usual
    return fleet().streams.at_once(transfer.kind, usual, settings.part_size)


def part_size_of(transfer: Transfer, size: int) -> int:
    """Bytes of each part of a file of `size` bytes, but for the last one."""
    return part_size_for(size, min(_usual_part_size(size), at_its_rate(transfer)))


def at_its_rate(transfer: Transfer) -> int:
    """Bytes that move within `PIECE_SECONDS`, or the least that a part may have."""
    rate = fleet().throttle.pace(transfer.agent_id).rate
    return S3_MAX_PART_BYTES if rate is None else max(S3_MIN_PART_BYTES, rate * PIECE_SECONDS)


def _usual_part_size(size: int) -> int:
    """As the operator has said; where nothing is said, by the size of the file."""
    settings = fleet().settings
    is_said = "part_size" in settings.model_fields_set
    return settings.part_size if is_said else grown_part_size(size, settings.part_size)
