"""Content types whose files are compressed by themselves: doing it again is idle."""

from __future__ import annotations


def _types(kind: str, names: str) -> frozenset[str]:
    return frozenset(f"{kind}/{name}" for name in names.split())


_COMPRESSED = _types(
    "application",
    "zip gzip x-gzip zstd x-zstd x-bzip x-bzip2 x-xz x-lzma x-lz4 x-lzip x-brotli x-compress "
    "x-snappy-framed x-7z-compressed x-rar-compressed x-rar vnd.rar x-zip-compressed "
    "java-archive vnd.android.package-archive vnd.ms-cab-compressed x-apple-diskimage x-rpm "
    "vnd.debian.binary-package vnd.apache.parquet pdf ogg mp4 font-woff",
) | _types("font", "woff woff2")
_COMPRESSED_KINDS = ("image/", "audio/", "video/")
_ZIPPED_KINDS = (
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
)
_ZIPPED_SUFFIXES = ("+zip", "+gzip", "+zstd")

_PLAIN = (
    _types(
        "image",
        "bmp x-bmp x-ms-bmp tiff svg+xml x-tga x-xcf vnd.adobe.photoshop x-icon x-exr fits "
        "vnd.microsoft.icon x-portable-anymap x-portable-bitmap x-portable-graymap "
        "x-portable-pixmap",
    )
    | _types("audio", "wav x-wav wave vnd.wave aiff x-aiff basic l16 l24 midi")
    | _types("video", "x-raw x-yuv4mpeg")
)
"""Pictures and sound that may lie there as they are."""


def is_compressed(content_type: str) -> bool:
    """Whether files of a type, in lower case and without parameters, are so as a rule.

    False says nothing: a TIFF may be either, and of most types nobody knows.
    """
    if content_type in _PLAIN:
        return False
    return (
        content_type in _COMPRESSED
        or content_type.startswith((*_COMPRESSED_KINDS, *_ZIPPED_KINDS))
        or content_type.endswith(_ZIPPED_SUFFIXES)
    )
