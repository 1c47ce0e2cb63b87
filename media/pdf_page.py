"""The first page of a PDF by PDFium, on white."""

from __future__ import annotations

import math
from typing import BinaryIO

import pypdfium2

from argosy.errors import DamagedFile, UnsupportedType
from media.picture import Picture
from media.shrinking import LARGEST_EDGE, fitted, shrunk


def first_page(file: BinaryIO, edge: int, *, pixels: int) -> Picture:
    """The first page, drawn for a longest edge of `edge`, of no more than `pixels`.

    Raises:
        DamagedFile: PDFium cannot read it, or it has no page.
        UnsupportedType: It is locked by a password.
    """
    document = _opened(file)
    try:
        if len(document) == 0:
            raise DamagedFile("The PDF has no page")
        return _drawn(document[0], min(edge, LARGEST_EDGE), pixels)
    except pypdfium2.PdfiumError as error:
        raise DamagedFile(f"The PDF's first page cannot be drawn: {error}") from error
    finally:
        document.close()


def _opened(file: BinaryIO) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise UnsupportedType(
                "The PDF is locked by a password: send one without for a thumbnail"
            ) from error
        raise DamagedFile(f"The PDF cannot be read: {error}") from error


def _drawn(page: pypdfium2.PdfPage, edge: int, pixels: int) -> Picture:
    """A page has no pixels of its own: it is drawn as large as is wanted."""
    width, height = page.get_size()
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise DamagedFile(f"The PDF's first page has the size {width} x {height}")
    scale = min(edge / max(width, height), math.sqrt(pixels / (width * height)))
    bitmap = page.render(scale=scale, fill_color=(255, 255, 255, 255), optimize_mode=None)
    image = bitmap.to_pil().convert("RGB")
    size = fitted(image.size, edge)  # PDFium rounds up.
    return Picture(shrunk(image, size), size)
