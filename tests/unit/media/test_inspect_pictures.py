from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms

from argosy.facts import ImageFacts, Position, PrivateFacts
from tests.unit.media.large_files import LargeFile, Run
from tests.unit.media.looking import look

WITH_EXIF = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"]
TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp",
    "AVIF": "image/avif", "TIFF": "image/tiff", "BMP": "image/bmp",
}  # fmt: skip


def saved(form: str, image: Image.Image | None = None, **options: Any) -> bytes:
    target = io.BytesIO()
    (image or Image.new("RGB", (64, 48), (200, 10, 10))).save(target, form, **options)
    return target.getvalue()


def picture(content: bytes | LargeFile, *, private: bool = False) -> ImageFacts:
    facts = look(content, private=private)
    assert facts.problem is None
    assert facts.image is not None
    return facts.image


def exif() -> bytes:
    tags = Image.Exif()
    tags.update({0x010F: "Maker", 0x0110: "M-1\0", 0x0112: 6, 0x0131: "Soft 1.0"})
    tags.update({0x013B: "An Artist", 0x8298: "(c) somebody"})
    tags.get_ifd(0x8769).update({
        0x829A: 1 / 125, 0x829D: 2.8, 0x8827: 400, 0x920A: 35.0, 0xA434: "35mm f/2",
        0x9003: "2026:11:23 09:10:11", 0x9011: "+01:00",
        0xA430: "An Owner", 0xA431: "SN 1", 0xA435: "SN 2",
    })  # fmt: skip
    tags.get_ifd(0x8825).update({
        1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0), 5: b"\1", 6: 12.5,
    })  # fmt: skip
    return tags.tobytes()


@pytest.mark.parametrize("form", sorted(TYPES))
def test_size_mode_and_frames(form: str) -> None:
    facts = look(saved(form), name="picture", declared_type=TYPES[form])
    assert (facts.kind, facts.content_type, facts.declared_type) == ("image", TYPES[form], None)
    assert facts.image is not None
    assert (facts.image.width, facts.image.height, facts.image.frames) == (64, 48, 1)
    assert facts.image.mode == ("P" if form == "GIF" else "RGB")
    assert facts.image.private is None


@pytest.mark.parametrize("form", WITH_EXIF)
def test_what_the_camera_says(form: str) -> None:
    found = picture(saved(form, exif=exif()))
    assert (found.width, found.height, found.orientation) == (64, 48, 6)
    assert found.exif is not None
    assert found.exif.model_dump() == pytest.approx({
        "make": "Maker", "model": "M-1", "lens": "35mm f/2", "software": "Soft 1.0",
        "taken_at": "2026-11-23T09:10:11+01:00", "exposure": 0.008, "aperture": 2.8,
        "iso": 400, "focal_length": 35.0,
    })  # fmt: skip


@pytest.mark.parametrize("form", WITH_EXIF)
def test_what_leads_to_a_person_is_left_out_unless_asked_for(form: str) -> None:
    content = saved(form, exif=exif())
    public = look(content).model_dump_json()
    for secret in ("An Artist", "An Owner", "SN 1", "SN 2", "somebody", "33.8", "151.2", "12.5"):
        assert secret not in public
    found = picture(content, private=True).private
    assert found == PrivateFacts(
        position=Position(latitude=-33.86, longitude=151.2, altitude=-12.5),
        camera_serial="SN 1", lens_serial="SN 2", owner="An Owner", artist="An Artist",
        copyright="(c) somebody",
    )  # fmt: skip


@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_one_to_eight(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    found = picture(saved("JPEG", exif=tags))
    assert found.orientation == (orientation if 1 <= orientation <= 8 else 1)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_colour_profiles_name(form: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert picture(saved(form, icc_profile=profile)).colour_profile == "sRGB built-in"
    assert picture(saved(form, icc_profile=b"no profile")).colour_profile is None


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_frames_are_counted(form: str) -> None:
    frames = [Image.new("RGB", (20, 10), (shade, 0, 0)) for shade in range(0, 250, 50)]
    content = saved(form, frames[0], save_all=True, append_images=frames[1:])
    found = picture(content)
    assert (found.frames, found.more_frames) == (5, False)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("lossless", [False, True])
def test_every_form_of_webp(alpha: bool, lossless: bool) -> None:
    mode = "RGBA" if alpha else "RGB"
    image = Image.new(mode, (333, 77), (1, 2, 3, 4) if alpha else (1, 2, 3))
    found = picture(saved("WEBP", image, lossless=lossless))
    assert (found.width, found.height, found.mode) == (333, 77, mode)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_a_png_of_3600_megapixels_is_only_described() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = picture(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    assert (found.width, found.height) == (60_000, 60_000)


def test_a_gif_of_a_hundred_thousand_frames_is_not_counted_through() -> None:
    frame = b"\x21\xf9\x04\0\x01\0\0\0\x2c" + bytes(4) + b"\x01\0\x01\0\0\x02\x02\x44\x01\0"
    screen = b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(6)
    few = picture(screen + frame * 1000 + b";")
    assert (few.frames, few.more_frames) == (1000, False)
    file = LargeFile(screen, Run(frame, len(frame) * 1_000_000), b";")
    many = picture(file)
    assert many.more_frames
    assert 50_000 < many.frames < 1_000_000
    assert file.fetched < 6_000_000


def test_a_tiff_that_goes_in_a_circle_has_as_many_frames_as_it_has() -> None:
    content = bytearray(saved("TIFF"))
    at = struct.unpack("<I", content[4:8])[0]
    entries = struct.unpack("<H", content[at : at + 2])[0]
    end = at + 2 + 12 * entries
    content[end : end + 4] = struct.pack("<I", at)
    assert picture(bytes(content)).frames == 1


@pytest.mark.parametrize("form", sorted(set(TYPES) - {"AVIF"}))
def test_a_large_pictures_pixels_are_not_fetched(form: str) -> None:
    file = LargeFile(saved(form, exif=exif()) if form in WITH_EXIF else saved(form),
                     Run(b"\0", 500_000_000))  # fmt: skip
    assert picture(file).width == 64
    assert file.fetched < (6_000_000 if form == "GIF" else 1_000_000)


def test_an_avif_is_read_from_its_head() -> None:
    content = saved("AVIF", exif=exif())
    file = LargeFile(content, Run(b"\0", 40_000_000))
    found = picture(file)
    assert (found.width, found.orientation) == (64, 6)
    assert file.fetched < 3_000_000
    larger = look(LargeFile(content, Run(b"\0", 400_000_000)))
    assert (larger.kind, larger.image) == ("image", None)
    assert larger.problem is not None


@pytest.mark.parametrize("form", sorted(TYPES))
def test_a_picture_without_a_header_is_a_problem_not_an_error(form: str) -> None:
    facts = look(saved(form)[:9])
    assert facts.image is None
    assert facts.problem is not None or facts.kind == "other"


def test_a_header_of_millions_of_parts_is_not_followed() -> None:
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 5, 8, 2, 0, 0, 0))
    for content in [
        LargeFile(start, Run(chunk(b"prVt", b""), 12 * 3_000_000)),
        LargeFile(b"\xff\xd8", Run(b"\xff\xe5\0\2", 4 * 9_000_000)),
    ]:
        began = time.process_time()
        facts = look(content)
        assert (facts.kind, facts.image) == ("image", None)
        assert facts.problem is not None
        assert time.process_time() - began < 10
