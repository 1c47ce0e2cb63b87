"""What a caller may give; what would be misread is refused before anything is asked."""

from __future__ import annotations

import pytest

from argosy import Client, UploadOptions
from argosy.errors import InvalidRequest

A_LIST = r'Argument share_with: give a list of names: \["printer"\]\.'


@pytest.mark.parametrize("verb", [Client.share, Client.unshare])
def test_one_name_is_no_list_of_its_letters(verb: object) -> None:
    nobody = Client.__new__(Client)  # that it has no session shows that nothing is asked
    with pytest.raises(InvalidRequest, match=A_LIST):
        verb(nobody, "bucket/path", "printer")  # type: ignore[operator]


def test_one_name_is_no_list_in_the_options() -> None:
    with pytest.raises(InvalidRequest, match=A_LIST):
        UploadOptions(share_with="printer")  # type: ignore[arg-type]
    assert UploadOptions(share_with=("printer",)).share_with == ("printer",)
