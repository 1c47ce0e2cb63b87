"""Every file of the corpus gives its thumbnails or its one refusal."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
from PIL import Image

from argosy.errors import DamagedFile, MediaError, TooManyPixels, UnsupportedType
from media.source import SourceFile
from media.thumbnail import Format, Thumbnail, ThumbnailOptions, thumbnails
from media.workshop import Limits, Workshop
from tests.corpus import others, pictures
from tests.corpus.case import Case
from tests.corpus.documents import pdf
from tests.corpus.pictures import encoded, plain, scene
from tests.unit.media.memory_source import MemorySource

CASES = sorted((*pictures.CASES, *others.CASES), key=lambda case: case.name)
SIZES = (128, 512)


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    with Workshop(Limits()) as made:
        yield made


def make(content: bytes, *sizes: int, **options: object) -> list[Thumbnail]:
    chosen = ThumbnailOptions(sizes or SIZES, **options)
    return thumbnails(io.BytesIO(content), len(content), chosen, pixels=90_000_000)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_corpus(workshop: Workshop, case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.name
    case.make(path)
    source = MemorySource(path.read_bytes())
    if case.thumbnail:
        with pytest.raises(MediaError) as caught:
            workshop.thumbnails(source, ThumbnailOptions(SIZES))
        assert (caught.value.code, bool(caught.value.message)) == (case.thumbnail, True)
        return
    for one in workshop.thumbnails(source, ThumbnailOptions(SIZES)):
        with Image.open(io.BytesIO(one.data), formats=["WEBP"]) as image:
            image.load()
            assert image.size == (one.width, one.height)
            assert max(image.size) <= one.edge


@pytest.mark.parametrize("ending", sorted(pictures.FORMATS))
def test_the_bytes_are_the_same_every_time(workshop: Workshop, ending: str) -> None:
    source = MemorySource(plain(ending))
    for form in ("webp", "jpeg", "png", "avif"):
        options = ThumbnailOptions(SIZES, form)
        assert workshop.thumbnails(source, options) == make(source.content, format=form)


@pytest.mark.parametrize("form", ["avif", "jpeg", "png", "webp"])
def test_formats(form: Format) -> None:
    large, small = make(encoded(scene((900, 600)), "PNG"), format=form)
    assert (large.edge, large.width, large.height) == (512, 512, 341)
    assert (small.edge, small.width, small.height) == (128, 128, 85)
    for one in (large, small):
        assert one.content_type == f"image/{form}"
        with Image.open(io.BytesIO(one.data)) as image:
            assert image.format.lower() == form
            assert image.size == (one.width, one.height)


def test_quality_counts() -> None:
    content = encoded(scene((900, 600)), "PNG")
    for form in ("avif", "jpeg", "webp"):
        (poor,) = make(content, 512, format=form, quality=10)
        (good,) = make(content, 512, format=form, quality=90)
        assert len(poor.data) * 2 < len(good.data)


@pytest.mark.parametrize(
    ("size", "edge", "expected"),
    [
        ((100, 80), 512, (100, 80)),
        ((1, 1), 512, (1, 1)),
        ((1, 30_000), 512, (1, 512)),
        ((30_000, 1), 128, (128, 1)),
        ((1000, 500), 1, (1, 1)),
        ((513, 512), 512, (512, 511)),
        ((40, 20_000), 20_000, (33, 16_383)),
    ],
)
def test_never_enlarged_and_never_nothing(
    size: tuple[int, int], edge: int, expected: tuple[int, int]
) -> None:
    for form in ("JPEG", "PNG"):
        (one,) = make(encoded(Image.new("RGB", size, "red"), form), edge)
        assert (one.width, one.height) == expected


def test_every_size_is_that_of_the_original() -> None:
    """Not of the thumbnail before it, whose rounding would add up."""
    for one in make(encoded(scene((1023, 769)), "JPEG"), 700, 333, 64, 7):
        assert one.height == round(769 * one.edge / 1023)


def test_no_metadata_is_left() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret"
    extra = {"exif": exif, "icc_profile": pictures.display_p3(), "dpi": (300, 300)}
    content = encoded(scene(), "JPEG", comment=b"a secret", **extra)
    for form in ("avif", "jpeg", "png", "webp"):
        (one,) = make(content, 128, format=form)
        assert b"secret" not in one.data
        with Image.open(io.BytesIO(one.data)) as image:
            assert not image.getexif()
            assert not image.info.keys() & {"icc_profile", "exif", "comment", "dpi", "xmp"}


@pytest.mark.parametrize("ending", ["bmp", "gif", "jpg", "png"])
def test_what_is_there_of_a_truncated_file_is_shown_if_wanted(ending: str) -> None:
    content = plain(ending)
    cut = content[: len(content) // 2]
    with pytest.raises(DamagedFile):
        make(cut)
    assert make(cut, allow_truncated=True)
    with pytest.raises(DamagedFile):
        make(cut)


@pytest.mark.parametrize("ending", sorted(pictures.FORMATS))
def test_pixels_are_counted_before_any_is_decoded(ending: str) -> None:
    content = plain(ending)
    options = ThumbnailOptions((64,))
    whole = thumbnails(io.BytesIO(content), len(content), options, pixels=240 * 160)
    assert whole
    with pytest.raises(TooManyPixels, match="240 x 160"):
        thumbnails(io.BytesIO(content), len(content), options, pixels=240 * 160 - 1)


def test_a_large_video_is_not_decoded() -> None:
    content = video(Image.new("RGB", (640, 480)))
    with pytest.raises(TooManyPixels, match="640 x 480"):
        thumbnails(io.BytesIO(content), len(content), ThumbnailOptions((64,)), pixels=640 * 479)


def video(
    *pictures_shown: Image.Image, rotation: int = 0, colours: str = "ITU601", key: int = 10
) -> bytes:
    """One frame of each picture, a key frame in every `key`."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        options = {"crf": "1", "g": str(key), "sc_threshold": "0"}
        track = container.add_stream("libx264", rate=10, options=options)
        track.width, track.height, track.pix_fmt = *pictures_shown[0].size, "yuv444p"
        if colours == "ITU709":
            context = track.codec_context
            context.colorspace = context.color_primaries = context.color_trc = 1
        if rotation:
            track.set_display_rotation(rotation)
        for number, picture in enumerate(pictures_shown):
            frame = av.VideoFrame.from_image(picture)
            frame = frame.reformat(format="yuv444p", dst_colorspace=colours)
            frame.pts = number
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("colours", ["ITU601", "ITU709"])
def test_colours_of_a_video(colours: str) -> None:
    """Those of HD are coded otherwise than those of SD (ITU-R BT.709 and BT.601)."""
    (one,) = make(video(pictures.corners(), colours=colours), 240, format="png")
    with Image.open(io.BytesIO(one.data)) as image:
        found = [image.getpixel(place) for place in ((60, 40), (180, 40), (60, 120), (180, 120))]
    expected = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0))
    for colour, wanted in zip(found, expected, strict=True):
        assert max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) < 12, found


def test_a_video_is_shown_from_its_first_tenth_on() -> None:
    """By the key frame before it; nothing is fetched of what comes after."""
    noise = [Image.effect_noise((160, 120), 90).convert("RGB") for _ in range(4)]
    black, red = Image.new("RGB", (160, 120)), Image.new("RGB", (160, 120), "red")
    content = video(*[black] * 10, *[red] * 30, *noise * 20)
    source = MemorySource(content)
    file = io.BufferedReader(SourceFile(source))
    (one,) = thumbnails(file, len(content), ThumbnailOptions((64,)), pixels=10**6)
    with Image.open(io.BytesIO(one.data)) as image:
        assert image.convert("RGB").getpixel((30, 30))[0] > 240
    assert source.fetched < len(content) / 4


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_video_is_turned(rotation: int) -> None:
    """The track's matrix turns what is shown anticlockwise: so the corners go round."""
    (one,) = make(video(pictures.corners(), rotation=rotation), 240, format="png")
    with Image.open(io.BytesIO(one.data)) as image:
        expected = pictures.corners().rotate(rotation, expand=True)
        assert image.size == expected.size
        for at in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
            place = int(image.width * at[0]), int(image.height * at[1])
            pairs = zip(image.getpixel(place), expected.getpixel(place), strict=True)
            assert max(abs(one - other) for one, other in pairs) < 25


def test_a_video_that_refers_to_another_file_is_refused() -> None:
    """An alias of another file in place of the media (QuickTime, 'alis' without flag 1)."""
    content = bytearray(video(scene()))
    at = content.index(b"url \x00\x00\x00\x01")
    content[at : at + 8] = b"alis\x00\x00\x00\x00"
    made = make(bytes(content))
    assert made == make(video(scene()))  # What lies in the file is shown, whatever it refers to.


def test_a_page_is_white_where_nothing_is() -> None:
    (one,) = make(pdf(2), 300, format="png")
    assert (one.width, one.height) == (200, 300)
    with Image.open(io.BytesIO(one.data)) as image:
        assert image.getpixel((5, 5)) == (255, 255, 255)
        assert image.getpixel((100, 200)) == (255, 0, 0)


@pytest.mark.parametrize("points", [b"1000000 1000000", b"1 1000000", b"14400 2"])
def test_an_enormous_page_gives_a_small_picture(points: bytes) -> None:
    content = pdf(1).replace(b"200 300", points)
    assert points in content
    (one,) = make(content, 300)
    assert max(one.width, one.height) == 300


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8",
        b"BMW is a car",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\xff\xfea\0b\0",
    ],
    ids=["empty", "two bytes", "text", "svg", "heic", "utf-16"],
)
def test_no_thumbnail_is_made_of(content: bytes) -> None:
    with pytest.raises(UnsupportedType):
        make(content)
