from __future__ import annotations

import struct
from pathlib import Path

import av
import pytest

from argosy.facts import AudioTrack, RecordingFacts
from tests.unit.media.large_files import LargeFile, Run
from tests.unit.media.looking import look
from tests.unit.media.test_inspect_corpus import made

GIB = 1024**3
ZERO = b"\0"


def recording(content: bytes | LargeFile) -> RecordingFacts:
    facts = look(content)
    assert facts.problem is None
    assert facts.recording is not None
    return facts.recording


def boxes(content: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(content):
        length = struct.unpack(">I", content[at : at + 4])[0]
        found[content[at + 4 : at + 8]] = content[at : at + length]
        at += length
    return found


def test_a_video_tells_its_tracks(tmp_path: Path) -> None:
    found = recording(made("video.mp4", tmp_path))
    assert found.duration == pytest.approx(1, abs=0.05)
    assert found.video is not None
    video = found.video
    assert (video.codec, video.width, video.height, video.rotation) == ("h264", 64, 48, 0)
    assert video.frame_rate == pytest.approx(25, abs=0.1)
    assert found.audio == AudioTrack(codec="aac", sample_rate=48_000, channels=2)
    assert found.bit_rate is not None
    assert found.bit_rate > 0


@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("video.mov", "mpeg4", "aac"),
        ("video.webm", "vp8", "opus"),
        ("video.mkv", "h264", "flac"),
        ("video.avi", "mpeg4", "mp3"),
        ("video.ts", "h264", None),
        ("no-video.mp4", None, "aac"),
        ("sound.mp3", None, "mp3"),
        ("sound.wav", None, "pcm_s16le"),
        ("sound.flac", None, "flac"),
        ("sound.ogg", None, "opus"),
        ("sound.aac", None, "aac"),
    ],
)
def test_codecs(name: str, video: str | None, audio: str | None, tmp_path: Path) -> None:
    found = recording(made(name, tmp_path))
    assert (found.video and found.video.codec, found.audio and found.audio.codec) == (video, audio)
    assert found.duration == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotation_is_that_of_a_decoded_frame(turn: int, tmp_path: Path) -> None:
    content = bytearray(made("video-faststart.mp4", tmp_path))
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    at = content.index(b"tkhd") + 4 + 40
    matrix = [cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    content[at : at + 36] = struct.pack(">9i", *matrix)
    (tmp_path / "turned.mp4").write_bytes(content)
    with av.open(str(tmp_path / "turned.mp4")) as container:
        frame = next(container.decode(video=0))
    found = recording(bytes(content))
    assert found.video is not None
    assert found.video.rotation == turn == -frame.rotation % 360


def test_a_turned_video(tmp_path: Path) -> None:
    found = recording(made("video-turned.mp4", tmp_path))
    assert found.video is not None
    assert found.video.rotation == 90


def test_an_mp4_without_video_is_sound(tmp_path: Path) -> None:
    facts = look(made("no-video.mp4", tmp_path), declared_type="video/mp4")
    assert (facts.kind, facts.content_type, facts.declared_type) == (
        "audio", "audio/mp4", "video/mp4")  # fmt: skip
    assert look(made("no-video.mp4", tmp_path), declared_type="audio/x-m4a").declared_type is None


def test_two_gigabytes_with_the_index_at_the_end_cost_little(tmp_path: Path) -> None:
    parts = boxes(made("video.mp4", tmp_path))
    assert list(parts)[-1] == b"moov"
    before = b"".join(body for name, body in parts.items() if name not in {b"moov", b"mdat"})
    mdat = struct.pack(">I", len(parts[b"mdat"]) + 2 * GIB) + parts[b"mdat"][4:]
    file = LargeFile(before, mdat, Run(ZERO, 2 * GIB), parts[b"moov"])
    found = recording(file)
    assert found.video is not None
    assert (found.video.width, found.duration) == (64, pytest.approx(1, abs=0.05))
    assert file.fetched < 1_000_000
    assert file.requests < 20


def test_two_gigabytes_with_the_index_at_the_front_cost_little(tmp_path: Path) -> None:
    content = made("video-faststart.mp4", tmp_path)
    free = struct.pack(">I4sQ", 1, b"free", 16 + 5 * GIB)
    file = LargeFile(content, free, Run(ZERO, 5 * GIB))
    assert recording(file).video is not None
    assert file.fetched < 1_000_000


@pytest.mark.parametrize("name", ["video.mkv", "video.webm", "video.ts", "sound.mp3"])
def test_what_follows_a_long_recordings_head_costs_little(name: str, tmp_path: Path) -> None:
    file = LargeFile(made(name, tmp_path), Run(ZERO, 2 * GIB))
    facts = look(file)
    assert facts.recording is not None
    assert file.fetched < 16_000_000


def test_two_gigabytes_of_samples_cost_little(tmp_path: Path) -> None:
    content = made("sound.wav", tmp_path)
    at = content.index(b"data") + 4
    seconds = 2 * GIB // (48_000 * 4)
    samples = Run(ZERO, seconds * 48_000 * 4)
    file = LargeFile(content[:at] + struct.pack("<I", samples.length), samples)
    assert recording(file).duration == pytest.approx(seconds)
    assert file.fetched < 1_000_000


def test_a_playlist_is_a_text_and_opens_nothing() -> None:
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    facts = look(playlist, name="list.m3u8", declared_type="application/vnd.apple.mpegurl")
    assert (facts.kind, facts.recording) == ("text", None)
    assert look(b"ffconcat version 1.0\nfile /etc/hostname\n").kind == "text"


def test_a_recording_cut_short_tells_what_it_can(tmp_path: Path) -> None:
    facts = look(made("video.mp4", tmp_path)[:1000])
    assert (facts.kind, facts.recording) == ("video", None)
    assert facts.problem is not None
    assert facts.problem.startswith("The recording cannot be read: ")
    half = look(made("video-faststart.mp4", tmp_path)[:1500])
    assert half.recording is not None
    assert half.recording.video is not None
