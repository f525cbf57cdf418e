"""What clients send and are answered, as REST and WebSocket write it. Unknown fields are let pass."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from scaiqueue.api.words import ConsumerId

JobType = Annotated[str, Meta(max_length=256)]
Attempts = Annotated[int, Meta(ge=1, le=100)]


class SubmitJob(msgspec.Struct, rename="camel"):
    """`payload` is any JSON value, kept byte for byte. No type is the same as an empty one."""

    payload: Raw
    type: JobType | None = None
    max_attempts: Attempts | None = None


class Submitted(msgspec.Struct, rename="camel"):
    job_id: str


class ClaimJob(msgspec.Struct, rename="camel"):
    """No types are all types, and jobs without one."""

    worker_id: ConsumerId
    types: list[JobType] | None = None


class Claimed(msgspec.Struct, rename="camel", omit_defaults=True):
    """Nothing of it is there where no job was."""

    job_id: str | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    type: str | UnsetType = UNSET


class Worker(msgspec.Struct, rename="camel"):
    worker_id: ConsumerId


class Holding(Worker):
    """Whose job is meant."""

    job_id: str


class Nothing(msgspec.Struct):
    """Of methods without parameters, and without a result."""


class Stats(msgspec.Struct, rename="camel"):
    total: int
    unclaimed: int
    in_progress: int
    completed_total: int
    broker_address: str


class JobInfo(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Times in ms. `heartbeat` is 0 where nobody works on it, `max_attempts` 0 where the queue's holds."""

    id: str
    status: str
    payload: Raw
    type: str | UnsetType = UNSET
    worker_id: str | UnsetType = UNSET
    created_at: int
    attempts: int
    max_attempts: int
    heartbeat: int


class Jobs(Stats):
    jobs: list[JobInfo]


class State(msgspec.Struct, rename="camel"):
    broker: str
    broker_heartbeat: int
    jobs: list[JobInfo]
    completed_total: int
