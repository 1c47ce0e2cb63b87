"""Argosy carries large files between software agents through Supabase Storage."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from argosy.auth import login
from argosy.errors import Error
from argosy.reference import FileReference

if TYPE_CHECKING:
    from argosy.async_client import AsyncClient
    from argosy.client import Client
    from argosy.fetch import LocalFile, fetch_files, references_in
    from argosy.inbox import Inbox
    from argosy.info import FileInfo, Status, Usage
    from argosy.messages import Message
    from argosy.options import DownloadOptions, ListOptions, UploadOptions
    from argosy.progress import Subscriber

__all__ = [
    "AsyncClient",
    "Client",
    "DownloadOptions",
    "Error",
    "FileInfo",
    "FileReference",
    "Inbox",
    "ListOptions",
    "LocalFile",
    "Message",
    "Status",
    "Subscriber",
    "UploadOptions",
    "Usage",
    "fetch_files",
    "login",
    "references_in",
]

_HOMES = {
    "AsyncClient": "argosy.async_client",
    "Client": "argosy.client",
    "DownloadOptions": "argosy.options",
    "FileInfo": "argosy.info",
    "Inbox": "argosy.inbox",
    "ListOptions": "argosy.options",
    "LocalFile": "argosy.fetch",
    "Message": "argosy.messages",
    "Status": "argosy.info",
    "Subscriber": "argosy.progress",
    "UploadOptions": "argosy.options",
    "Usage": "argosy.info",
    "fetch_files": "argosy.fetch",
    "references_in": "argosy.fetch",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: the fleet's own processes need none of the client."""
    if name not in _HOMES:
        raise AttributeError(f"module 'argosy' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
