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


def bucket(token: str) -> Any:
    """The bucket, as the agent sees it whose token this is."""
    options = ClientOptions(
        headers={"Authorization": f"Bearer {token}"}, storage_client_timeout=_SECONDS
    )
    client = create_client(os.environ["SUPABASE_URL"], os.environ["SUPABASE_ANON_KEY"], options)
    return client.storage.from_(BUCKET)


def move(files: Any, action: str, key: str, path: Path) -> None:
    """One file, in one stream each way; what is downloaded is in memory as a whole."""
    if action == "upload":
        with path.open("rb") as file:
            files.upload(key, file, {"content-type": "application/octet-stream"})
    else:
        path.write_bytes(files.download(key))


def main(action: str, key: str, path: str) -> None:
    """Move one file."""
    move(bucket(os.environ["BENCHMARK_TOKEN"]), action, key, Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
