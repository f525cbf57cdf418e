"""Decoding of what callers send. msgspec stops at the first error: here every wrong field is named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from scaiqueue.errors import Code, Detail, QueueError

T = TypeVar("T")
L = TypeVar("L")

_place = re.compile(r" - at `(?:key in )?\$(.*)`$")
_MAX_DETAILS = 100


def malformed(reason: str) -> QueueError:
    return QueueError(Code.MALFORMED_JSON, f"The request's body is not JSON: {reason}")


def invalid(*details: Detail, message: str = "") -> QueueError:
    named = ", ".join(sorted({detail.field for detail in details}))
    return QueueError(Code.VALIDATION_ERROR, message or f"Not valid: {named}.", details=details)


def check_text(raw: bytes) -> None:
    """Raises MALFORMED_JSON if `raw` isn't UTF-8: what is kept as raw JSON is not looked at otherwise."""
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            raise malformed(f"byte {error.start} is not UTF-8") from None


def decode(decoder: msgspec.json.Decoder[T], raw: bytes, prefix: str = "") -> T:
    """The Struct that `raw` holds.

    Raises QueueError MALFORMED_JSON or VALIDATION_ERROR with one detail per wrong field, each field's
    name beginning with `prefix`.
    """
    check_text(raw)
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        first = error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(str(error)) from None
    except RecursionError:
        raise malformed("nested too deeply") from None
    try:
        found = list(_wrong_fields(msgspec.json.decode(raw), decoder.type, prefix))
    except (RecursionError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(str(error)) from None
    raise invalid(*(found[:_MAX_DETAILS] or [_detail(first, prefix)]))


def decode_items(strict: msgspec.json.Decoder[T], loose: msgspec.json.Decoder[L], raw: bytes) -> T | L:
    """A batch's items decoded in one go; where one of them is wrong, as raw items, each to be judged alone.

    Raises as `decode` for what is wrong around the items.
    """
    check_text(raw)
    try:
        return strict.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode(loose, raw)


def _detail(error: msgspec.ValidationError, prefix: str) -> Detail:
    text = str(error)
    match = _place.search(text)
    field = prefix + (match[1] if match else "")
    return Detail(field.lstrip(".") or "body", _place.sub("", text))


def _bare(kind: Any) -> Any:
    """The type without `Annotated` and `None`."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        others = [part for part in get_args(kind) if part is not type(None)]
        if len(others) == 1:
            return _bare(others[0])
    return kind


def _wrong_fields(value: Any, kind: Any, place: str) -> Iterator[Detail]:
    bare = _bare(kind)
    if isinstance(value, dict) and isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        yield from _wrong_members(value, bare, place)
        return
    arguments = get_args(bare)
    if isinstance(value, list) and get_origin(bare) is list and _is_struct(arguments[0]):
        for position, item in enumerate(value):
            yield from _wrong_fields(item, arguments[0], f"{place}[{position}]")
    if bare is msgspec.Raw:
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        detail = _detail(error, place)
        if not (
            isinstance(value, list)
            and _is_struct(arguments[0] if arguments else None)
            and "[" in detail.field[len(place) :]
        ):
            yield detail


def _is_struct(kind: Any) -> bool:
    bare = _bare(kind)
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _wrong_members(value: dict[str, Any], kind: type[msgspec.Struct], place: str) -> Iterator[Detail]:
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in known.items():
        inner = f"{place}.{name}" if place else name
        if name in value:
            yield from _wrong_fields(value[name], field.type, inner)
        elif field.required:
            yield Detail(inner, "Required field is missing")
    if kind.__struct_config__.forbid_unknown_fields:
        for name in value:
            if name not in known:
                yield Detail(f"{place}.{name}" if place else name, "Unknown field")
