"""Which code makes what: with the same versions the same bytes come out again."""

from __future__ import annotations

import zlib
from functools import cache
from importlib.metadata import version

import zstandard

_LIBRARIES = {"inspect": ("pillow", "av", "pypdfium2"), "thumbnail": ("pillow", "av", "pypdfium2")}


@cache
def versions(step: str) -> dict[str, str]:
    """The versions of this package and of the libraries that a step is done with."""
    found = {name: version(name) for name in ("argosy-fleet", *_LIBRARIES.get(step, ()))}
    if step == "compress":
        zstd = ".".join(str(number) for number in zstandard.ZSTD_VERSION)
        found |= {"zstd": zstd, "zlib": zlib.ZLIB_RUNTIME_VERSION}
    return found
