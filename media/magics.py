"""Which bytes a type begins with.

Only marks that are long or checked further are here: "BM" or "MZ" alone are words of a text.
"""

from __future__ import annotations

import struct

FIRST: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0\x08\0\0\0", "image/tiff"),
    (b"MM\0+\0\x08\0\0", "image/tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"8BPS\0\x01\0\0\0\0\0\0", "image/vnd.adobe.photoshop"),
    (b"fLaC\0\0\0\x22", "audio/flac"),
    (b"ID3\x02\0", "audio/mpeg"),
    (b"ID3\x03\0", "audio/mpeg"),
    (b"ID3\x04\0", "audio/mpeg"),
    (b"#!AMR\n", "audio/amr"),
    (b"MThd\0\0\0\x06", "audio/midi"),
    (b"caff\0\x01\0\0", "audio/x-caf"),
    (b".snd\0\0\0", "audio/basic"),
    (b"FLV\x01", "video/x-flv"),
    (b"\0\0\x01\xba", "video/mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c", "video/x-ms-asf"),
    (b"%PDF-", "application/pdf"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x04\x22\x4d\x18", "application/x-lz4"),
    (b"MSCF\0\0\0\0", "application/vnd.ms-cab-compressed"),
    (b"!<arch>\n", "application/x-archive"),
    (b"SQLite format 3\0", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
    (b"\0asm\x01\0\0\0", "application/wasm"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"OTTO\0", "font/otf"),
    (b"\0\x01\0\0\0", "font/ttf"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (b"ARROW1\0\0", "application/vnd.apache.arrow.file"),
    (b"PAR1\x15", "application/vnd.apache.parquet"),
    (b"Obj\x01", "application/avro"),
)

BRANDS: dict[bytes, str] = {
    b"avif": "image/avif", b"avis": "image/avif",
    b"heic": "image/heic", b"heix": "image/heic", b"hevc": "image/heic-sequence",
    b"mif1": "image/heif", b"msf1": "image/heif-sequence",
    b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4",
    b"jp2 ": "image/jp2", b"crx ": "image/x-canon-cr3",
}  # fmt: skip
"""Major brands of ISO base media files (the registry at mp4ra.org)."""

RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
SKIPPABLE = range(0x184D2A50, 0x184D2A60)
"""RFC 8878: frames of zstd that hold no data."""
BITMAP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
TS_PACKET = 188


def magic_of(head: bytes) -> str | None:
    """The type that the first bytes name; None when they name none (text names none)."""
    for mark, name in FIRST:
        if head.startswith(mark):
            return name
    for look in (_iso, _riff, _ogg, _ebml, _bitmap, _icon, _packed, _stream, _mpeg_audio):
        if found := look(head):
            return found
    return None


def _iso(head: bytes) -> str | None:
    """ISO/IEC 14496-12: a box of type `ftyp`; QuickTime files of old have none."""
    if head[4:8] in {b"moov", b"mdat", b"wide"} and head[8:12] != b"":
        return "video/quicktime"
    if head[4:8] != b"ftyp":
        return None
    length = struct.unpack(">I", head[:4])[0]
    others = head[16 : min(length, len(head))]
    brands = {others[i : i + 4] for i in range(0, len(others), 4)}
    major = head[8:12]
    if major in {b"mif1", b"msf1"} and brands & {b"avif", b"avis"}:
        return "image/avif"
    if major[:3] in {b"3gp", b"3g2"}:
        return "video/3gpp" if major[:3] == b"3gp" else "video/3gpp2"
    return BRANDS.get(major, "video/mp4")


def _riff(head: bytes) -> str | None:
    if head.startswith((b"RIFF", b"RF64")):
        return RIFF.get(head[8:12])
    if head.startswith(b"FORM") and head[8:12] in {b"AIFF", b"AIFC"}:
        return "audio/aiff"
    return None


def _ogg(head: bytes) -> str | None:
    """RFC 5334: the first page of each stream names its codec."""
    if not head.startswith(b"OggS\0"):
        return None
    start = head[:512]
    if b"\x80theora" in start or b"BBCD\0" in start:
        return "video/ogg"
    audio = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")
    return "audio/ogg" if any(mark in start for mark in audio) else "application/ogg"


def _ebml(head: bytes) -> str | None:
    """RFC 8794: the document's type is in the header, which is short."""
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return "video/webm" if b"\x42\x82\x84webm" in head[:256] else "video/x-matroska"


def _bitmap(head: bytes) -> str | None:
    if not head.startswith(b"BM") or len(head) < 18:
        return None
    offset, header = struct.unpack("<II", head[10:18])
    known = header in BITMAP_HEADERS and 14 + header <= offset < 1 << 24
    return "image/bmp" if known else None


def _icon(head: bytes) -> str | None:
    """A directory of 1 to 255 pictures, of which the first lies behind it."""
    if head[:4] not in {b"\0\0\x01\0", b"\0\0\x02\0"} or len(head) < 22:
        return None
    pictures, start = struct.unpack("<H", head[4:6])[0], struct.unpack("<I", head[18:22])[0]
    return "image/x-icon" if 1 <= pictures < 256 and start == 6 + 16 * pictures else None


def _packed(head: bytes) -> str | None:
    if head[:4] == b"BZh" + head[3:4] and head[3:4].isdigit() and head[4:10] == b"1AY&SY":
        return "application/x-bzip2"
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return "application/zip"
    if len(head) >= 8 and struct.unpack("<I", head[:4])[0] in SKIPPABLE:
        return "application/zstd"
    return "application/x-tar" if is_tar(head) else None


def is_tar(head: bytes) -> bool:
    """Whether a tar header stands here: its checksum is right (POSIX.1, ustar and older)."""
    header = head[:512]
    if len(header) < 512 or not header[0]:
        return False
    said = header[148:156].strip(b" \0")
    if not said or any(digit not in b"01234567" for digit in said):
        return False
    return int(said, 8) == sum(header[:148]) + 8 * 0x20 + sum(header[156:])


def _stream(head: bytes) -> str | None:
    """MPEG transport streams: a sync byte every 188 bytes."""
    if len(head) < 4 * TS_PACKET:
        return None
    in_step = all(head[at] == 0x47 for at in range(0, min(len(head), 8 * TS_PACKET), TS_PACKET))
    return "video/mp2t" if in_step else None


def _mpeg_audio(head: bytes) -> str | None:
    """Two frames in a row of MPEG audio without a tag, or of AAC in ADTS."""
    if len(head) >= 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        again = head[length : length + 2]
        return "audio/aac" if length >= 7 and again == head[:2] else None
    length = _frame_length(head)
    return "audio/mpeg" if length and _frame_length(head[length:]) else None


_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def _frame_length(head: bytes) -> int:
    """Bytes of the frame of MPEG audio, layer III, that begins here; 0 when none does."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return 0
    version, rate, frequency = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or rate in {0, 15} or frequency == 3:
        return 0
    hertz = (44_100, 48_000, 32_000)[frequency] >> {3: 0, 2: 1, 0: 2}[version]
    kilobits = (_RATES_1 if version == 3 else _RATES_2)[rate]
    return (144_000 if version == 3 else 72_000) * kilobits // hertz + (head[2] >> 1 & 1)
