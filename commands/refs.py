"""What names a file on the command line.

REF is one of: `bucket/path`; the id of a transfer of one's own; a file on this machine
with a reference's JSON in it; `-` for that JSON on standard input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from argosy.errors import InvalidReference, InvalidState, ObjectNotFound
from argosy.reference import FileReference
from commands import words

if TYPE_CHECKING:
    from argosy.client import Client

MOST_BYTES = 16 * 1024 * 1024
"""Of a file of references: ten thousand of them."""

Found = FileReference | str
"""A reference, or `bucket/path`."""


def one(client: Client, ref: str) -> Found:
    """The file that REF names. Raises UsageError where it names several, and what `all_of` does."""
    found = list(all_of(client, ref))
    if len(found) != 1:
        raise click.UsageError(f"{ref} has {len(found)} references: one is wanted here.")
    return found[0]


def all_of(client: Client, ref: str) -> Iterator[Found]:
    """The files that REF names: JSON may have several documents.

    Raises InvalidReference, and for a transfer's id TransferNotFound, and InvalidState
    where it has no file yet, ObjectNotFound where it has none any more.
    """
    if ref == "-":
        yield from _parsed(sys.stdin.buffer.read(MOST_BYTES + 1), "Standard input")
    elif transfer := _uuid(ref):
        yield _of_transfer(client, transfer)
    elif _is_file(ref):
        with Path(ref).open("rb") as file:
            yield from _parsed(file.read(MOST_BYTES + 1), ref)
    else:
        yield _place(ref)


def reference(client: Client, ref: str) -> FileReference:
    """The reference to the file that REF names; of `bucket/path` what its object says."""
    found = one(client, ref)
    return client.get_file_metadata(found).reference() if isinstance(found, str) else found


def place(found: Found) -> str:
    """`bucket/path`."""
    return found if isinstance(found, str) else f"{found.bucket}/{found.path}"


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _is_file(ref: str) -> bool:
    try:
        return Path(ref).is_file()
    except (OSError, ValueError):  # too long, or a NUL: no name of a file here
        return False


def _place(ref: str) -> str:
    bucket, _, path = ref.partition("/")
    if not bucket or not path:
        raise InvalidReference(
            f"{ref!r} is no file: give bucket/path, a transfer's id, or a file with a "
            "reference's JSON."
        )
    return ref


def _of_transfer(client: Client, transfer: UUID) -> FileReference:
    status = client.status(transfer)
    if status.state == "expired":
        raise ObjectNotFound(
            f"{status.name} is not in {status.bucket} any more ({words.gone(status)}): "
            "upload it again.",
            str(transfer),
        )
    if status.reference is None:
        raise InvalidState(
            f"The transfer of {status.name} is {status.state} and has no file: "
            f"`argosy status {transfer}` says more.",
            str(transfer),
        )
    return FileReference.parse(status.reference)


def _parsed(data: bytes, where: str) -> Iterator[FileReference]:
    """The JSON documents that stand there one after the other."""
    if len(data) > MOST_BYTES:
        raise InvalidReference(f"{where} is longer than {MOST_BYTES} bytes: that is no reference.")
    for told in _documents(data, where):
        for document in told if isinstance(told, list) else [told]:
            yield FileReference.parse(document)


def _documents(data: bytes, where: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    try:
        left = data.decode().lstrip()
        told, end = decoder.raw_decode(left)  # an empty one is a mistake
        yield told
        while left := left[end:].lstrip():
            told, end = decoder.raw_decode(left)
            yield told
    except (ValueError, RecursionError) as error:
        raise InvalidReference(
            f"{where} is not a reference's JSON ({error}): give what `argosy upload --json` "
            "printed, or name the file as bucket/path."
        ) from None
