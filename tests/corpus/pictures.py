"""Pictures: of every format that thumbnails are made of, whole and damaged, and the odd ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tests.corpus.case import Case
from tests.corpus.profiles import adobe_like, display_p3, odd_inks

Make = Callable[[], bytes]
ORIENTATION = 0x0112
CORNERS = ("red", "lime", "blue", "yellow")
"""Of the picture seen upright: top left, top right, bottom left, bottom right."""
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""From upright to how a camera stores it that was held so."""
FORMATS = {
    "jpg": ("JPEG", {"quality": 90}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "webp": ("WEBP", {"quality": 90}),
    "avif": ("AVIF", {"quality": 80, "speed": 8}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "bmp": ("BMP", {}),
}
TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
}


def scene(size: tuple[int, int] = (240, 160)) -> Image.Image:
    """Slow and fast changes of colour, the same in every run."""
    up = Image.linear_gradient("L").resize(size)
    across = up.transpose(Image.Transpose.ROTATE_90).resize(size)
    image = Image.merge("RGB", (up, across, Image.radial_gradient("L").resize(size)))
    draw = ImageDraw.Draw(image)
    for step in range(0, size[0], 12):
        draw.line((step, 0, size[0] - step, size[1]), fill=(step % 256, 255 - step % 256, 90))
    return image


def corners(size: tuple[int, int] = (240, 160)) -> Image.Image:
    """Four corners of four colours."""
    image = Image.new("RGB", size)
    width, height = size[0] // 2, size[1] // 2
    for at, colour in enumerate(CORNERS):
        left, top = width * (at % 2), height * (at // 2)
        image.paste(colour, (left, top, left + width, top + height))
    return image


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """In Pillow's format `form`."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def plain(ending: str) -> bytes:
    """The scene in one format."""
    form, options = FORMATS[ending]
    return encoded(scene(), form, **options)


def flipped(content: bytes, seed: int, flips: int = 8) -> bytes:
    """`content` with that many bits turned, at places that `seed` alone decides."""
    damaged = bytearray(content)
    state = seed + 1
    for _ in range(flips):
        state = state * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
        place = state >> 16
        damaged[place % len(content)] ^= 1 << (state >> 60 & 7)
    return bytes(damaged)


def turned(orientation: int) -> bytes:
    """The four corners as a camera stores them that was held so."""
    image = corners()
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = image.transpose(TURNED_BACK[orientation]) if orientation in TURNED_BACK else image
    return encoded(stored, "JPEG", quality=95, subsampling=0, exif=exif)


def see_through(mode: str = "RGBA") -> bytes:
    """A red disc on nothing, where nothing is green: it must not show at the edge."""
    mask = Image.new("L", (400, 400))
    ImageDraw.Draw(mask).ellipse((100, 100, 300, 300), fill=255)
    image = Image.new("RGB", (400, 400), (0, 255, 0))
    image.paste((255, 0, 0), mask=mask)
    image.putalpha(mask)
    return encoded(image.convert(mode), "PNG")


def palette() -> bytes:
    """Sixteen colours, of which the first is nothing."""
    image = scene().quantize(16)
    return encoded(image, "PNG", transparency=0)


def chunk(name: bytes, content: bytes) -> bytes:
    """Of a PNG (RFC 2083, 3.2)."""
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(size: tuple[int, int], depth: int, colour_type: int, packed: bytes, *more: bytes) -> bytes:
    """A PNG of rows that are already filtered and compressed."""
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *more,
            chunk(b"IDAT", packed),
            chunk(b"IEND", b""),
        )
    )


def zeros(length: int) -> bytes:
    """A zlib stream (RFC 1950) of that many zero bytes, without packing them all."""
    packer = zlib.compressobj(9)
    block = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(length % 1_000_000)) + last.flush()
    check = (length % 65521) << 16 | 1
    return block + again * (length // 1_000_000 - 1) + rest + struct.pack(">I", check)


def bomb() -> bytes:
    """60,000 x 60,000 grey pixels: 3.6 GB in a file of 3.6 MB."""
    return png((60_000, 60_000), 8, 0, zeros(60_000 * 60_001))


def deep() -> bytes:
    """16 bits for each of red, green and blue: two ramps."""
    rows = b"".join(
        b"\0" + b"".join(struct.pack(">HHH", x * 655, y * 655, 32_768) for x in range(100))
        for y in range(100)
    )
    return png((100, 100), 16, 2, zlib.compress(rows))


def deep_grey() -> bytes:
    """A ramp of 16 bits, whose lower half is below one step of eight bits."""
    rows = b"".join(b"\0" + struct.pack(">256H", *range(0, 65_536, 256)) for _ in range(64))
    return png((256, 64), 16, 0, zlib.compress(rows))


def many_frames(count: int = 100_000) -> bytes:
    """A GIF (GIF89a, 17-26) of one pixel in `count` frames."""
    screen = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\xff\0\0\0\0\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return screen + frame * count + b";"


def animated(form: str) -> bytes:
    """Red, then green, then blue."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "lime", "blue")]
    return encoded(
        frames[0], form, save_all=True, append_images=frames[1:], duration=100, lossless=True
    )


def huge_webp() -> bytes:
    """The header of a lossless WebP of 16,383 x 16,383 and nothing else."""
    bits = 16_382 | 16_382 << 14
    stream = b"\x2f" + struct.pack("<I", bits) + bytes(15)
    body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _write(make: Make) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(make())

    return write


def _case(name: str, make: Make, thumbnail: str | None = None, *, ending: str = "") -> Case:
    ending = ending or name.rpartition(".")[2]
    return Case(name, _write(make), "image", TYPES[ending], thumbnail)


def _of(ending: str) -> list[Case]:
    """One format: whole, cut at two thirds, and with bits turned behind its header."""
    content = plain(ending)
    cut = content[: len(content) * 2 // 3]
    head = len(content) // 4
    turned_bits = content[:head] + flipped(content[head:], 7)
    return [
        _case(f"plain.{ending}", lambda: content),
        _case(f"truncated.{ending}", lambda: cut, "damaged_file"),
        _case(f"flipped.{ending}", lambda: turned_bits, FLIPPED.get(ending)),
    ]


FLIPPED = dict.fromkeys(("png", "gif", "webp"), "damaged_file")
"""What notices: checksums and strict decoders. The others show a picture with a fault in it."""


def _with(image: Callable[[], Image.Image], form: str, **options: Any) -> Make:
    return lambda: encoded(image(), form, **options)


def _patch(mode: str) -> Image.Image:
    return scene().convert(mode)


CASES: tuple[Case, ...] = (
    *(case for ending in FORMATS for case in _of(ending)),
    *(_case(f"orientation-{one}.jpg", lambda one=one: turned(one)) for one in range(1, 9)),
    _case("jpeg-named.png", lambda: plain("jpg"), ending="jpg"),
    _case("progressive.jpg", _with(scene, "JPEG", progressive=True)),
    _case("grey.jpg", _with(lambda: _patch("L"), "JPEG")),
    _case("cmyk.jpg", _with(lambda: _patch("CMYK"), "JPEG")),
    _case("cmyk-profile.jpg", _with(lambda: _patch("CMYK"), "JPEG", icc_profile=odd_inks())),
    _case("display-p3.png", _with(scene, "PNG", icc_profile=display_p3())),
    _case("adobe.jpg", _with(scene, "JPEG", icc_profile=adobe_like())),
    _case("broken-profile.png", _with(scene, "PNG", icc_profile=b"no profile at all" * 20)),
    _case("16-bit.png", deep),
    _case("16-bit-grey.png", deep_grey),
    _case("16-bit.tiff", _with(lambda: Image.new("I;16", (64, 48), 32_768), "TIFF")),
    _case("float.tiff", _with(lambda: _patch("F"), "TIFF")),
    _case("palette.png", palette),
    _case("one-bit.png", _with(lambda: _patch("1"), "PNG")),
    _case("alpha.png", see_through),
    _case("grey-alpha.png", lambda: see_through("LA")),
    _case("alpha.webp", _with(lambda: Image.new("RGBA", (64, 64), (9, 99, 199, 100)), "WEBP")),
    _case("one-pixel.png", _with(lambda: Image.new("RGB", (1, 1), "red"), "PNG")),
    _case("thread.png", _with(lambda: Image.new("RGB", (1, 30_000), "red"), "PNG")),
    _case("bomb.png", bomb, "too_many_pixels"),
    _case("huge.webp", huge_webp, "too_many_pixels"),
    _case("many-frames.gif", many_frames),
    _case("animated.gif", lambda: animated("GIF")),
    _case("animated.png", lambda: animated("PNG")),
    _case("animated.webp", lambda: animated("WEBP")),
)
