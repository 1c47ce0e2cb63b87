"""ICC profiles made by hand: Pillow's own can only make sRGB, Lab and XYZ.

Layout: ICC.1:2022, 7 (header and tag table) and 10 (types). Colorants are adapted to D50.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping

D50 = (0.9642, 1.0, 0.8249)
P3_COLORANTS = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
ADOBE_COLORANTS = (
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
)
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
ADOBE_GAMMA = 563 / 256
INKS_IN_LAB = {
    (0, 0, 0, 0): (100, 0, 0),
    (1, 0, 0, 0): (53, 80, 67),
    (0, 1, 0, 0): (88, -79, 81),
    (0, 0, 1, 0): (30, 68, -112),
}
"""Inks that no press has: cyan prints red, magenta green, yellow blue. Who ignores the profile
shows other colours."""


def display_p3() -> bytes:
    """Primaries of Display P3 with the curve of sRGB."""
    curve = b"para" + struct.pack(">IHH", 0, 3, 0) + b"".join(map(_fixed, SRGB_CURVE))
    return _matrix_profile(P3_COLORANTS, curve)


def adobe_like() -> bytes:
    """Primaries of Adobe RGB (1998) and its gamma of 2.19921875."""
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(ADOBE_GAMMA * 256))
    return _matrix_profile(ADOBE_COLORANTS, curve)


def odd_inks() -> bytes:
    """A CMYK profile whose inks print other colours than their names say."""
    corners = b"".join(_lab(INKS_IN_LAB.get(inks, (0, 0, 0))) for inks in _all_inks())
    straight = bytes(range(256))
    identity = b"".join(_fixed(one) for one in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    table = b"mft1" + bytes([0, 0, 0, 0, 4, 3, 2, 0]) + identity + straight * 4 + corners
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table + straight * 3})


def _all_inks() -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=4))


def _lab(colour: tuple[int, int, int]) -> bytes:
    lightness, a, b = colour
    return bytes([round(lightness * 255 / 100), a + 128, b + 128])


def _matrix_profile(colorants: tuple[tuple[float, float, float], ...], curve: bytes) -> bytes:
    tags = {b"rXYZ": colorants[0], b"gXYZ": colorants[1], b"bXYZ": colorants[2]}
    written = {name: _xyz(colour) for name, colour in tags.items()}
    written |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _profile(b"mntr", b"RGB ", b"XYZ ", written)


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    described = {b"desc": _text("made by hand"), b"cprt": _text("none"), b"wtpt": _xyz(D50), **tags}
    table, body = b"", b""
    start = 128 + 4 + 12 * len(described)
    for name, content in described.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    whole = struct.pack(">I", len(described)) + table + body
    return _header(kind, space, pcs, 128 + len(whole)) + whole


def _header(kind: bytes, space: bytes, pcs: bytes, size: int) -> bytes:
    head = struct.pack(">I4sI", size, b"none", 0x04200000) + kind + space + pcs
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(map(_fixed, D50))
    return head.ljust(128, b"\0")


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _xyz(colour: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, colour))


def _text(words: str) -> bytes:
    content = words.encode("utf-16-be")
    return b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(content), 28) + content
