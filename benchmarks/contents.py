"""Bytes that compress as real ones do: log lines, records, measured numbers; and random ones.

The same in every run. A stretch of 16 MiB is made and repeated: four frames of a compressed
file, each of which is encoded for itself, so that no repetition falls into one frame.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import accumulate, cycle
from random import Random

from benchmarks.measure import MIB

STRETCH = 16 * MIB

_SEED = 5
_RANDOM_BLOCK = 64 * 1024
_LEVELS = ("DEBUG", "INFO", "INFO", "INFO", "INFO", "WARNING", "ERROR")
_PARTS = ("gateway", "scheduler", "billing", "search.index", "mail.queue", "session", "cache")
_SAID = (
    "request {id:08x} from {ip} answered with {status} after {ms:.3f} ms",
    "user {user} signed in from {ip}, session {long:016x}",
    "cache miss for key user:{user}:profile, loaded in {ms:.1f} ms",
    "order {id} of {user}: {count} items, total {total:.2f} EUR, payment {long:016x} accepted",
    "retrying job {id:08x} (attempt {count}) after TimeoutError: no answer from {ip}:5432",
    "index segment {id} merged: {many} documents, {ms:.2f} s, checksum {long:016x}",
    "slow statement ({ms:.1f} ms): SELECT * FROM orders WHERE customer_id = {many} LIMIT {count}",
    "connection {id} from {ip} closed by peer after {many} bytes",
)
_NUMBERS = struct.Struct("<IHHdf")


def content(kind: str, size: int) -> Iterator[bytes]:
    """So many bytes of a kind, in blocks."""
    left = size
    for block in cycle(_blocks(kind)):
        if left <= 0:
            return
        yield block[:left]
        left -= len(block)


def _blocks(kind: str) -> tuple[bytes, ...]:
    """One stretch, cut into blocks of 1 MiB."""
    made, random = bytearray(), Random(_SEED)
    pieces = KINDS[kind](random)
    while len(made) < STRETCH:
        made += next(pieces)
    return tuple(bytes(made[at : at + MIB]) for at in range(0, STRETCH, MIB))


def _log_lines(random: Random) -> Iterator[bytes]:
    second = 1_700_000_000.0
    while True:
        second += random.expovariate(40)
        said = random.choice(_SAID).format(**_facts(random))
        place, level = random.choice(_PARTS), random.choice(_LEVELS)
        yield f"{second:.6f} {level:<7} {place}[{random.randrange(2000, 2040)}]: {said}\n".encode()


def _facts(random: Random) -> Mapping[str, object]:
    """What a line may name."""
    return {
        "id": random.getrandbits(32),
        "long": random.getrandbits(64),
        "ip": f"10.{random.randrange(8)}.{random.randrange(256)}.{random.randrange(256)}",
        "status": random.choice((200, 200, 200, 204, 304, 404, 500)),
        "ms": random.lognormvariate(2, 1),
        "user": f"user-{random.randrange(50_000)}",
        "count": random.randrange(1, 20),
        "many": random.randrange(1_000_000),
        "total": random.uniform(1, 900),
    }


def _records(random: Random) -> Iterator[bytes]:
    """JSON, one record a line."""
    for number in range(1 << 62):
        facts = _facts(random)
        record = {
            "id": f"{random.getrandbits(128):032x}",
            "sequence": number,
            "customer": {"name": facts["user"], "address": facts["ip"]},
            "status": random.choice(("open", "paid", "sent", "returned")),
            "total": round(random.uniform(1, 900), 2),
            "position": [round(random.uniform(-90, 90), 5), round(random.uniform(-180, 180), 5)],
            "tags": random.sample(_PARTS, random.randrange(4)),
        }
        yield json.dumps(record).encode() + b"\n"


def _numbers(random: Random) -> Iterator[bytes]:
    """Little-endian records of a counter, flags, a reading, a slow double and a noisy float."""
    counters = accumulate(iter(partial(random.randrange, 1, 50), 0))
    walk = 1000.0
    for counter in counters:
        walk += random.gauss(0, 0.01)
        reading, flags = int(random.gauss(2048, 40)) & 0xFFF, random.choice((0, 0, 0, 1, 4))
        yield _NUMBERS.pack(counter & 0xFFFFFFFF, flags, reading, walk, random.gauss(20, 0.5))


def _random(random: Random) -> Iterator[bytes]:
    while True:
        yield random.randbytes(_RANDOM_BLOCK)


KINDS: Mapping[str, Callable[[Random], Iterator[bytes]]] = {
    "text (log lines)": _log_lines,
    "JSON (records)": _records,
    "binary (numbers)": _numbers,
    "binary (random)": _random,
}
TEXT = "text (log lines)"
