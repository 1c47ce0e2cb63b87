"""Requests to fetch a stored file into the spool."""

from __future__ import annotations

from pydantic import field_validator

from models import Kind
from tasks.requests.base import TransferRequest
from tasks.requests.fields import Path
from tasks.requests.stored import ReferenceRequest


class DownloadRequest(ReferenceRequest, TransferRequest):
    """`transfer.download`."""

    destination: Path

    @field_validator("destination")
    @classmethod
    def _check_file(cls, destination: str) -> str:
        if destination.rpartition("/")[2] in ("", "."):  # else a file would get the folder's name
            raise ValueError(f"{destination[:80]!r} is a folder: name the file in it, too")
        return destination

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.DOWNLOAD
