"""Payloads: dicts, msgspec Structs, dataclasses and pydantic models, to JSON and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from scaiqueue.client.errors import PayloadError

T = TypeVar("T")
Kind: TypeAlias = type[T]


def _foreign(value: Any) -> Any:
    """pydantic's models know how to write themselves."""
    dump: Callable[[], str] | None = getattr(value, "model_dump_json", None)
    if dump is None or isinstance(value, type):
        raise NotImplementedError(f"{type(value).__name__} is no JSON")
    return msgspec.Raw(dump().encode())


_encoder = msgspec.json.Encoder(enc_hook=_foreign)


def encode(value: Any) -> bytes:
    """JSON. Raises PayloadError for what JSON can't hold."""
    try:
        return _encoder.encode(value)
    except (NotImplementedError, TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"not JSON: {error}") from None


class Codec(Generic[T]):
    """One type of payload. pydantic checks its own models, msgspec everything else."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        foreign: Callable[[bytes], T] | None = getattr(kind, "model_validate_json", None)
        self._decode: Callable[[Any], T] = foreign or msgspec.json.Decoder(kind).decode
        self._errors = (ValueError,) if foreign else (msgspec.DecodeError,)
        self._foreign = foreign is not None

    def decode(self, content: bytes | msgspec.Raw) -> T:
        """Raises PayloadError."""
        try:
            return self._decode(bytes(content) if self._foreign else content)
        except self._errors as error:
            raise PayloadError(f"not {_name(self.kind)}: {error}") from None

    def encode(self, payload: T | dict[str, Any]) -> msgspec.Raw:
        """The JSON of an instance, or of a dict that fits. Raises PayloadError: constructors check little."""
        content = encode(payload)
        self.decode(content)
        return msgspec.Raw(content)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind))
