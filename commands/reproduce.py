"""`argosy reproduce`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from argosy.errors import Error
from argosy.media_settings import MediaSettings
from argosy.settings import load
from commands import refs
from commands.account import client
from commands.exits import Exit
from commands.kinds import ref_argument
from commands.output import columns, document, json_option, note

if TYPE_CHECKING:
    from argosy.client import Client
    from argosy.reference import FileReference
    from media.workshop import Workshop

REPEATABLE = ("inspect", "thumbnail", "compress")


@dataclass(frozen=True)
class Result:
    """One step, made again: the SHA-256 that the fleet has noted, and what came out here."""

    step: str
    parameters: Mapping[str, Any]
    noted: str
    here: str
    remark: str

    @property
    def same(self) -> bool:
        """Whether the same bytes came out."""
        return self.noted == self.here


@click.command()
@ref_argument
@json_option
def reproduce(*, ref: str, as_json: bool) -> None:
    """Make again what was made of a file, and compare.

    REF is as for download. The file is downloaded, each step of its provenance is done on
    this machine with the parameters that were noted, and the SHA-256 of what comes out is
    compared with the one that was noted. Exits with 1 where one differs or cannot be made
    here. Other versions of the libraries may make other bytes: they are named. Pages of a
    PDF that does not have its fonts in it show those of the machine.

    Example: argosy reproduce agent-transfers/6f.../9a.../photo.jpg
    """
    with client() as agent:
        results = list(_made_again(agent, refs.reference(agent, ref)))
    if not results:
        note("Nothing was made of this file that could be made again.")
    for result in results if as_json else ():
        document({**asdict(result), "same": result.same})
    if not as_json:
        columns(
            ("step", "parameters", "noted", "here", ""),
            [
                (one.step, _words(one.parameters), one.noted[:12], one.here[:12], one.remark)
                for one in results
            ],
        )
    if not all(result.same for result in results):
        raise click.exceptions.Exit(Exit.FAILED)


def _made_again(agent: Client, reference: FileReference) -> Iterator[Result]:
    """Each step that made something, in its order."""
    from media.workshop import Limits, Workshop

    steps = [one for one in agent.provenance(reference) if _is_repeatable(one)]
    if not steps:
        return
    limits = Limits.of(load(MediaSettings))
    with TemporaryDirectory(prefix="argosy-") as folder, Workshop(limits) as workshop:
        local = agent.download_file(reference, Path(folder) / "file")
        with local.open("rb") as file:
            for step in steps:
                yield _again(workshop, file, reference, step)


def _is_repeatable(step: Mapping[str, Any]) -> bool:
    return step["step"] in REPEATABLE and step["outcome"] == "made"


def _again(
    workshop: Workshop, file: BinaryIO, reference: FileReference, step: Mapping[str, Any]
) -> Result:
    from media.remake import FileSource, made_again

    name, parameters = step["step"], step["parameters"]
    try:
        here = made_again(
            workshop,
            FileSource(file, reference.size),
            name,
            parameters,
        )
    except Error as error:
        return Result(name, parameters, step["output_sha256"], "", f"not made: {error.message}")
    except KeyError as missing:
        words = f"not made: another version has noted it, without {missing}"
        return Result(name, parameters, step["output_sha256"], "", words)
    remark = "same" if here == step["output_sha256"] else _difference(step)
    return Result(name, parameters, step["output_sha256"], here, remark)


def _difference(step: Mapping[str, Any]) -> str:
    """What may be the reason: code of another version."""
    from media.versions import versions

    here = versions(step["step"])
    others = [
        f"{name} {said}, here {here.get(name)}"
        for name, said in step["code"].items()
        if here.get(name) != said
    ]
    return f"differs: made with {'; '.join(others)}" if others else "DIFFERS"


def _words(parameters: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={said}" for name, said in parameters.items())
