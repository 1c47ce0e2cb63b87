"""Every command by its name: where it is, and what the help says of it.

A command is imported when it is chosen, so that `argosy --help` imports none.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

import click

FILES = "Files"
TRANSFERS = "Transfers of the fleet"
OPERATION = "Running a deployment"
MACHINE = "This machine"


@dataclass(frozen=True)
class Entry:
    """One command: `module:attribute`, its help in short, and its section of the help."""

    where: str
    help: str
    section: str

    def load(self) -> click.Command:
        """Import the command.

        Raises UsageError where the package was installed without what it needs.
        """
        module, _, attribute = self.where.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if not module.startswith("local"):
                raise
            raise click.UsageError(
                f"This command needs the packages of a whole deployment, and {error.name} is not "
                "among those that are installed: pip install 'argosy-fleet[local]'."
            ) from error
        assert isinstance(found, click.Command)  # noqa: S101  tests/unit/test_commands.py
        return found


def _entries(section: str, **commands: tuple[str, str]) -> dict[str, Entry]:
    return {name: Entry(*told, section) for name, told in commands.items()}


ENTRIES = MappingProxyType(
    _entries(
        FILES,
        upload=("commands.upload:upload", "Upload files."),
        download=("commands.download:download", "Download a file."),
        ls=("commands.ls:ls", "List stored files."),
        stat=("commands.stat:stat", "Show what Storage says of a file."),
        inspect=(
            "commands.made:inspect",
            "Have the fleet look into a file, and show what it found.",
        ),
        thumbnail=(
            "commands.made:thumbnail",
            "Have the fleet make thumbnails of a picture, a video or a PDF.",
        ),
        compress=(
            "commands.made:compress",
            "Have the fleet store a compressed copy of a file, where that pays.",
        ),
        reproduce=(
            "commands.reproduce:reproduce",
            "Make again what was made of a file, and compare.",
        ),
        rm=("commands.rm:rm", "Delete files."),
        share=("commands.share:share", "Let other agents read a file."),
        unshare=("commands.share:unshare", "Take a file's sharing back."),
        persist=("commands.persist:persist", "Keep a file."),
        extend=("commands.extend:extend", "Keep a file for longer."),
        url=("commands.url:url", "Make a URL that reads a file."),
        send=("commands.send:send", "Send a message to an agent."),
    )
    | _entries(
        TRANSFERS,
        status=("commands.status:status", "Say where a transfer is, and why it waits."),
        watch=("commands.watch:watch", "Watch transfers on their way."),
        history=("commands.history:history", "List transfers, the newest first."),
        usage=("commands.usage:usage", "Say what the agent takes up, and what it may."),
        cancel=("commands.control:cancel", "End transfers."),
        pause=("commands.control:pause", "Hold transfers."),
        resume=("commands.control:resume", "Have held transfers go on."),
        retry=("commands.control:retry", "Do failed or cancelled transfers over again."),
    )
    | _entries(
        OPERATION,
        bootstrap=(
            "worker.cli:bootstrap",
            "Make a project ready: schema, policies, roles, buckets.",
        ),
        migrate=("worker.cli:migrate", "Bring schema `argosy` and its policies up to date."),
        agents=("worker.agents_cli:agents", "The agents that the fleet knows."),
        doctor=(
            "worker.doctor.cli:doctor",
            "Say whether the deployment is well, and what AGENT may do on PATH, and why.",
        ),
        health=("worker.probes:health", "Say whether a worker of this machine lives."),
        ready=("worker.probes:ready", "Say whether a worker could work here."),
        worker=("worker.cli:worker", "Run a worker of the fleet."),
        beat=("worker.cli:beat", "Run the clock of the fleet."),
        flower=("worker.cli:flower", "Run Flower, the page on which operators watch the fleet."),
        metrics=(
            "worker.cli:metrics",
            "Tell Prometheus of the fleet's books: http://127.0.0.1:9540/metrics.",
        ),
        gateway=(
            "worker.cli:gateway",
            "Print nginx's configuration: a gateway with CORS in front of Supabase.",
        ),
        dead=("commands.dead:dead", "List the messages that the broker gave up, the newest first."),
        sweep=("commands.sweep:sweep", "Remove the files whose time is over."),
        reconcile=(
            "commands.reconcile:reconcile",
            "Compare the books with Storage, and put them right.",
        ),
    )
    | _entries(
        MACHINE,
        up=(
            "local.__main__:up",
            "Start everything, say how an agent connects, and end everything on Ctrl-C.",
        ),
        demo=(
            "local.demo:demo",
            "Carry files up and down through a fleet of this machine, and compare.",
        ),
        completion=("commands.completion:completion", "Print a shell's completion."),
    )
)
"""The commands, in the order of the help."""
