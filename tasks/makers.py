"""How the derivatives of each step are made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from argosy.description import object_metadata
from argosy.storage.body import BytesBody
from argosy.storage.content import Content
from media.thumbnail import Thumbnail, ThumbnailOptions
from models import Derivative
from tasks.compressing import compress
from tasks.fleet import fleet
from tasks.making import Maker, Output, Work
from tasks.steps import InspectStep, ThumbnailStep

READ_AHEAD_BYTES = 64 * 1024 * 1024
"""A decoder reads a file once or twice; one that is made to read it for ever is stopped."""
SUFFIXES = {"webp": "webp", "jpeg": "jpg", "png": "png", "avif": "avif"}


class StoredSource:
    """The file in Storage, as those read it who look into it."""

    def __init__(self, content: Content) -> None:
        self.size = content.reference.size
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only where the file ends."""
        end = min(offset + length, self.size)
        return b"".join(self._content.get(offset, end - offset)) if offset < end else b""


def inspect(work: Work, step: InspectStep) -> Sequence[Output]:
    """Look at the bytes of a file."""
    transfer = work.transfer
    beside: dict[str, Any] = {
        "name": transfer.name,
        "declared_type": transfer.content_type,
        "traffic": fleet().settings.inspect_bytes,
    }
    facts = fleet().workshop.inspect(
        StoredSource(work.content()), private=step.private, check=work.lease.check, **beside
    )
    learnt = facts.model_dump(mode="json", exclude_none=True)
    return [Output(one, {"detail": learnt}, beside=beside) for one in work.derivatives]


def thumbnail(work: Work, step: ThumbnailStep) -> Sequence[Output]:
    """Make small pictures of a file and store them beside it."""
    wanted = {json.loads(one.parameters)["size"]: one for one in work.derivatives}
    options = ThumbnailOptions(
        sizes=tuple(sorted(wanted)),
        format=step.format,
        quality=step.quality,
        allow_truncated=step.allow_truncated,
    )
    source = StoredSource(work.content())
    traffic = 2 * source.size + READ_AHEAD_BYTES
    made = fleet().workshop.thumbnails(source, options, check=work.lease.check, traffic=traffic)
    beside = {"sizes": list(options.sizes)}
    return [
        Output(wanted[one.edge], _store(work, step, wanted[one.edge], one), beside=beside)
        for one in made
    ]


def _store(
    work: Work, step: ThumbnailStep, one: Derivative, picture: Thumbnail
) -> Mapping[str, Any]:
    """Store one picture; returns its row's columns."""
    transfer, data = work.transfer, picture.data
    sha256 = hashlib.sha256(data).hexdigest()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    path = work.place(one, _leaf(step, picture, sha256))
    metadata = object_metadata(
        name=path.rpartition("/")[2],
        owner=transfer.agent_id,
        transfer=transfer.id,
        sha256=sha256,
        md5=md5,
        expires_at=transfer.expires_at,
    )
    work.store.put(
        transfer.bucket,
        path,
        BytesBody(data),
        content_type=picture.content_type,
        metadata=metadata,
        md5=md5,
    )
    return {
        "object_name": path,
        "content_type": picture.content_type,
        "size": len(data),
        "sha256": sha256,
        "md5": md5,
        "width": picture.width,
        "height": picture.height,
    }


def _leaf(step: ThumbnailStep, picture: Thumbnail, sha256: str) -> str:
    """With the bytes' own checksum: a worker that is too late cannot put others in their place."""
    return f"thumbnail-{picture.edge}-{sha256[:12]}.{SUFFIXES[step.format]}"


MAKERS: Mapping[str, Maker] = {"inspect": inspect, "thumbnail": thumbnail, "compress": compress}
