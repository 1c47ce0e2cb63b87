from __future__ import annotations

import json
from pathlib import Path

import pytest

from argosy.facts import TextFacts
from tests.unit.media.large_files import LargeFile, Run
from tests.unit.media.looking import look
from tests.unit.media.test_inspect_corpus import made

GIB = 1024**3


def text(content: bytes | LargeFile, **said: str) -> TextFacts:
    found = look(content, **said).text  # type: ignore[arg-type]  # words all of them
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        ("ascii", "ascii"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-32", "utf-32"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32-le", "utf-32-le"),
        ("utf-32-be", "utf-32-be"),
    ],
)
def test_encodings(codec: str, said: str) -> None:
    found = text("first line\nsecond\nlast, without an end".encode(codec))
    assert (found.encoding, found.lines, found.lines_estimated) == (said, 3, False)


@pytest.mark.parametrize("codec", ["utf-16", "utf-8"])
def test_a_character_that_is_cut_at_the_end_does_not_change_the_encoding(codec: str) -> None:
    found = text('{"größe": 1}\nü'.encode(codec)[:-1])
    assert found.encoding == codec


def test_a_character_across_the_heads_end_is_no_damage() -> None:
    assert text(b"x" + "ä".encode() * 100_000).encoding == "utf-8"


def test_an_encoding_nobody_knows() -> None:
    assert text("Grüße aus Köln\n".encode("latin-1") * 40).encoding == "unknown-8bit"
    late = b"plain\n" * 50_000 + "Köln\n".encode("latin-1")
    assert text(late) == TextFacts(encoding="unknown-8bit", lines=50_001)


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"a\r\nb\r\n", 2), (b"a\rb\r", 2), (b"\n\n", 2)],
)
def test_lines_are_counted(content: bytes, lines: int) -> None:
    assert text(content).lines == lines


def test_a_line_of_a_gigabyte_costs_little() -> None:
    file = LargeFile(b"2026-11-23 worker: ", Run(b"0123456789abcdef", GIB), b"\n")
    found = text(file)
    assert (found.lines, found.lines_estimated) == (1, True)
    assert file.fetched < 4_000_000


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-32-be"])
def test_lines_of_a_long_text_are_estimated(codec: str) -> None:
    start = "\ufeff".encode(codec) if codec == "utf-8" else "".encode(codec)
    line = ("x" * 79 + "\n").encode(codec.replace("utf-16", "utf-16-le"))
    file = LargeFile(start + line, Run(line, GIB // len(line) * len(line)))
    found = text(file)
    assert found.lines_estimated
    assert found.lines == pytest.approx(GIB // len(line), rel=0.01)
    assert file.fetched < 4_000_000


def test_json_is_read_and_not_believed() -> None:
    whole = json.dumps({"a": [1, 2.5, None, "ä"]}).encode()
    for content, form, content_type in [
        (whole, "document", "application/json"),
        (whole[:-1], None, "text/plain"),
        (whole + b"\n" + whole, "lines", "application/x-ndjson"),
        (b"[NaN]", None, "text/plain"),
        (b"[" * 100_000, None, "text/plain"),
        (b"[" + b"9" * 100_000 + b"]", "document", "application/json"),
        (b"42", None, "text/plain"),
    ]:
        facts = look(content)
        assert facts.text is not None
        assert (facts.text.json_form, facts.content_type) == (form, content_type), content[:60]
    lone = look(b"42", declared_type="application/json")
    assert (lone.content_type, lone.declared_type) == ("application/json", None)


def test_json_too_long_to_be_read_is_taken_at_its_word() -> None:
    item = b'{"number": 12345},\n'
    file = LargeFile(b"[", Run(item, len(item) * 1_000_000), b"{}]")
    facts = look(file, declared_type="application/json")
    assert (facts.content_type, facts.declared_type) == ("application/json", None)
    assert facts.text is not None
    assert facts.text.json_form is None
    lines = LargeFile(Run(b'{"number": 12345}\n', 18_000_000))
    assert look(lines).content_type == "application/x-ndjson"


def test_a_tables_columns() -> None:
    table = text(b'name;"first, last";n\n1;2;3\n4;5;6\n', declared_type="text/csv").table
    assert table is not None
    assert (table.delimiter, table.columns, table.column_count) == (
        ";", ("name", "first, last", "n"), 3)  # fmt: skip
    tabs = text(b"a\tb,c\n1\t2\n", name="t.tsv").table
    assert tabs is not None
    assert (tabs.delimiter, tabs.columns) == ("\t", ("a", "b,c"))
    alone = text(b"name\nme\nyou\n", name="t.csv").table
    assert alone is not None
    assert alone.columns == ("name",)
    assert text(b"one, two\nthree, four\n").table is None


def test_a_wide_table_is_cut() -> None:
    header = ",".join(f"column {number} " + "😀" * 150 for number in range(2000)).encode()
    facts = look(header[:60_000] + b"\n1,2\n", declared_type="text/csv")
    assert facts.text is not None
    assert facts.text.table is not None
    assert facts.text.table.column_count > 80
    assert all(len(name) <= 100 for name in facts.text.table.columns)
    assert len(json.dumps(facts.model_dump(mode="json"))) < 16_384


def test_a_million_columns_are_counted_as_far_as_they_are_looked_at() -> None:
    facts = look(b"a," * 1_000_000 + b"\n", declared_type="text/csv")
    assert (facts.problem, facts.content_type) == (None, "text/csv")


def test_the_outermost_element(tmp_path: Path) -> None:
    assert text(made("list.xml", tmp_path)).root == "list"
    assert text(made("drawing.svg", tmp_path)).root == "svg"
    assert text(made("entities.xml", tmp_path)).root == "l"
    assert text('<?xml version="1.0"?><Über/>'.encode("utf-16")).root == "Über"
    assert text(b"<not xml").root is None


def test_an_entity_that_lies_elsewhere_is_not_fetched() -> None:
    external = b'<?xml version="1.0"?><!DOCTYPE r SYSTEM "file:///etc/hostname" [<!ENTITY e '
    assert text(external + b'SYSTEM "file:///etc/hostname">]><r>&e;</r>').root == "r"
