"""S3's XML, in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from starlette.responses import Response

from local.supabase import errors

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


def render(name: str, content: Any) -> str:
    """Write an element: mappings nest, lists repeat, None is left out."""
    return f'{_DECLARATION}<{name} xmlns="{NAMESPACE}">{_inner(content)}</{name}>'


def _inner(content: Any) -> str:
    if isinstance(content, Mapping):
        return "".join(_element(name, value) for name, value in content.items())
    if isinstance(content, bool):
        return "true" if content else "false"
    return "" if content is None else escape(str(content))


def _element(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    return f"<{name}>{_inner(value)}</{name}>"


class XMLResponse(Response):
    """An answer in XML."""

    media_type = "application/xml"

    def __init__(
        self,
        name: str,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(render(name, content), status_code, dict(headers or {}))


def error_response(error: errors.StorageError, resource: str) -> XMLResponse:
    """Answer with an error, as S3 does."""
    content = {"Resource": resource, "Code": error.code, "Message": error.message}
    return XMLResponse("Error", content, error.status)


def parse(body: bytes) -> ElementTree.Element:
    """Read a document, without its namespaces."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise errors.malformed_xml()
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - see above
    except ElementTree.ParseError as error:
        raise errors.malformed_xml() from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root
