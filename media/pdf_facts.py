"""What a PDF says of itself: no page is drawn."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import pypdfium2

from argosy.facts import PdfFacts
from media.problem import Unreadable
from media.reader import Reader
from media.words import word

pdfium = pypdfium2.raw  # the package prepares the library when it is imported

VERSION = re.compile(rb"%PDF-(\d\.\d)")


def pdf_facts(reader: Reader) -> PdfFacts:
    """Version, pages, encryption. Raises Unreadable for a damaged PDF."""
    said = VERSION.search(reader.at(0, 1024))
    version = word(said[1]) if said else None
    access, _kept = _access(reader)
    document = pdfium.FPDF_LoadCustomDocument(access, None)
    if not document:
        return _refused(version, pdfium.FPDF_GetLastError())
    try:
        return PdfFacts(
            version=version,
            pages=max(pdfium.FPDF_GetPageCount(document), 0),
            encrypted=pdfium.FPDF_GetSecurityHandlerRevision(document) >= 0,
        )
    finally:
        pdfium.FPDF_CloseDocument(document)


def _refused(version: str | None, code: int) -> PdfFacts:
    if code == pdfium.FPDF_ERR_PASSWORD:
        return PdfFacts(version=version, pages=None, encrypted=True)
    if code == pdfium.FPDF_ERR_SECURITY:
        raise Unreadable("The PDF is encrypted in a way that is not known here.")
    raise Unreadable("The PDF is damaged: no list of its pages was found.")


def _access(reader: Reader) -> tuple[Any, Any]:
    """The file as PDFium wants it, and what must live as long as it does.

    What the file raises is kept by the reader; PDFium hears only that it failed.
    """

    def block(_: Any, position: int, buffer: Any, length: int) -> int:
        try:
            found = reader.at(position, length)
        except OSError:
            return 0
        ctypes.memmove(buffer, found, len(found))
        return int(len(found) == length)

    access = pdfium.FPDF_FILEACCESS()
    access.m_FileLen = reader.size
    callback = type(access.m_GetBlock)(block)
    access.m_GetBlock = callback
    return access, callback
