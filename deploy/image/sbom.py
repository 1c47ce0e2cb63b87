"""The image's bill of materials (CycloneDX 1.6, JSON), from what is installed in it.

    python3 sbom.py SITE_PACKAGES DPKG_STATUS > sbom.cdx.json

It has no date and no random number in it: the same packages make the same document.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

PROJECT = "argosy-fleet"
Component = dict[str, Any]


def bill(site_packages: Path, dpkg_status: Path) -> dict[str, Any]:
    """The whole document."""
    python = sorted(python_packages(site_packages), key=lambda one: str(one["purl"]))
    debian = sorted(debian_packages(dpkg_status), key=lambda one: str(one["purl"]))
    [subject] = [one for one in python if one["name"] == PROJECT]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**subject, "type": "application"}},
        "components": [one for one in python + debian if one is not subject],
    }


def python_packages(site_packages: Path) -> Iterator[Component]:
    """What pip has installed."""
    for found in distributions(path=[str(site_packages)]):
        name = found.metadata["Name"].lower().replace("_", "-")
        made = _component(name, found.version, f"pkg:pypi/{name}@{quote(found.version)}")
        yield made | _licences(found)


def debian_packages(dpkg_status: Path) -> Iterator[Component]:
    """What comes from Debian; its licences are in /usr/share/doc of the image."""
    for stanza in dpkg_status.read_text().strip().split("\n\n"):
        told = Parser().parsestr(stanza)
        name, version = told["Package"], told["Version"]
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={told['Architecture']}"
        yield _component(name, version, purl)


def _component(name: str, version: str, purl: str) -> Component:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _licences(found: Distribution) -> Component:
    metadata = found.metadata
    assert isinstance(metadata, Message)  # noqa: S101  importlib's own class is one
    if expression := metadata.get("License-Expression"):
        return {"licenses": [{"expression": expression}]}
    named = metadata.get("License") or ""
    if named and "\n" not in named:
        return {"licenses": [{"license": {"name": named}}]}
    kinds = [one for one in metadata.get_all("Classifier", []) if one.startswith("License ::")]
    return {"licenses": [{"license": {"name": one.split(" :: ")[-1]}} for one in kinds]}


if __name__ == "__main__":
    json.dump(bill(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout, indent=1, sort_keys=True)
