"""What pydantic finds wrong with a value, in words that say what is allowed.

A type whose pattern says nothing to a reader carries words of its own:
`Annotated[str, StringConstraints(pattern=...), Allowed("...")]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_OWN = "allowed"
_VALUE_ERROR = "Value error, "
"""What pydantic puts before the words of a ValueError."""


@dataclass(frozen=True)
class Allowed:
    """Says of a type what is allowed, in place of all that pydantic would say."""

    said: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """What pydantic calls for the type."""
        return core_schema.custom_error_schema(
            handler(source), custom_error_type=_OWN, custom_error_message=self.said
        )


_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "missing": "it is missing",
        "extra_forbidden": "there is no such argument",
        "string_type": "give a text",
        "string_too_short": "give at least {min_length} character(s)",
        "string_too_long": "give at most {max_length} characters",
        "int_type": "give a whole number",
        "int_parsing": "give a whole number",
        "int_from_float": "give a whole number",
        "float_type": "give a number",
        "float_parsing": "give a number",
        "finite_number": "give a finite number",
        "bool_type": "give true or false",
        "bool_parsing": "give true or false",
        "dict_type": "give names and values",
        "model_type": "give an object, with names and values",
        "model_attributes_type": "give an object, with names and values",
        "list_type": "give a list",
        "tuple_type": "give a list",
        "greater_than": "give more than {gt}",
        "greater_than_equal": "give {ge} or more",
        "less_than": "give less than {lt}",
        "less_than_equal": "give {le} or less",
        "too_short": "give at least {min_length}",
        "too_long": "give at most {max_length}",
        "literal_error": "give one of {expected}",
        "enum": "give one of {expected}",
        "uuid_type": "give an id (a UUID)",
        "uuid_parsing": "give an id (a UUID)",
    }
)
"""By the type of pydantic's error, with what it knows of it; the rest stays in its own words."""


def in_words(problem: Mapping[str, Any]) -> str:
    """What one of the errors of a ValidationError says to a reader, without a full stop."""
    if words := _WORDS.get(problem["type"]):
        known = {name: _plain(value) for name, value in problem.get("ctx", {}).items()}
        return words.format(**known)
    return str(problem["msg"]).removeprefix(_VALUE_ERROR)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
