"""The XML documents of the S3 protocol that Argosy writes and reads."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from argosy.errors import InvalidRequest, StorageUnavailable
from argosy.storage.checksum import plain_etag

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True)
class StoredPart:
    """A part that Storage has: its number, from 1, and its ETag (the MD5 of its bytes)."""

    number: int
    etag: str


@dataclass(frozen=True)
class PendingUpload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    upload_id: str
    initiated: datetime | None


@dataclass(frozen=True)
class UploadsPage:
    """One page of pending uploads, and the markers of the next if there is one."""

    uploads: list[PendingUpload]
    next_markers: dict[str, str] | None


def completion(parts: Sequence[StoredPart]) -> bytes:
    """The body of CompleteMultipartUpload.

    Raises InvalidRequest unless the parts run 1, 2, 3, … : Storage builds an object
    from whatever it is told, in the order it is told.
    """
    numbers = [part.number for part in parts]
    if not parts or numbers != list(range(1, len(parts) + 1)):
        raise InvalidRequest("the parts must be numbered 1, 2, 3, … without a gap, and in order")
    root = ET.Element("CompleteMultipartUpload", xmlns=_NAMESPACE)
    for part in parts:
        entry = ET.SubElement(root, "Part")
        ET.SubElement(entry, "PartNumber").text = str(part.number)
        ET.SubElement(entry, "ETag").text = plain_etag(part.etag)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def parse(what: str, body: bytes) -> ET.Element:
    """The root of an answer. Raises StorageUnavailable when it is no XML."""
    try:
        return ET.fromstring(body)  # noqa: S314 - expat bounds entities; the body is bounded
    except ET.ParseError as error:
        raise StorageUnavailable(f"{what}: the answer is not XML; try again later") from error


def text_of(what: str, root: ET.Element, name: str) -> str:
    """The text of one element. Raises StorageUnavailable when it is missing."""
    if text := root.findtext(f"{{*}}{name}"):
        return text
    raise StorageUnavailable(f"{what}: the answer has no {name}; try again later")


def uploads_page(what: str, body: bytes) -> UploadsPage:
    """A page of ListMultipartUploads."""
    root = parse(what, body)
    uploads = [_pending(what, entry) for entry in root.iterfind("{*}Upload")]
    if root.findtext("{*}IsTruncated") != "true":
        return UploadsPage(uploads, None)
    markers = {
        "key-marker": text_of(what, root, "NextKeyMarker"),
        "upload-id-marker": text_of(what, root, "NextUploadIdMarker"),
    }
    return UploadsPage(uploads, markers)


def _pending(what: str, entry: ET.Element) -> PendingUpload:
    return PendingUpload(
        key=text_of(what, entry, "Key"),
        upload_id=text_of(what, entry, "UploadId"),
        initiated=_moment(entry.findtext("{*}Initiated") or ""),
    )


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
