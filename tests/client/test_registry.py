"""Payloads of every kind, checked when they are submitted and when they are handled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field

from scaiqueue.client import App, Client, PayloadError
from scaiqueue.client.memory import MemoryQueue


class Struct(msgspec.Struct):
    to: str
    copies: int = 1


@dataclass
class Data:
    to: str
    copies: int = 1


class Model(BaseModel):
    to: str
    copies: int = Field(default=1, ge=1)


class Report(msgspec.Struct):
    format: Literal["pdf", "csv"]


@pytest.fixture
def app() -> App:
    return App(Client(scope="s", transport=MemoryQueue({"s": ["jobs"]})))


@pytest.mark.parametrize("kind", [Struct, Data, Model])
async def test_kinds_of_payloads(app: App, kind: Any) -> None:
    job = app.define("print", kind)
    await job.submit(kind(to="a"))
    await job.submit({"to": "b", "copies": 2})
    first, second = await app.client.claim("jobs", 2)
    assert (job.payload(first), job.payload(second)) == (kind(to="a"), kind(to="b", copies=2))
    assert second.into(kind) == kind(to="b", copies=2)
    for wrong in ({"to": 1}, {}, {"to": "a", "copies": "many"}):
        with pytest.raises(PayloadError):
            await job.submit(wrong)
    assert await app.client.claim("jobs") == []


async def test_models_inside_of_plain_payloads(app: App) -> None:
    await app.client.publish("jobs", "t", {"models": [Model(to="a")], "data": Data("b")})
    (message,) = await app.client.claim("jobs")
    assert message.json() == {"models": [{"to": "a", "copies": 1}], "data": {"to": "b", "copies": 1}}


async def test_constructors_check_little_and_submit_does(app: App) -> None:
    report = app.define("report", Report)
    with pytest.raises(PayloadError, match="Invalid enum value 'doc'"):
        await report.submit(Report("doc"))  # type: ignore[arg-type]


async def test_mistakes_are_told_at_once(app: App) -> None:
    app.define("report", Report)
    with pytest.raises(ValueError, match="'report' is there already"):
        app.define("report", Report)
    with pytest.raises(KeyError):
        await app.submit("unknown", {})
    with pytest.raises(TypeError, match="must take a payload"):

        @app.job("none")
        async def none() -> None: ...

    with pytest.raises(TypeError, match="timeout_s needs an async handler"):

        @app.job("thread", timeout_s=1)
        def thread(_: int) -> None: ...

    app.handle("q")(lambda message: None)
    with pytest.raises(ValueError, match="has a handler already"):
        app.handle("q")(lambda message: None)
