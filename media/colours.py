"""Colours as every screen without a profile shows them: sRGB."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""The mode that a picture must have for a profile of this colour space (ICC.1, 7.2.6)."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image` (L, RGB, RGBA, CMYK or LAB) in sRGB: as RGBA where it has alpha, else as RGB.

    A profile that is damaged, or of other colours than the picture's, counts as none.
    """
    if image.mode == "RGBA":
        colours = to_srgb(image.convert("RGB"), profile)
        colours.putalpha(image.getchannel("A"))
        return colours
    converted = _converted(image, _read(profile))
    if converted is None and image.mode == "LAB":
        converted = _converted(image, LAB)
    return converted or image.convert("RGB")


def _read(profile: bytes | None) -> ImageCms.ImageCmsProfile | None:
    if not profile:
        return None
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError):
        return None


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile | None) -> Image.Image | None:
    mode = MODES.get(profile.profile.xcolor_space.strip()) if profile else None
    if profile is None or mode is None:
        return None
    if image.mode == "L" and mode == "RGB":
        image = image.convert("RGB")
    if image.mode != mode:
        return None
    try:
        return ImageCms.profileToProfile(
            image,
            profile,
            SRGB,
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
