"""The protobuf messages of `osqueue.v1.QueueService`, made from this table; the library does the rest."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

PACKAGE = "osqueue.v1"
SERVICE = f"{PACKAGE}.QueueService"

# Of each message the fields in the order of their numbers: `label kind name`.
_JOB = ("string job_id", "string worker_id")
_COUNTS = ("int32 total", "int32 unclaimed", "int32 in_progress")
_MESSAGES = {
    "SubmitJobRequest": ("bytes payload", "optional int32 max_attempts", "string type"),
    "SubmitJobResponse": ("string job_id",),
    "ClaimJobRequest": ("string worker_id", "repeated string types"),
    "ClaimJobResponse": ("optional string job_id", "optional bytes payload", "string type"),
    "HeartbeatRequest": _JOB,
    "HeartbeatResponse": (),
    "CompleteJobRequest": _JOB,
    "CompleteJobResponse": (),
    "GetStatsRequest": (),
    "GetStatsResponse": (*_COUNTS, "string broker_address"),
    "ListJobsRequest": (),
    "JobInfo": (
        "string id", "string status", "bytes payload", "string type", "string worker_id", "int64 created_at",
        "int32 attempts", "int32 max_attempts", "int64 heartbeat",
    ),
    "ListJobsResponse": (
        "repeated JobInfo jobs", *_COUNTS, "int32 completed_total", "string broker_address",
    ),
}  # fmt: skip

_Field = descriptor_pb2.FieldDescriptorProto
_KINDS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
}


def _classes() -> dict[str, Any]:
    """In a pool of their own: a program that has its own osqueue messages is not disturbed."""
    file = descriptor_pb2.FileDescriptorProto(name="osqueue.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            *label, kind, field_name = field.split()
            made = message.field.add(name=field_name, number=number, label=_Field.LABEL_OPTIONAL)
            if kind in _KINDS:
                made.type = _KINDS[kind]
            else:
                made.type, made.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            if label == ["repeated"]:
                made.label = _Field.LABEL_REPEATED
            elif label == ["optional"]:
                made.proto3_optional, made.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    pool = DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in _MESSAGES
    }


CLASSES = _classes()
