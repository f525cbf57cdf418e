"""Chunks in random orders, repeated, changed, with gaps, against a model that knows no order."""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import StreamItem
from tests.api.conftest import Api
from tests.scripts.bench import Bench
from tests.scripts.shard import load_scripts
from tests.servers import RedisServer
from tests.streams.site import Site, read

MAX_BYTES, MAX_CHUNKS = 30, 8
CHUNK = st.tuples(st.integers(0, 9), st.sampled_from([b"", b"a", b"bc", b"\0\xff", b"d" * 12]), st.booleans())
_numbers = count(1)


class Model:
    """What a stream must hold and answer."""

    def __init__(self) -> None:
        self.chunks: dict[int, bytes] = {}
        self.final = -1

    def take(self, seq: int, data: bytes, final: bool) -> str:
        if seq in self.chunks:
            same = self.chunks[seq] == data and (not final or self.final == seq)
            return "DUPLICATE" if same else "CONFLICT"
        late = final and (self.final >= 0 or seq < max(self.chunks, default=-1))
        if late or 0 <= self.final < seq:
            return "CONFLICT"
        if seq >= MAX_CHUNKS or self.size + len(data) > MAX_BYTES:
            return "FULL"
        self.chunks[seq] = data
        self.final = seq if final else self.final
        return "OK"

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks.values()))

    @property
    def missing(self) -> int:
        return next(seq for seq in count() if seq not in self.chunks)

    @property
    def whole(self) -> bool:
        return self.missing > max([self.final, *self.chunks])


@pytest.fixture
def bench(redis_server: RedisServer) -> Bench:
    client: Redis = redis_server.client()
    client.flushall()
    load_scripts(client)
    bench = Bench(client)
    bench.queue("jobs")
    return bench


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.lists(CHUNK, max_size=6), max_size=8))
def test_every_order_of_chunks_is_the_models(
    bench: Bench, calls: list[list[tuple[int, bytes, bool]]]
) -> None:
    model, keys = Model(), bench.keys.stream(f"0190ffff-0000-7000-8000-{next(_numbers):012x}")

    def call(verb: str, chunks: list[tuple[int, bytes, bool]]) -> list[list[object]]:
        items = [StreamItem(seq, data, 1 if final else "") for seq, data, final in chunks]
        said = ("jobs", "{}", MAX_BYTES, MAX_CHUNKS, "") if verb == "open" else ("",) * 5
        return bench.run(binding.stream_call(bench.keys, keys, verb, "pat", *said, items)).items

    call("open", [])
    for chunks in calls:
        *replies, last = call("append", chunks)
        assert [reply[0] for reply in replies] == [model.take(*chunk) for chunk in chunks]
        highest = max(model.chunks, default=-1)
        assert last[1:] == [b"open", model.missing, highest, model.final, len(model.chunks), model.size]
    (closed,) = call("close", [])
    assert closed[0] == ("OK" if model.whole else "MORE")
    held = bench.client.hgetall(keys.key("chunks"))
    assert {int(seq): data for seq, data in held.items()} == model.chunks


@pytest.mark.parametrize("seed", range(3))
async def test_any_content_cut_anyhow_comes_out_equal(api: Api, seed: int) -> None:
    chance, site = random.Random(seed), await Site.of(api)
    content = chance.randbytes(chance.choice([1, 1000, 50_000]))
    cuts = sorted(chance.choices(range(len(content) + 1), k=chance.randrange(300)))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    sent = [*range(len(pieces)), *chance.choices(range(len(pieces)), k=50)]
    chance.shuffle(sent)
    stream = await site.open(content_type="application/octet-stream")
    for at in range(0, len(sent), 37):
        seqs = sent[at : at + 37]
        chunks = [{"seq": seq, "data": b64encode(pieces[seq]).decode()} for seq in seqs]
        told = read(await api.http.post(f"{stream}/chunks", json={"chunks": chunks}))
        assert {item.get("result") for item in told["results"]} <= {"stored", "duplicate"}
    assert b64decode((await site.get(f"{stream}/assembled"))["data"]) == content
    message = await site.get(f"{site.scope}/messages/{(await site.close(stream))['message_id']}")
    assert b64decode(message["body"]) == content
