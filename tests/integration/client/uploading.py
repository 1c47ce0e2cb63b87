"""An agent's process that uploads, and says how much memory that took.

    python -m tests.integration.client.uploading file|stream PATH [PART_SIZE [COMPRESS]]

Its settings come from the environment. It prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from argosy import Client, UploadOptions
from argosy.options import Compress

STREAM_BLOCK = 300_000
"""Bytes; no part ends where a block does."""


def megabytes(field: str) -> float:
    """A figure of this process's memory, in MB: VmRSS (now) or VmHWM (its peak)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def blocks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(STREAM_BLOCK):
            yield block


def main(
    how: str, path: str, part_size: str | None = None, compress: Compress | None = None
) -> None:
    options = UploadOptions(part_size=int(part_size) if part_size else None, compress=compress)
    with Client() as client:
        client.upload_file(b"warm", options=UploadOptions(name="warm"))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        baseline, begun = megabytes("VmRSS"), time.monotonic()
        if how == "file":
            reference = client.upload_file(path, options=options)
        else:
            blocks = blocks_of(Path(path))
            reference = client.upload_stream(blocks, Path(path).name, options=options)
        seconds = time.monotonic() - begun
        figures = {"baseline": baseline, "peak": megabytes("VmHWM"), "seconds": seconds}
    print(json.dumps({"reference": reference.document(), **figures}))


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]  # UploadOptions checks what `compress` is
