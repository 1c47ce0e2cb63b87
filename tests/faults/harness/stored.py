"""What lies in Storage, read as the agent whose it is."""

from __future__ import annotations

import gzip
import hashlib
import io

import zstandard

from argosy.reference import FileReference
from tests.deployment import AgentInTest
from tests.faults.harness.world import World


def content_of(world: World, agent: AgentInTest, reference: FileReference) -> str:
    """The SHA-256 of a stored file as it was before it was compressed. Raises Error."""
    store = world.store_of(agent)
    return sha256_decoded(b"".join(store.get(reference.bucket, reference.path)), reference.encoding)


def sha256_decoded(content: bytes, encoding: str | None) -> str:
    """The SHA-256 of what was encoded, by libraries that are not ours."""
    if encoding == "gzip":
        content = gzip.decompress(content)
    elif encoding == "zstd":
        frames = zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(content), read_across_frames=True
        )
        content = frames.read()
    return hashlib.sha256(content).hexdigest()
