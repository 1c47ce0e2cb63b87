"""A stand-in for the console script `argosy`: a fleet without tasks, on Celery alone."""

from __future__ import annotations

import os
import sys

from celery import Celery


def main() -> None:
    app = Celery("fake", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
    command, *words = sys.argv[1:]
    options = dict(zip(words[::2], words[1::2], strict=True))
    if command == "worker":
        name, concurrency = f"{options['--name']}@%h", options["--concurrency"]
        app.worker_main(["worker", "-n", name, "-c", concurrency, "-l", "INFO"])
    elif command == "beat":
        app.start(["beat", "-l", "INFO", "-s", "beat-schedule"])
    elif command == "flower":
        app.start(["flower", f"--port={options['--port']}"])
    elif command == "fail":
        sys.exit("no such luck")


if __name__ == "__main__":
    main()
