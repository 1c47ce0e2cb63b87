from __future__ import annotations

import mimetypes
from pathlib import Path

import pytest

from argosy.facts import Facts
from media.magics import is_tar
from tests.corpus.case import Case
from tests.corpus.others import CASES
from tests.unit.media.looking import look

BY_NAME = {case.name: case for case in CASES}


def made(name: str, folder: Path) -> bytes:
    BY_NAME[name].make(folder / name)
    return (folder / name).read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_file_is_what_its_bytes_say(case: Case, tmp_path: Path) -> None:
    content = made(case.name, tmp_path)
    facts = look(content, name=case.name)
    assert (facts.kind, facts.content_type) == (case.kind, case.content_type)
    assert facts.declared_type is None
    assert Facts.model_validate_json(facts.model_dump_json()) == facts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_name_changes_the_kind_of_file(case: Case, tmp_path: Path) -> None:
    content = made(case.name, tmp_path)
    facts = look(content, name="picture.jpg", declared_type="image/jpeg")
    assert facts.kind == case.kind
    assert facts.declared_type == "image/jpeg"


def test_names_are_unique() -> None:
    assert len(BY_NAME) == len(CASES)


def test_a_tar_that_was_packed_is_no_contradiction(tmp_path: Path) -> None:
    declared, packed = mimetypes.guess_type("files.tar.gz")
    assert (declared, packed) == ("application/x-tar", "gzip")
    facts = look(made("files.tar.gz", tmp_path), declared_type=declared or "")
    assert (facts.content_type, facts.declared_type) == ("application/gzip", None)
    assert not is_tar(made("bomb.gz", tmp_path))
