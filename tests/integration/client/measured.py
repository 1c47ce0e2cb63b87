"""Reads a stored file in a process of its own, and tells its peak memory: `python -m`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from argosy import Client, FileReference
from argosy.options import DownloadOptions

MIB = 1024 * 1024


def peak() -> int:
    """Bytes: the kernel's own mark of this process (VmHWM)."""
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


def read(client: Client, how: str, reference: FileReference, destination: Path) -> None:
    if how == "download_file":
        client.download_file(reference, destination, options=DownloadOptions(cache=False))
    elif how == "download_file, cached":
        client.download_file(reference, destination)
    elif how == "iter_bytes":
        assert sum(map(len, client.iter_bytes(reference))) == reference.size
    else:
        with client.open_file(reference) as file:
            assert sum(map(len, iter(lambda: file.read(MIB), b""))) == reference.size


def main() -> None:
    agent, key, document, how, destination = json.loads(sys.stdin.read())
    reference = FileReference.parse(document)
    with Client(agent=agent, key=key) as client:
        _ = client.agent_id  # signed in
        baseline, begun = peak(), time.monotonic()
        read(client, how, reference, Path(destination))
        seconds = time.monotonic() - begun
    print(json.dumps({"baseline": baseline, "peak": peak(), "seconds": seconds}))


if __name__ == "__main__":
    main()
