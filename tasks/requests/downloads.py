"""Requests to fetch a stored file into the spool."""

from __future__ import annotations

from models import Kind
from tasks.requests.base import TransferRequest
from tasks.requests.fields import Path
from tasks.requests.stored import ReferenceRequest


class DownloadRequest(ReferenceRequest, TransferRequest):
    """`transfer.download`."""

    destination: Path

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.DOWNLOAD
