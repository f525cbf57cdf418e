"""A JSON Schema 2020-12, compiled. Nothing is fetched, and patterns take linear time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from scaiqueue.errors import Detail
from scaiqueue.schemas.unfolding import Unfolding

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_DETAILS = 100
MAX_UNFOLDED = 10_000
MAX_MESSAGE = 300  # a message may quote the value that does not fit


class SchemaError(ValueError):
    """A document that is no schema; `field` is the place in it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class CompiledSchema:
    """Raises SchemaError."""

    def __init__(self, document: Any) -> None:
        if isinstance(document, dict) and document.get("$schema", DIALECT) not in (DIALECT, DIALECT + "#"):
            raise SchemaError("$schema", f"Must be {DIALECT}, or absent")
        try:
            if Unfolding(document).largest() > MAX_UNFOLDED:
                raise SchemaError("", f"One value would be held against more than {MAX_UNFOLDED} parts")
            self._validator = Draft202012Validator(
                document, retriever=_refuse, pattern_options=RegexOptions(), validate_formats=True
            )
        except SchemaError:
            raise
        except ValidationError as error:
            raise SchemaError(_path(error.instance_path), error.message[:MAX_MESSAGE]) from None
        except (ValueError, RecursionError) as error:
            raise SchemaError("", str(error)) from None

    def faults(self, body: bytes) -> list[Detail]:
        """One detail for each field of a body that does not fit, the first MAX_DETAILS."""
        try:
            value = msgspec.json.decode(body)
            if self._validator.is_valid(value):
                return []
            return list(islice(_details(self._validator.iter_errors(value)), MAX_DETAILS))
        except (ValueError, RecursionError):
            return [Detail("body", "Is no JSON that can be checked: malformed, or nested too deeply")]


def _refuse(uri: str) -> Any:
    raise ValueError("a schema may refer only to its own parts")


def _details(errors: Iterator[ValidationError]) -> Iterator[Detail]:
    for error in errors:
        place, kind = error.instance_path, error.kind
        match kind.name:
            case "required":
                yield Detail(_path([*place, kind.as_dict()["property"]], "body"), "Required field is missing")
            case "additionalProperties" | "unevaluatedProperties":
                for name in kind.as_dict()["unexpected"]:
                    yield Detail(_path([*place, name], "body"), "Unknown field")
            case _:
                yield Detail(_path(place, "body"), error.message[:MAX_MESSAGE])


def _path(steps: list[str | int], root: str = "") -> str:
    text = root
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.lstrip(".")
