from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidRequest
from argosy.storage import metadata

valid_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
names = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)


@given(valid_text)
def test_any_text_comes_back(text: str) -> None:
    encoded = metadata.encode_value(text)
    assert re.fullmatch(r"([A-Za-z0-9._~-]|%[0-9A-F]{2})*", encoded)
    assert metadata.decode_value(encoded) == text


@given(st.dictionaries(names, valid_text, max_size=5))
def test_headers_come_back(given_metadata: dict[str, str]) -> None:
    headers = metadata.to_headers(given_metadata)
    arrived = {name.title(): value for name, value in headers.items()}
    assert metadata.from_headers({**arrived, "Content-Type": "text/plain"}) == given_metadata


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_the_metadata_of_others_never_breaks(value: str) -> None:
    assert isinstance(metadata.decode_value(value), str)


@pytest.mark.parametrize("foreign", ["100%", "%zz", "%FF", "a+b", "plain"])
def test_what_is_not_our_encoding_stays_as_it_is(foreign: str) -> None:
    assert metadata.decode_value(foreign) == foreign


@pytest.mark.parametrize("name", ["", "Name", "a_b", "a.b", "a b", "a:b", "ü", "-a", "a\r\nb"])
def test_names_that_a_proxy_would_drop(name: str) -> None:
    with pytest.raises(InvalidRequest):
        metadata.to_headers({name: "value"})


def test_half_a_surrogate_pair_is_no_unicode() -> None:
    with pytest.raises(InvalidRequest):
        metadata.encode_value("\ud800")


def test_more_than_fits_in_headers() -> None:
    with pytest.raises(InvalidRequest, match="8192"):
        metadata.to_headers({"name": "ü" * 2000})
