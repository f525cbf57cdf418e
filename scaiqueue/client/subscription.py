"""Server-Sent Events of a scope, resumed after a broken connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from scaiqueue.client.errors import ClientError, Unreachable, of_answer
from scaiqueue.client.exchange import Exchange
from scaiqueue.client.messages import Event

_event = msgspec.json.Decoder(Event)


async def events(exchange: Exchange, path: str, after: str | None) -> AsyncGenerator[Event]:
    """Raises Refused, and Unreachable when even repeated attempts bring nothing."""
    failures = 0
    while True:
        try:
            async for place, content in _frames(exchange, path, after):
                failures, after = 0, place or after
                if content:
                    event = _event.decode(content)
                    event.place = place
                    yield event
            error: ClientError = Unreachable("the stream of events ended")
        except ClientError as broken:
            error = broken
        failures += 1
        pause_s = exchange.backoff.wait_s(failures, error)
        if pause_s is None:
            raise error
        await asyncio.sleep(pause_s)


async def _frames(exchange: Exchange, path: str, after: str | None) -> AsyncGenerator[tuple[str, str]]:
    """Place and data of each event; a place without data moves on what is resumed from."""
    headers = {**exchange.headers, "Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = after
    async with exchange.transport.stream(path, headers) as (answer, parts):
        if answer.status >= 400:
            raise of_answer(answer.status, answer.content)
        kept, place, data = b"", "", list[str]()
        async for part in parts:
            *lines, kept = (kept + part).split(b"\n")
            for line in lines:
                name, _, value = line.rstrip(b"\r").decode().partition(":")
                value = value.removeprefix(" ")
                if name == "id":
                    place = value
                elif name == "data":
                    data.append(value)
                elif not line.strip():
                    yield place, "\n".join(data)
                    data = []
