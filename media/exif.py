"""EXIF as typed fields (CIPA DC-008, Exif 3.0: the numbers are its tags)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from PIL import Image

from argosy.facts import ExifFacts, Position, PrivateFacts
from media.words import amount, count, word

ORIENTATION, EXIF_FOLDER, GPS_FOLDER = 0x0112, 0x8769, 0x8825
MOMENT = re.compile(r"(\d{4}):(\d\d):(\d\d)[ T](\d\d):(\d\d):(\d\d)")
ZONE = re.compile(r"[+-]\d\d:\d\d")

Tags = Mapping[int, Any]


def exif_of(exif: Image.Exif) -> ExifFacts | None:
    """What the camera says of itself and of the picture; None when it says nothing."""
    first, more = dict(exif), exif.get_ifd(EXIF_FOLDER)
    facts = ExifFacts(
        make=word(first.get(0x010F)),
        model=word(first.get(0x0110)),
        lens=word(more.get(0xA434)),
        software=word(first.get(0x0131)),
        taken_at=_moment(more),
        exposure=amount(more.get(0x829A)),
        aperture=amount(more.get(0x829D)),
        iso=count(_first(more.get(0x8827))),
        focal_length=amount(more.get(0x920A)),
    )
    return facts if facts != ExifFacts() else None


def private_of(exif: Image.Exif) -> PrivateFacts | None:
    """Where, whose, and with which camera of all; None when nothing is said."""
    first, more = dict(exif), exif.get_ifd(EXIF_FOLDER)
    facts = PrivateFacts(
        position=_position(exif.get_ifd(GPS_FOLDER)),
        camera_serial=word(more.get(0xA431)),
        lens_serial=word(more.get(0xA435)),
        owner=word(more.get(0xA430)),
        artist=word(first.get(0x013B)),
        copyright=word(first.get(0x8298)),
    )
    return facts if facts != PrivateFacts() else None


def orientation_of(exif: Image.Exif) -> int:
    """How the picture is to be turned, 1 to 8; 1 where nothing or nonsense is said."""
    said = exif.get(ORIENTATION)
    return said if isinstance(said, int) and 1 <= said <= 8 else 1


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value else value


def _moment(tags: Tags) -> str | None:
    """When the picture was taken, with the zone if the camera knew it."""
    said = MOMENT.match(word(tags.get(0x9003)) or "")
    if said is None:
        return None
    year, month, day, hour, minute, second = said.groups()
    zone = word(tags.get(0x9011)) or ""
    moment = f"{year}-{month}-{day}T{hour}:{minute}:{second}"
    return moment + (zone if ZONE.fullmatch(zone) else "")


def _position(tags: Tags) -> Position | None:
    """Tags 1 to 6 of the GPS folder: letters of the hemisphere, degrees, minutes, seconds."""
    latitude = _degrees(tags.get(2), below=tags.get(1) == "S", limit=90)
    longitude = _degrees(tags.get(4), below=tags.get(3) == "W", limit=180)
    if latitude is None or longitude is None:
        return None
    height = amount(tags.get(6))
    sunk = tags.get(5) in {1, b"\x01"}
    altitude = -height if height is not None and sunk else height
    return Position(latitude=latitude, longitude=longitude, altitude=altitude)


def _degrees(value: Any, *, below: bool, limit: int) -> float | None:
    parts = [amount(part) for part in value] if isinstance(value, tuple) else []
    known = [part for part in parts if part is not None]
    if len(known) != 3 or len(parts) != 3:
        return None
    degrees = round(known[0] + known[1] / 60 + known[2] / 3600, 7)
    if degrees > limit:
        return None
    return -degrees if below else degrees
