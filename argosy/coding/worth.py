"""Whether a file is worth compressing: by its type, and by what a sample of it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from argosy.coding.compressed_types import is_compressed
from argosy.coding.encoder import encoded
from argosy.coding.expansion import ALWAYS_EXPANDED
from argosy.derived import Encoding

SAMPLES = 4
SAMPLE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Verdict:
    """Whether to compress a file, and why, in a sentence."""

    worth: bool
    reason: str


def sample_ranges(size: int) -> list[tuple[int, int]]:
    """What `is_worth` should see of a file: offsets and lengths, at most 1 MiB in all.

    A small file whole; of others four stretches, the first at the beginning, the last at
    the end.
    """
    if size <= SAMPLES * SAMPLE_BYTES:
        return [(0, size)] if size else []
    step = (size - SAMPLE_BYTES) // (SAMPLES - 1)
    starts = [number * step for number in range(SAMPLES - 1)]
    return [(start, SAMPLE_BYTES) for start in (*starts, size - SAMPLE_BYTES)]


def is_worth(
    content_type: str,
    samples: Sequence[bytes],
    *,
    encoding: Encoding,
    level: int,
    saving: float,
    size: int | None = None,
    expansion: int = 1000,
) -> Verdict:
    """Whether compression pays. `saving` is the share of the bytes that it must save, from 0 to 1.

    A type that is compressed by itself never pays; of every other the samples, as
    `sample_ranges` has them, are compressed as the file would be. What expands to more than
    `expansion` times is left as it is, unless the file's `size` is known and small: whoever
    receives it would take it for a bomb.
    """
    plain = content_type.partition(";")[0].strip().lower()
    if is_compressed(plain):
        return Verdict(False, f"Files of type {plain} are compressed by themselves.")
    sampled = sum(len(sample) for sample in samples)
    if not sampled:
        return Verdict(False, "The file is empty.")
    stored = sum(_encoded_size(sample, encoding, level) for sample in samples)
    saved = 1 - stored / sampled
    found = f"A sample of {sampled} bytes gets {_change(saved)} with {encoding}"
    if saved < saving:
        return Verdict(False, f"{found}: less than the {saving:.1%} that it must save.")
    is_small = size is not None and size <= ALWAYS_EXPANDED
    if sampled > expansion * stored and not is_small:
        return Verdict(False, f"{found}: so much that it would pass for a bomb.")
    return Verdict(True, f"{found}.")


def _encoded_size(sample: bytes, encoding: Encoding, level: int) -> int:
    return sum(len(block) for block in encoded([sample], encoding, level))


def _change(saved: float) -> str:
    return f"{saved:.1%} smaller" if saved >= 0 else f"{-saved:.1%} larger"
