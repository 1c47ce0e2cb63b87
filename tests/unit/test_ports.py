"""Ports for the local stack: of the range that its environment names."""

from __future__ import annotations

import pytest

from local import ports


def test_a_range_that_is_named_after_the_import_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that run beside others name their own when all of this was imported long ago."""
    for wanted in (range(17000, 17020), range(17100, 17120)):
        monkeypatch.setenv("ARGOSY_LOCAL_PORTS", f"{wanted.start}-{wanted.stop}")
        taken = [ports.take() for _ in range(3)]
        assert len({port for port in taken if port in wanted}) == 3
