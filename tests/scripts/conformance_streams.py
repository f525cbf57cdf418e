"""Cases of stream and end_stream."""

from __future__ import annotations

from typing import Any

from scaiqueue.scripts import binding
from scaiqueue.scripts.runner import Call
from tests.scripts.conformance_recorder import Recorder, story

Told = tuple[Call, list[list[Any]]]
Chunk = tuple[int, str, str]


def _stream(b: Recorder, verb: str, *chunks: Chunk, **settings: Any) -> Call:
    stream = b.keys.stream("01900000-0000-7000-8000-0000000000ff")
    items = [binding.StreamItem(seq, data, final) for seq, data, final in chunks]
    said = {"queue": "jobs", "template": "{}"} | settings if verb == "open" else {}
    names = ("queue", "template", "max_bytes", "max_chunks", "idle_ms")
    given = {name: said.get(name, "") for name in names}
    return binding.stream_call(b.keys, stream, verb, "pat", items=items, **given)


def _end(b: Recorder, verb: str, detail: str = "") -> Call:
    stream = b.keys.stream("01900000-0000-7000-8000-0000000000ff")
    return binding.end_stream_call(b.keys, stream, verb, "pat", detail)


@story("stream", "chunks out of order, again, and with other content")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open"))
    chunks = [(1, "b", ""), (0, "a", ""), (1, "b", ""), (1, "x", ""), (2, "c", "1"), (3, "d", "")]
    words = ["OK", "OK", "DUPLICATE", "CONFLICT", "OK", "CONFLICT"]
    replies = [[word, seq] for word, (seq, _, _) in zip(words, chunks, strict=True)]
    return _stream(b, "append", *chunks), [*replies, ["OK", "open", 3, 2, 2, 3, 3]]


@story("stream", "the final chunk, and others that say so")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (2, "c", ""), (4, "e", "1")))
    chunks = [(1, "b", "1"), (3, "d", "1"), (4, "e", "1"), (2, "c", "1"), (5, "f", "1")]
    words = ["CONFLICT", "CONFLICT", "DUPLICATE", "CONFLICT", "CONFLICT"]
    replies = [[word, seq] for word, (seq, _, _) in zip(words, chunks, strict=True)]
    return _stream(b, "append", *chunks), [*replies, ["OK", "open", 0, 4, 4, 2, 2]]


@story("stream", "more bytes and chunks than it takes")
def _(b: Recorder) -> Told:
    call = _stream(b, "open", (0, "abc", ""), (1, "d", ""), (2, "", ""), max_bytes=3, max_chunks=2)
    return call, [["OK", 0], ["FULL", "bytes", 3], ["FULL", "chunks", 2], ["OK", "open", 1, 0, -1, 1, 3]]


@story("stream", "closing while a chunk is missing")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (1, "b", "1")))
    return _stream(b, "close"), [["MORE", "open", 0, 1, 1, 1, 1]]


@story("stream", "closing with the last chunk")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (1, "b", "")))
    return _stream(b, "close", (0, "a", "")), [["OK", 0], ["OK", "closed", 2, 1, -1, 2, 2]]


@story("stream", "after its end")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (0, "b", "1")))
    b.run(_stream(b, "close"))
    return _stream(b, "append", (1, "c", "")), [["INVALID_STATE", "closed"]] * 2


@story("stream", "when nobody wrote for too long")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (0, "b", ""), idle_ms=1000))
    b.now += 1000
    return _stream(b, "append", (1, "c", "")), [["INVALID_STATE", "aborted"]] * 2


@story("stream", "that was not opened")
def _(b: Recorder) -> Told:
    return _stream(b, "append"), [["NOT_FOUND", "stream"]]


@story("stream", "a scope that takes none")
def _(b: Recorder) -> Told:
    b.scope_state("paused")
    return _stream(b, "open"), [["PAUSED", "scope"]]


@story("stream", "a scope that is archived")
def _(b: Recorder) -> Told:
    b.scope_state("archived")
    return _stream(b, "open"), [["ARCHIVED", "scope"]]


@story("stream", "rows that are too far behind")
def _(b: Recorder) -> Told:
    b.command("HSET", b.keys.shard.limits, "backlog_limit", "2")
    b.run(_stream(b, "open", (0, "a", ""), (1, "b", "")))
    return _stream(b, "append", (2, "c", "")), [["BACKLOG"]] * 2


@story("end_stream", "aborted")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (0, "a", "")))
    return _end(b, "abort", "the model is gone"), [["OK", "aborted"]]


@story("end_stream", "idle, and not yet")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", idle_ms=1000))
    b.now += 999
    return _end(b, "idle"), [["EMPTY", b.now + 1]]


@story("end_stream", "idle")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", idle_ms=1000))
    b.now += 1000
    return _end(b, "idle"), [["OK", "aborted"]]


@story("end_stream", "assembled")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (0, "a", "")))
    b.run(_stream(b, "close"))
    return _end(b, "assembled", "01900000-0000-7000-8000-000000000001"), [["OK", "assembled"]]


@story("end_stream", "failed, after another try")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open"))
    b.run(_stream(b, "close"))
    b.now += 1000
    b.run(_end(b, "later"))
    return _end(b, "failed", "no such queue"), [["OK", "failed"]]


@story("end_stream", "forgotten")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (0, "a", "")))
    b.run(_end(b, "abort"))
    return _end(b, "forget", "1-1"), [["OK", "aborted"]]


@story("end_stream", "not forgotten: the rows have an older version")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open", (0, "a", "")))
    b.run(_end(b, "abort"))
    return _end(b, "forget", "1-0"), [["CONFLICT", "1-1"]]


@story("end_stream", "not forgotten: it is open")
def _(b: Recorder) -> Told:
    b.run(_stream(b, "open"))
    return _end(b, "forget", "1-1"), [["INVALID_STATE", "open"]]


@story("end_stream", "unknown")
def _(b: Recorder) -> Told:
    return _end(b, "abort"), [["NOT_FOUND", "stream"]]
