"""Inspecting what a test has at hand."""

from __future__ import annotations

import io

from argosy.facts import Facts
from media.inspect import inspect
from tests.unit.media.large_files import LargeFile

UNKNOWN = "application/octet-stream"


def look(
    content: bytes | LargeFile,
    *,
    name: str = "file",
    declared_type: str = UNKNOWN,
    private: bool = False,
) -> Facts:
    file = io.BytesIO(content) if isinstance(content, bytes) else content.file()
    size = len(content) if isinstance(content, bytes) else content.size
    return inspect(file, size, name=name, declared_type=declared_type, private=private)
