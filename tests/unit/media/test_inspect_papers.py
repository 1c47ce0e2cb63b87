from __future__ import annotations

from argosy.facts import PdfFacts
from tests.corpus.documents import encrypted_pdf, pdf
from tests.unit.media.large_files import LargeFile, Run
from tests.unit.media.looking import look


def test_pages_and_version() -> None:
    facts = look(pdf(7))
    assert facts.pdf == PdfFacts(version="1.4", pages=7, encrypted=False)


def test_a_locked_one_says_only_that() -> None:
    facts = look(encrypted_pdf(b"secret"))
    assert (facts.pdf, facts.problem) == (
        PdfFacts(version="1.4", pages=None, encrypted=True), None)  # fmt: skip


def test_one_that_opens_without_a_password_is_encrypted_all_the_same() -> None:
    assert look(encrypted_pdf(b"")).pdf == PdfFacts(version="1.4", pages=1, encrypted=True)


def test_what_is_between_is_not_fetched() -> None:
    content = pdf(2)
    at = content.index(b"xref")
    gap = 1_000_000_000
    tail = content[at:].replace(b"startxref\n%d" % at, b"startxref\n%d" % (at + gap))
    file = LargeFile(content[:at], Run(b" ", gap), tail)
    assert look(file).pdf == PdfFacts(version="1.4", pages=2, encrypted=False)
    assert file.fetched < 1_000_000


def test_one_whose_list_of_pages_is_lost_is_not_read_through() -> None:
    content = pdf(2)
    file = LargeFile(content[: content.index(b"xref")], Run(b" ", 1_000_000_000))
    facts = look(file)
    assert (facts.kind, facts.pdf) == ("pdf", None)
    assert facts.problem is not None
    assert file.fetched < 16_000_000


def test_one_that_begins_late_is_known_by_its_end() -> None:
    late = b"--boundary\r\n" + pdf(1)
    assert look(late).content_type == "application/pdf"
    assert look(b"A text about %PDF-1.4 headers.\n").content_type == "text/plain"
