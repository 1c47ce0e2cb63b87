"""The outermost element of an XML text."""

from __future__ import annotations

from xml.parsers import expat

from media.words import word


class _Found(Exception):
    """Nothing behind the first element is parsed: entities would be expanded there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def root_of(head: bytes) -> str | None:
    """The name, without prefix, of the first element that is opened in `head`.

    None where none is, or this is no XML. Expat loads nothing from elsewhere.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = _stop
    try:
        parser.Parse(head, False)
    except _Found as found:
        return word(found.name.rpartition(" ")[2])
    except (expat.ExpatError, LookupError, ValueError):
        return None
    return None


def _stop(name: str, _: dict[str, str]) -> None:
    raise _Found(name)
