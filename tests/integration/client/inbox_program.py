"""An agent's process with an inbox: says what it does, and returns when it is told to.

inbox_program.py ATTEMPTS
"""

from __future__ import annotations

import sys

from argosy import Inbox, Message


def main(attempts: int) -> None:
    inbox = Inbox(attempts=attempts, pause_seconds=0.05)

    @inbox.on
    def handle(message: Message) -> None:
        print("handling", message.body, message.attempt, flush=True)
        sys.stdin.readline()
        print("handled", message.body, flush=True)

    print("ready", flush=True)
    inbox.run()
    print("stopped", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
