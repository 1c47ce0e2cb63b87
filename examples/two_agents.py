"""Two agents exchange a file.

two_agents.py receive          in the environment of one agent, say printer
two_agents.py send printer F   in the environment of another
"""

from __future__ import annotations

import sys

from argosy import Client, Inbox, Message, Subscriber, UploadOptions


class Show(Subscriber):
    """Prints how far the upload is."""

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        print(f"{bytes_done} of {bytes_total} bytes, {rate / 1e6:.0f} MB/s, {eta} s to go")


def send(to: str, path: str) -> None:
    with Client() as client:
        reference = client.upload_file(path, options=UploadOptions(subscribers=(Show(),)))
        message = client.send(to, {"subject": "a file for you"}, attachments=[reference])
        print("sent", message, flush=True)


def receive() -> None:
    inbox = Inbox()

    @inbox.on
    def handle(message: Message) -> None:
        for file in message.files:
            print(f"{message.sender}: {file.reference.name}, {file.reference.size} bytes, verified")
        sys.stdout.flush()
        inbox.stop()  # one message is enough here

    inbox.run()


if __name__ == "__main__":
    if sys.argv[1:] == ["receive"]:
        receive()
    elif sys.argv[1:2] == ["send"] and len(sys.argv) == 4:
        send(*sys.argv[2:])
    else:
        sys.exit(__doc__)
