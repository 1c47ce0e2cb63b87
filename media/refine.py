"""The type once the file was looked into: what its first bytes alone do not tell."""

from __future__ import annotations

from typing import Any

from argosy.facts import Kind, RecordingFacts, TextFacts
from media.declared import JSON, LINES, fits
from media.encodings import decoded
from media.sniff import kind_of

AUDIO_ONLY = {
    "video/mp4": "audio/mp4", "video/webm": "audio/webm", "video/x-matroska": "audio/x-matroska",
    "video/ogg": "audio/ogg", "application/ogg": "audio/ogg", "video/3gpp": "audio/3gpp",
    "video/3gpp2": "audio/3gpp2", "video/x-ms-asf": "audio/x-ms-asf",
}  # fmt: skip
WITH_VIDEO = {"audio/mp4": "video/mp4", "application/ogg": "video/ogg"}


def refined(found: str, parts: dict[str, Any], said: str, head: bytes) -> tuple[Kind, str]:
    """The kind and the type of a file that begins with `head`.

    `said` is what anybody says of the file, if only its name.
    """
    if recording := parts.get("recording"):
        return _recording(found, recording)
    if text := parts.get("text"):
        return "text", _text(found, text, said, head)
    return kind_of(found), found


def _recording(found: str, recording: RecordingFacts) -> tuple[Kind, str]:
    """Containers of both are called by what is in them."""
    if recording.video:
        return "video", WITH_VIDEO.get(found, found)
    if recording.audio:
        return "audio", AUDIO_ONLY.get(found, found)
    return kind_of(found), found


def _text(found: str, text: TextFacts, said: str, head: bytes) -> str:
    """JSON is proved by reading it; what is too long to be read is taken at its word."""
    if found != "text/plain":
        return found
    if text.json_form:
        return JSON if text.json_form == "document" else LINES
    if text.lines_estimated and _opens_json(head, text.encoding) and fits(JSON, said):
        return JSON
    return found


def _opens_json(head: bytes, encoding: str) -> bool:
    return decoded(head[:1024], encoding).lstrip("\ufeff \t\r\n")[:1] in {"{", "["}
