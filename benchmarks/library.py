"""`python -m benchmarks.library NAME`: moves files by a library, as it is told.

One process for many files, as an agent's is: neither its start nor its imports are measured.
It is told by lines of JSON, and answers each with one. The project is in the environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from argosy import Client, DownloadOptions
from benchmarks.supabase_py import bucket, move

DIRECT, SUPABASE = "direct client", "supabase-py"

Told = Mapping[str, Any]
"""`action`, `path`; `key` and `token`, or `reference`, as the library needs them."""
Library = Callable[[Told], Any]


def direct() -> Library:
    """Argosy's own client in direct mode, verified as ever."""
    ours, options = Client(), DownloadOptions(cache=False)

    def work(told: Told) -> Any:
        if told["action"] == "upload":
            return ours.upload_file(told["path"]).document()
        ours.download_file(told["reference"], told["path"], options=options)
        return None

    return work


def supabase_py() -> Library:
    """Supabase's client; made anew when the agent's token is."""
    made = lru_cache(maxsize=1)(bucket)

    def work(told: Told) -> Any:
        move(made(told["token"]), told["action"], told["key"], Path(told["path"]))

    return work


LIBRARIES: Mapping[str, Callable[[], Library]] = {DIRECT: direct, SUPABASE: supabase_py}


def main(name: str) -> None:
    """Answer until nothing more is asked."""
    work = LIBRARIES[name]()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
