"""What is seen: the way up, the colours, what shines through."""

from __future__ import annotations

import io
import itertools

import pytest
from PIL import Image

from media.thumbnail import ThumbnailOptions, thumbnails
from tests.corpus import pictures
from tests.corpus.pictures import encoded
from tests.corpus.profiles import adobe_like, display_p3, odd_inks

Colour = tuple[float, float, float]
Matrix = tuple[Colour, Colour, Colour]

# Linear light to XYZ, all for D65: IEC 61966-2-1, SMPTE EG 432-1, Adobe RGB (1998) 4.3.5.3.
SRGB: Matrix = (
    (0.4123908, 0.3575843, 0.1804808),
    (0.2126390, 0.7151687, 0.0721923),
    (0.0193308, 0.1191948, 0.9505322),
)
DISPLAY_P3: Matrix = (
    (0.4865709, 0.2656677, 0.1982173),
    (0.2289746, 0.6917385, 0.0792869),
    (0.0000000, 0.0451134, 1.0439444),
)
ADOBE: Matrix = (
    (0.57667, 0.18556, 0.18823),
    (0.29734, 0.62736, 0.07529),
    (0.02703, 0.07069, 0.99134),
)
WHITE = (0.95047, 1.0, 1.08883)
MOST_DELTA_E = {"PNG": 1.0, "TIFF": 1.0, "WEBP": 1.0, "JPEG": 2.5, "AVIF": 2.5}
"""CIE76, of any one colour: what rounding to eight bits is worth, and what is lost before it in
formats that lose some."""


def shown(content: bytes, edge: int = 512, form: str = "png", quality: int = 100) -> Image.Image:
    options = ThumbnailOptions((edge,), form, quality)
    (one,) = thumbnails(io.BytesIO(content), len(content), options, pixels=90_000_000)
    image = Image.open(io.BytesIO(one.data))
    image.load()
    return image


def near(found: object, expected: str | tuple[int, ...], most: int = 12) -> bool:
    if isinstance(expected, str):
        expected = Image.new("RGB", (1, 1), expected).getpixel((0, 0))
    return all(abs(one - other) <= most for one, other in zip(found, expected, strict=True))


def corner_colours(image: Image.Image) -> list[object]:
    across, down = image.width // 4, image.height // 4
    places = itertools.product((down, 3 * down), (across, 3 * across))
    return [image.getpixel((x, y)) for y, x in places]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("edge", [60, 512])
def test_every_orientation_is_upright(orientation: int, edge: int) -> None:
    image = shown(pictures.turned(orientation), edge)
    assert image.size == ((60, 40) if edge == 60 else (240, 160))
    colours = corner_colours(image)
    assert all(near(*pair) for pair in zip(colours, pictures.CORNERS, strict=True)), colours


@pytest.mark.parametrize("form", ["AVIF", "PNG", "TIFF", "WEBP"])
def test_orientation_of_other_formats(form: str) -> None:
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6
    stored = pictures.corners().transpose(pictures.TURNED_BACK[6])
    image = shown(encoded(stored, form, exif=exif))
    assert image.size == (240, 160)
    colours = corner_colours(image)
    assert all(near(*pair) for pair in zip(colours, pictures.CORNERS, strict=True)), colours


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_orientation_that_is_none_turns_nothing(value: int) -> None:
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = value
    assert shown(encoded(pictures.corners(), "JPEG", exif=exif)).size == (240, 160)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_turns_nothing() -> None:
    content = pictures.turned(6)
    at = content.index(b"Exif\0\0") + 6
    damaged = content[: at + 4] + b"\xff\xff\xff\x7f" + content[at + 8 :]
    assert shown(damaged).size == (160, 240)


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def curved(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def times(matrix: Matrix, colour: Colour) -> Colour:
    x, y, z = (sum(a * b for a, b in zip(row, colour, strict=True)) for row in matrix)
    return x, y, z


def inverse(m: Matrix) -> Matrix:
    (a, b, c), (d, e, f), (g, h, i) = m
    whole = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / whole, (c * h - b * i) / whole, (b * f - c * e) / whole),
        ((f * g - d * i) / whole, (a * i - c * g) / whole, (c * d - a * f) / whole),
        ((d * h - e * g) / whole, (b * g - a * h) / whole, (a * e - b * d) / whole),
    )


def lab(srgb: tuple[int, ...]) -> Colour:
    """CIE 1976 L*a*b* of a colour in sRGB."""
    xyz = times(SRGB, tuple(linear(one / 255) for one in srgb))
    x, y, z = (
        value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in (one / white for one, white in zip(xyz, WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def delta_e(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """CIE76: the distance in L*a*b*."""
    pairs = zip(lab(one), lab(other), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


def in_p3(srgb: tuple[int, ...]) -> tuple[int, ...]:
    light = times(inverse(DISPLAY_P3), times(SRGB, tuple(linear(one / 255) for one in srgb)))
    return tuple(round(255 * curved(max(0.0, one))) for one in light)


def in_adobe(srgb: tuple[int, ...]) -> tuple[int, ...]:
    light = times(inverse(ADOBE), times(SRGB, tuple(linear(one / 255) for one in srgb)))
    return tuple(round(255 * max(0.0, one) ** (256 / 563)) for one in light)


SPACES = {"adobe": (in_adobe, adobe_like), "display-p3": (in_p3, display_p3)}


@pytest.mark.parametrize("form", sorted(MOST_DELTA_E))
@pytest.mark.parametrize("space", sorted(SPACES))
def test_wide_gamut_colours_are_the_same_in_srgb(space: str, form: str) -> None:
    """27 colours that sRGB has, as a wider space writes them, are shown as sRGB has them."""
    into, profile = SPACES[space]
    colours = list(itertools.product((40, 128, 215), repeat=3))
    image = Image.new("RGB", (len(colours) * 16, 16))
    for at, colour in enumerate(colours):
        image.paste(into(colour), (at * 16, 0, at * 16 + 16, 16))
    how = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.get(
        form, {"quality": 100, "subsampling": "4:4:4"}
    )
    content = encoded(image, form, icc_profile=profile(), **how)
    seen = shown(content)
    found = [delta_e(seen.getpixel((at * 16 + 8, 8)), one) for at, one in enumerate(colours)]
    ignored = [delta_e(into(one), one) for one in colours]
    print(f"{space} {form}: CIE76 {max(found):.2f} at most, {sum(found) / 27:.2f} on average")
    assert max(ignored) > 10, "the test would not notice a profile that is ignored"
    assert max(found) <= MOST_DELTA_E[form], found


def test_a_colour_that_srgb_has_not_is_its_nearest() -> None:
    seen = shown(encoded(Image.new("RGB", (9, 9), (255, 0, 0)), "PNG", icc_profile=display_p3()))
    assert near(seen.getpixel((4, 4)), (255, 0, 0), 2)


@pytest.mark.parametrize("profile", [b"", b"no profile", display_p3()[:200], odd_inks()])
def test_a_profile_that_is_damaged_or_of_other_colours_counts_as_none(profile: bytes) -> None:
    content = encoded(Image.new("RGB", (9, 9), (200, 100, 50)), "PNG", icc_profile=profile)
    assert shown(content).getpixel((4, 4)) == (200, 100, 50)


def test_cmyk() -> None:
    """Naively without a profile; by its profile where it has one."""
    cyan = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    assert near(shown(encoded(cyan, "JPEG")).getpixel((9, 9)), (0, 255, 255))
    printed = shown(encoded(cyan, "JPEG", icc_profile=odd_inks())).getpixel((9, 9))
    assert near(printed, (255, 0, 0))


def test_grey_with_a_profile_of_colours() -> None:
    content = encoded(Image.new("L", (9, 9), 100), "JPEG", icc_profile=adobe_like())
    assert near(shown(content).getpixel((4, 4)), (99, 99, 99), 6)


@pytest.mark.parametrize("edge", [40, 100, 400])
def test_what_is_nothing_does_not_bleed(edge: int) -> None:
    """A red disc on transparent green has a red edge at every size."""
    image = shown(pictures.see_through(), edge)
    assert image.mode == "RGBA"
    assert image.getpixel((0, 0))[3] == 0
    assert image.getpixel((edge // 2, edge // 2)) == (255, 0, 0, 255)
    edges = 0
    for red, green, _, alpha in image.get_flattened_data():
        if 20 < alpha < 235:
            edges += 1
            assert green <= 12, (red, green, alpha)
    assert edges > 0 or edge == 400


@pytest.mark.parametrize("form", ["avif", "png", "webp"])
def test_transparency_is_kept(form: str) -> None:
    half = encoded(Image.new("RGBA", (64, 64), (9, 99, 199, 100)), "PNG")
    red, green, blue, alpha = shown(half, 32, form).getpixel((16, 16))
    assert abs(alpha - 100) <= 1
    assert near((red, green, blue), (9, 99, 199), 4)


def test_jpeg_shows_white_where_nothing_is() -> None:
    image = shown(pictures.see_through(), 100, "jpeg")
    assert near(image.getpixel((2, 2)), "white", 3)
    assert near(image.getpixel((50, 50)), "red", 6)


def test_a_transparent_palette() -> None:
    image = Image.new("P", (64, 64), 1)
    image.putpalette([0, 255, 0, 200, 0, 0])
    image.paste(0, (0, 0, 32, 64))
    seen = shown(encoded(image, "PNG", transparency=0), 32)
    assert seen.getpixel((4, 16))[3] == 0
    assert seen.getpixel((28, 16)) == (200, 0, 0, 255)


@pytest.mark.parametrize("edge", [64, 512])
def test_sixteen_bits(edge: int) -> None:
    """Each grey by its upper eight bits, not cut off at the first 255 of 65,535."""
    image = shown(pictures.deep_grey(), edge)
    for share in (0.1, 0.5, 0.9):
        grey = image.getpixel((int(image.width * share), 4))
        assert near(grey, (round(255 * share),) * 3, 4)
    red, green, blue = shown(pictures.deep()).getpixel((50, 20))
    assert near((red, green, blue), (127, 51, 128), 2)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_is_its_first_frame(form: str) -> None:
    assert near(shown(pictures.animated(form)).getpixel((5, 5))[:3], "red", 3)


@pytest.mark.parametrize("mode", ["1", "F", "I", "I;16", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("edge", [50, 512])
def test_every_mode_is_the_same_picture(mode: str, edge: int) -> None:
    """White above, black below, as every mode can write it."""
    image = Image.new("L", (200, 100), 0)
    image.paste(255, (0, 0, 200, 50))
    stored = image.convert("F").point(lambda v: v * 257).convert(mode) if mode == "I" else (
        Image.eval(image.convert("I"), lambda v: v * 257).convert("I;16")
        if mode == "I;16"
        else image.convert(mode)
    )  # fmt: skip
    seen = shown(encoded(stored, "TIFF" if mode != "P" else "GIF"), edge).convert("RGB")
    assert near(seen.getpixel((10, 5)), "white", 3)
    assert near(seen.getpixel((10, seen.height - 5)), "black", 3)


def test_a_thumbnail_is_like_the_best_there_is() -> None:
    """Drafts, means and Lanczos come within two steps of a slow and plain reduction."""
    scene = pictures.scene((1200, 900))
    for content in (encoded(scene, "PNG"), encoded(scene, "JPEG", quality=100, subsampling=0)):
        seen = shown(content, 120)
        best = scene.resize((120, 90), Image.Resampling.LANCZOS)
        differences = [
            abs(a - b)
            for one, other in zip(seen.get_flattened_data(), best.get_flattened_data(), strict=True)
            for a, b in zip(one, other, strict=True)
        ]
        assert sum(differences) / len(differences) < 2
