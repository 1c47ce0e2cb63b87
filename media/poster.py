"""The picture that stands for a video, by FFmpeg's libraries."""

from __future__ import annotations

from itertools import islice
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from argosy.errors import DamagedFile, UnsupportedType
from media.picture import Picture, check_pixels
from media.shrinking import fitted, shrunk

SHARE = 10
"""The frame is taken after one tenth: first frames are often black."""
MOST_PACKETS = 500
OPTIONS = {"protocol_whitelist": "none"}
TURNS = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
    -90: Image.Transpose.ROTATE_270,
}
"""By the degrees, anticlockwise, by which the file says it is to be turned."""


def poster(file: BinaryIO, demuxer: str, edge: int, *, pixels: int) -> Picture:
    """A key frame of the video in `file`, near a tenth of its length.

    Raises:
        UnsupportedType: It has no video.
        DamagedFile: No frame can be decoded.
        TooManyPixels: Its frames have more than `pixels`.
    """
    with av.open(
        file, "r", demuxer, OPTIONS, metadata_errors="ignore", io_open=_refused
    ) as container:
        if not container.streams.video:
            raise UnsupportedType("The file has sound but no video: there is nothing to show")
        stream = container.streams.video[0]
        check_pixels(stream.width, stream.height, pixels)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(pixels)}
        frame = _frame(container, stream)
    check_pixels(frame.width, frame.height, pixels)
    return _picture(frame, edge)


def _refused(*_: object) -> object:
    """Nothing that a file refers to is opened."""
    raise DamagedFile("The video refers to another file: only what lies in it is shown")


def _frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    if container.duration:
        container.seek(container.duration // SHARE)
        if frame := _key_frame(container, stream):
            return frame
        container.seek(0)
    if frame := _key_frame(container, stream):
        return frame
    raise DamagedFile("No frame of the video can be decoded")


def _key_frame(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    """The next that stands by itself, and can be decoded."""
    for packet in islice(container.demux(stream), MOST_PACKETS):
        if packet.is_keyframe and packet.size and (frame := _decoded(stream, packet)):
            return frame
    return None


def _decoded(stream: VideoStream, packet: Packet[VideoStream]) -> VideoFrame | None:
    """One packet alone: flushed, a decoder gives its frame without waiting for the next."""
    context = stream.codec_context
    try:
        frames = [*context.decode(packet), *context.decode(None)]
    except av.error.InvalidDataError:
        return None
    finally:
        context.flush_buffers()
    return frames[0] if frames else None


def _picture(frame: VideoFrame, edge: int) -> Picture:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # as PyAV has it
    small = shrunk(image, fitted(image.size, edge))
    turn = TURNS.get(round(frame.rotation))
    if turn is None:
        return Picture(small, image.size)
    sideways = round(frame.rotation) in (90, -90)
    return Picture(small.transpose(turn), image.size[::-1] if sideways else image.size)
