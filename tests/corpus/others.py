"""Everything but pictures: recordings, PDF, texts, archives, and what is none of them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import zstandard

from tests.corpus.case import Case
from tests.corpus.documents import encrypted_pdf, pdf

MIB = 1024 * 1024
Writer = Callable[[Path], None]


def _bytes(content: Callable[[], bytes] | bytes) -> Writer:
    def write(path: Path) -> None:
        path.write_bytes(content if isinstance(content, bytes) else content())

    return write


def _recording(
    form: str | None = None,
    *,
    video: str | None = None,
    audio: str | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    seconds: int = 1,
) -> Writer:
    """A grey square that grows lighter, and silence; 25 frames and 48,000 samples a second."""

    def write(path: Path) -> None:
        with av.open(str(path), "w", format=form, options=options or {}) as container:
            picture = _video_track(container, video, rotation) if video else None
            sound = container.add_stream(audio, rate=48_000) if audio else None
            if sound is not None:
                sound.codec_context.layout = "stereo"
            if picture is not None:
                _show(container, picture, 25 * seconds)
            if sound is not None:
                _sound(container, sound, 48_000 * seconds)

    return write


def _video_track(container: Any, codec: str, rotation: int) -> Any:
    track = container.add_stream(codec, rate=25)
    track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
    if rotation:
        track.set_display_rotation(-rotation)
    return track


def _show(container: Any, track: Any, frames: int) -> None:
    for number in range(frames):
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane, shade in zip(frame.planes, (number * 8 % 256, 128, 128), strict=True):
            plane.update(bytes([shade]) * plane.buffer_size)
        frame.pts, frame.time_base = number, Fraction(1, 25)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))


def _sound(container: Any, track: Any, samples: int) -> None:
    context = track.codec_context
    resampler = av.AudioResampler(format=context.format, layout="stereo", rate=48_000)
    step = context.frame_size or 1024
    for at in range(0, samples, step):
        frame = av.AudioFrame("s16", "stereo", min(step, samples - at))
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = 48_000, at, Fraction(1, 48_000)
        for fitting in resampler.resample(frame):
            container.mux(track.encode(fitting))
    container.mux(track.encode(None))


def _zip(*, encrypted: bool = False, entries: int = 3) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(entries):
            archive.writestr(f"file {number}.txt", b"x" * 1000)
    return _with_encrypted_flag(target.getvalue()) if encrypted else target.getvalue()


def _with_encrypted_flag(content: bytes) -> bytes:
    """Bit 0 of the flags, in the local headers and in the directory."""
    changed = bytearray(content)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := changed.find(mark, at + 1)) >= 0:
            changed[at + flags] |= 1
    return bytes(changed)


def _document() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", "<w/>")
    return target.getvalue()


def _tar(form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name in ("first.txt", "a" * 150 + ".txt", "Überblick.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = 1000
            archive.addfile(entry, io.BytesIO(b"x" * 1000))
        archive.addfile(_folder())
    return target.getvalue()


def _folder() -> tarfile.TarInfo:
    entry = tarfile.TarInfo("folder")
    entry.type = tarfile.DIRTYPE
    return entry


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _zstd_bomb() -> bytes:
    """1 GiB of zeros in some 32 KiB."""
    compressor = zstandard.ZstdCompressor(level=19).compressobj(size=1024 * MIB)
    pieces = [compressor.compress(bytes(16 * MIB)) for _ in range(64)]
    return b"".join(pieces) + compressor.flush()


def _gzip_bomb() -> bytes:
    """256 MiB of zeros in some 256 KiB."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=9, mtime=0) as file:
        for _ in range(16):
            file.write(bytes(16 * MIB))
    return target.getvalue()


def _noise(length: int) -> bytes:
    return random.Random(5).randbytes(length)


def _csv() -> bytes:
    rows = ["name;size;owner"] + [f"file {number};{number * 10};me" for number in range(99)]
    return "\r\n".join(rows).encode() + b"\r\n"


def _log(lines: int = 2000) -> bytes:
    start = "2026-11-23T09:00:00Z INFO part stored, number"
    return "".join(f"{start} {number}\n" for number in range(lines)).encode()


def _json() -> bytes:
    return json.dumps({"files": [{"name": f"f{number}", "size": number} for number in range(50)]},
                      indent=1).encode()  # fmt: skip


def _json_lines() -> bytes:
    return b"".join(json.dumps({"number": number}).encode() + b"\n" for number in range(50))


XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<!-- who --><list xmlns="urn:l"><file/></list>\n'
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0"/></svg>\n'
HTML = b"<!DOCTYPE html>\n<html><head><title>T</title></head><body><p>Hi</p></body></html>\n"
BOMB_XML = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
    + b"]><l>&j;</l>"
)


def _case(
    name: str,
    make: Writer | bytes,
    kind: str,
    content_type: str,
    thumbnail: str | None = "unsupported_type",
) -> Case:
    return Case(name, _bytes(make) if isinstance(make, bytes) else make, kind, content_type,
                thumbnail)  # fmt: skip


MOV = {"movflags": "+faststart"}
RECORDINGS = (
    _case("video.mp4", _recording(video="libx264", audio="aac"), "video", "video/mp4", None),
    _case(
        "video-faststart.mp4", _recording(video="libx264", options=MOV), "video", "video/mp4", None
    ),
    _case("video-turned.mp4", _recording(video="libx264", rotation=90), "video", "video/mp4", None),
    _case("video.mov", _recording(video="mpeg4", audio="aac"), "video", "video/quicktime", None),
    _case("video.webm", _recording(video="libvpx", audio="libopus"), "video", "video/webm", None),
    _case(
        "video.mkv", _recording(video="libx264", audio="flac"), "video", "video/x-matroska", None
    ),
    _case(
        "video.avi", _recording(video="mpeg4", audio="libmp3lame"), "video", "video/x-msvideo", None
    ),
    _case("video.ts", _recording(form="mpegts", video="libx264"), "video", "video/mp2t", None),
    _case("no-video.mp4", _recording(audio="aac"), "audio", "audio/mp4"),
    _case("sound.mp3", _recording(audio="libmp3lame"), "audio", "audio/mpeg"),
    _case("sound.wav", _recording(audio="pcm_s16le"), "audio", "audio/wav"),
    _case("sound.flac", _recording(audio="flac"), "audio", "audio/flac"),
    _case("sound.ogg", _recording(audio="libopus"), "audio", "audio/ogg"),
    _case("sound.aac", _recording(form="adts", audio="aac"), "audio", "audio/aac"),
)
TEXTS = (
    _case("utf16.txt", "Zeile eins\nZeile zwei: äöü €\n".encode("utf-16"), "text", "text/plain"),
    _case(
        "utf16-unmarked.txt",
        "first line\r\nsecond line\r\n".encode("utf-16-le"),
        "text",
        "text/plain",
    ),
    _case("utf8-marked.txt", "\ufeffGrüße\n".encode(), "text", "text/plain"),
    _case("latin1.txt", ("Grüße aus Köln\n" * 40).encode("latin-1"), "text", "text/plain"),
    _case("table.csv", _bytes(_csv), "text", "text/csv"),
    _case("document.json", _bytes(_json), "text", "application/json"),
    _case("broken.json", b'{"name": "cut sh', "text", "text/plain"),
    _case("lines.ndjson", _bytes(_json_lines), "text", "application/x-ndjson"),
    _case("list.xml", XML, "text", "application/xml"),
    _case("entities.xml", BOMB_XML, "text", "application/xml"),
    _case("drawing.svg", SVG, "text", "image/svg+xml"),
    _case("page.html", HTML, "text", "text/html"),
    _case("worker.log", _bytes(_log), "text", "text/plain"),
)
ARCHIVES = (
    _case("files.zip", _bytes(_zip), "archive", "application/zip"),
    _case("locked.zip", _bytes(lambda: _zip(encrypted=True)), "archive", "application/zip"),
    _case("cut.zip", _bytes(lambda: _zip()[:-40]), "archive", "application/zip"),
    _case("files.tar", _bytes(_tar), "archive", "application/x-tar"),
    _case("files.tar.gz", _bytes(lambda: _gzip(_tar())), "archive", "application/gzip"),
    _case("files.tar.bz2", _bytes(lambda: bz2.compress(_tar())), "archive", "application/x-bzip2"),
    _case("files.tar.xz", _bytes(lambda: lzma.compress(_tar())), "archive", "application/x-xz"),
    _case(
        "files.tar.zst", _bytes(lambda: zstandard.compress(_tar())), "archive", "application/zstd"
    ),
    _case("bomb.gz", _bytes(_gzip_bomb), "archive", "application/gzip"),
    _case("bomb.zst", _bytes(_zstd_bomb), "archive", "application/zstd"),
)
OTHERS = (
    _case("empty.txt", b"", "other", "application/x-empty"),
    _case("noise.jpg", _bytes(lambda: _noise(100_000)), "other", "application/octet-stream"),
    _case(
        "report.docx",
        _bytes(_document),
        "other",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
)
PAPERS = (
    _case("two-pages.pdf", _bytes(lambda: pdf(2)), "pdf", "application/pdf", None),
    _case(
        "locked.pdf",
        _bytes(lambda: encrypted_pdf(b"secret")),
        "pdf",
        "application/pdf",
        "unsupported_type",
    ),
    _case("encrypted-open.pdf", _bytes(lambda: encrypted_pdf(b"")), "pdf", "application/pdf", None),
    _case("cut.pdf", _bytes(lambda: pdf(2)[:200]), "pdf", "application/pdf", "damaged_file"),
)
CASES: tuple[Case, ...] = RECORDINGS + PAPERS + TEXTS + ARCHIVES + OTHERS
