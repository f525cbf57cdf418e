"""Connect: unary calls of `osqueue.v1.QueueService`, as protobuf or as its JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from msgspec import UNSET, Raw

from scaiqueue.api.validation import invalid
from scaiqueue.errors import Code, Detail, QueueError
from scaiqueue.osqueue.answers import JSON, Answer
from scaiqueue.osqueue.messages import CLASSES, SERVICE
from scaiqueue.osqueue.methods import Method, Methods
from scaiqueue.osqueue.refusals import Coded, coded, headers_of
from scaiqueue.queueing.message import is_json

TRANSPORT = "connect"
PREFIX = f"/{SERVICE}/"
PROTO = "application/proto"

_METHODS = {
    "SubmitJob": "submitJob",
    "ClaimJob": "claimJob",
    "Heartbeat": "heartbeat",
    "CompleteJob": "completeJob",
    "GetStats": "getStats",
    "ListJobs": "listJobs",
}
_encode = msgspec.json.Encoder().encode


def _error(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(status, _encode(Coded(code, message)), headers=headers)


async def answer(
    methods: Methods, name: str, content_type: str, authorization: str | None, body: bytes
) -> Answer:
    """`content_type` as the request has it."""
    if name not in _METHODS:
        return _error(404, "unimplemented", f"{SERVICE} has no method {name[:100]!r}.")
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (PROTO, JSON):
        return _error(415, "unknown", f"Send {PROTO} or {JSON}.", **{"Accept-Post": f"{PROTO}, {JSON}"})
    method = methods[_METHODS[name]]
    read = _reader(method, CLASSES[f"{name}Request"], kind, body)
    result = await methods.call(TRANSPORT, method, authorization, read)
    if isinstance(result, QueueError):
        status, error = coded(result)
        return Answer(status, _encode(error), headers=headers_of(result))
    message = _message(CLASSES[f"{name}Response"], result)
    if kind == PROTO:
        return Answer(200, message.SerializeToString(), PROTO)
    return Answer(200, json_format.MessageToJson(message, indent=None).encode())


def _reader(method: Method, message: Any, kind: str, body: bytes) -> Callable[[], Any]:
    def read() -> Any:
        try:
            if kind == PROTO:
                given = message.FromString(body)
            else:
                given = json_format.Parse(body or b"{}", message(), ignore_unknown_fields=True)
        except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
            raise QueueError(
                Code.MALFORMED_JSON, f"The request is no {message.DESCRIPTOR.name}: {error}"
            ) from None
        return _asked(method.asked.type, given)

    return read


def _asked(kind: type[msgspec.Struct], given: Any) -> msgspec.Struct:
    """The parameters' Struct; what a message doesn't say is absent."""
    values: dict[str, Any] = {}
    for field in given.DESCRIPTOR.fields:
        value = getattr(given, field.name)
        if field.name == "payload":
            if not is_json(value):
                raise invalid(Detail("payload", "Must be JSON text"))
            continue
        if not field.has_presence or given.HasField(field.name):
            values[field.camelcase_name] = list(value) if field.name == "types" else value
    if "payload" in kind.__struct_fields__:
        values["payload"] = Raw(given.payload)
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `$.")
        raise invalid(Detail(place.rstrip("`") or "request", text)) from None


def _message(message: Any, result: msgspec.Struct) -> Any:
    """The answer with those fields of the result that the message has."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(result, field.name, UNSET)
        if value is UNSET:
            continue
        if field.name == "payload":
            value = bytes(value)
        elif field.name == "jobs":
            value = [_message(CLASSES["JobInfo"], job) for job in value]
        values[field.name] = value
    return message(**values)
