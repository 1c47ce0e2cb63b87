"""`python -m benchmarks.supabase_py upload|download KEY PATH`: a file by Supabase's own client.

As its documentation has it. The project, its key and the agent's token are in the environment.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from supabase import ClientOptions, create_client

from benchmarks.deployment import BUCKET

_SECONDS = 600


def bucket() -> Any:
    """The bucket, as the agent sees it."""
    token = os.environ["BENCHMARK_TOKEN"]
    options = ClientOptions(
        headers={"Authorization": f"Bearer {token}"}, storage_client_timeout=_SECONDS
    )
    client = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"], options)
    return client.storage.from_(BUCKET)


def main(way: str, key: str, path: str) -> None:
    """Move one file."""
    if way == "upload":
        with Path(path).open("rb") as file:
            bucket().upload(key, file, {"content-type": "application/octet-stream"})
    else:
        Path(path).write_bytes(bucket().download(key))


if __name__ == "__main__":
    main(*sys.argv[1:])
