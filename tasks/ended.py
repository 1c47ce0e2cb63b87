"""What a transfer comes to, for whoever asked for it."""

from __future__ import annotations

from argosy.reference import FileReference

Ended = FileReference | str | list[FileReference | dict[str, str]]
"""Of an upload or a copy the reference, of a download the destination, of a batch what came of
each of its files: the reference, or why there is none."""
