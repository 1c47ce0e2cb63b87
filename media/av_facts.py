"""What a recording's container says: tracks, codecs, durations. No frame is shown or played.

FFmpeg is told which one demuxer to use, so that no playlist or script of references is
ever opened, and gets its bytes from the reader alone: no protocol is allowed to it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import av
from av.container import InputContainer

from argosy.facts import AudioTrack, RecordingFacts, VideoTrack
from media.box_rotation import rotation_of
from media.problem import Unreadable
from media.reader import BLOCK, Reader
from media.words import amount, count, word

DEMUXERS = {
    "video/mp4": "mov", "audio/mp4": "mov", "video/quicktime": "mov",
    "video/3gpp": "mov", "video/3gpp2": "mov",
    "video/webm": "matroska", "video/x-matroska": "matroska",
    "audio/mpeg": "mp3", "audio/wav": "wav", "audio/flac": "flac", "audio/aac": "aac",
    "audio/aiff": "aiff", "audio/amr": "amr", "audio/x-caf": "caf", "audio/basic": "au",
    "audio/ogg": "ogg", "video/ogg": "ogg", "application/ogg": "ogg",
    "video/x-msvideo": "avi", "video/x-flv": "flv", "video/mpeg": "mpeg",
    "video/mp2t": "mpegts", "video/x-ms-asf": "asf",
}  # fmt: skip
"""The one demuxer for a type of the bytes; of every other recording only the type is told."""

LIMITS = {
    "protocol_whitelist": "none",
    "probesize": str(2 * 1024 * 1024),
    "analyzeduration": "5000000",  # microseconds of the recording
    "max_streams": "64",
    "max_probe_packets": "500",
    "skip_estimate_duration_from_pts": "0",
}
MICROSECONDS = 1_000_000


def recording_facts(reader: Reader, content_type: str) -> RecordingFacts | None:
    """Facts of a sound or video; None for formats of which only the type is told.

    Raises Unreadable for a damaged one.
    """
    demuxer = DEMUXERS.get(content_type)
    if demuxer is None:
        return None
    reader.seek(0)
    try:
        with _opened(reader, demuxer) as container:
            return _facts(container, reader, demuxer)
    except (av.FFmpegError, ValueError) as damage:
        raise Unreadable(f"The recording cannot be read: {_reason(damage)}.") from damage


class _Ending:
    """The reader as FFmpeg sees it: where no more may be read, the file ends.

    So FFmpeg tells what it found until then; why it ended, the reader remembers.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.seek, self.tell = reader.seek, reader.tell

    def read(self, size: int) -> bytes:
        try:
            return self._reader.read(size)
        except OSError:
            return b""


def _opened(reader: Reader, demuxer: str) -> InputContainer:
    return av.open(
        _Ending(reader),
        mode="r",
        format=demuxer,
        container_options=LIMITS | {"format_whitelist": demuxer},
        metadata_errors="replace",
        buffer_size=BLOCK,
        io_open=_refuse,
    )


def _refuse(*_: Any) -> NoReturn:
    raise Unreadable("The recording refers to another file.")


def _reason(damage: Exception) -> str:
    return str(getattr(damage, "strerror", None) or damage)


def _facts(container: InputContainer, reader: Reader, demuxer: str) -> RecordingFacts:
    length = container.duration
    return RecordingFacts(
        format=word(container.format.name) or demuxer,
        duration=None if length is None else amount(length / MICROSECONDS),
        bit_rate=count(container.bit_rate) or None,
        video=_video(container, reader, demuxer),
        audio=_audio(container),
    )


def _video(container: InputContainer, reader: Reader, demuxer: str) -> VideoTrack | None:
    """The first track of moving pictures: a song's cover is none."""
    cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    tracks = [track for track in container.streams.video if not track.disposition & cover]
    if not tracks:
        return None
    track = tracks[0]
    context = track.codec_context
    return VideoTrack(
        codec=_codec(track),
        width=count(context.width if context else 0) or 0,
        height=count(context.height if context else 0) or 0,
        rotation=rotation_of(reader, track.id) if demuxer == "mov" else 0,
        frame_rate=amount(track.average_rate) or None,
    )


def _audio(container: InputContainer) -> AudioTrack | None:
    if not container.streams.audio:
        return None
    track = container.streams.audio[0]
    context = track.codec_context
    return AudioTrack(
        codec=_codec(track),
        sample_rate=count(context.sample_rate) if context else None,
        channels=count(context.channels) if context else None,
    )


def _codec(track: Any) -> str | None:
    """The codec's name, not that of the library which would decode it; None for none known."""
    return word(track.codec_context.codec.canonical_name) if track.codec_context else None
