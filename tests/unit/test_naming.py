"""Object names: whatever a file is called, Storage takes the name we make of it."""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.naming import MAX_SAFE_NAME, derived_folder, is_derived, object_name, safe_name

STORAGE_TAKES = re.compile(r"[A-Za-z0-9/!\-.*'() &$@=;:+,?_]+")
"""Supabase Storage's own rule for keys (see the facts page)."""

AGENT, TRANSFER = UUID(int=1), UUID(int=2)

any_text = st.text(min_size=0, max_size=400)
any_name = st.one_of(
    any_text,
    st.builds("{}.{}".format, any_text, st.text(max_size=30)),
    st.text(alphabet=" ._-/\\\0é日😀\u202e\u0301", max_size=300),
)


@given(any_name)
def test_any_text_becomes_a_key_that_storage_takes(name: str) -> None:
    key = object_name(AGENT, TRANSFER, name)
    assert STORAGE_TAKES.fullmatch(key)
    assert len(key.encode()) <= 1024
    agent, transfer, last = key.split("/")
    assert (agent, transfer) == (str(AGENT), str(TRANSFER))
    assert 0 < len(last) <= MAX_SAFE_NAME


@given(any_name)
def test_the_name_is_never_a_dot_segment_nor_hidden_nor_padded(name: str) -> None:
    made = safe_name(name)
    assert not made.startswith(".")
    assert made == made.strip(" ")
    assert made not in {"", ".", ".."}


@given(st.text(min_size=1, max_size=300), st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True))
def test_the_extension_is_kept(stem: str, extension: str) -> None:
    assert safe_name(f"{stem}.{extension}").endswith(f".{extension}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", "report.pdf"),
        ("résumé.PDF", "resume.PDF"),
        (unicodedata.normalize("NFD", "résumé.PDF"), "resume.PDF"),
        ("日本語.pdf", "file.pdf"),
        ("😀.png", "file.png"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("日本語", "file"),
        ("", "file"),
        ("..", "file"),
        (".bashrc", "file.bashrc"),
        ("a/../../etc/passwd", "a_.._.._etc_passwd"),
        ("no.such extension", "no.such extension"),
        ("n" * 300 + ".txt", "n" * (MAX_SAFE_NAME - 4) + ".txt"),
        ("n" * 300, "n" * MAX_SAFE_NAME),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_two_transfers_of_one_name_are_two_objects() -> None:
    assert object_name(AGENT, uuid4(), "same") != object_name(AGENT, uuid4(), "same")


FOLDER = f"{AGENT}/{TRANSFER}/derived/"


@given(any_name)
def test_what_is_derived_of_a_file_has_one_folder(name: str) -> None:
    path = object_name(AGENT, TRANSFER, name)
    assert derived_folder(path) == FOLDER
    assert not is_derived(path)
    of_it = f"{FOLDER}{safe_name(name)}"
    assert derived_folder(of_it) == FOLDER
    assert is_derived(of_it)


@pytest.mark.parametrize(
    "path",
    [
        *("", "a", "a/b", f"{AGENT}/photos/x.jpg", f"{AGENT}/{TRANSFER}/", f"{AGENT}/{TRANSFER}"),
        *(FOLDER, f"{FOLDER}a/b", f"{AGENT}/{TRANSFER}/other/x", f"/{AGENT}/{TRANSFER}/x"),
        *(f"{AGENT}/{TRANSFER}/derived//x", f"{AGENT}/{str(UUID(int=10**38)).upper()}/x"),
    ],
)
def test_no_other_path_has_one(path: str) -> None:
    """A folder neither: a grant on it is that and no more."""
    assert derived_folder(path) is None
    assert not is_derived(path)
