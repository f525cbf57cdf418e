"""Each malformed call that the contracts allow to think of: a coded error, and not one key changed."""

from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.scripts.bad_calls import Call, bad_calls, good_call
from tests.scripts.machine_operators import Operators
from tests.scripts.shard import BUNDLE, dump


@pytest.fixture
def shard(client: Redis) -> Redis:
    """A shard with a few messages in it."""

    class OnServer(Operators):
        pass

    OnServer.client = client
    machine = OnServer()
    header = {"actor": "pat", "header": b"{}", "body": b"{}", "idem_key": "", "digest": ""}
    machine.publish(0, [{"queue": "jobs", **header}, {"queue": "prio", "delay_ms": 500, **header}])
    machine.claim(0, [1], "ordered", [("anna", 1, None, " ")])
    return client


@pytest.mark.parametrize("name", sorted(BUNDLE))
def test_a_malformed_call_is_refused_and_changes_nothing(shard: Redis, name: str) -> None:
    script = BUNDLE[name]
    if name == "restore":
        shard.delete("sq:{3}:epoch")
    before = dump(shard)
    passed = [call.about for call in bad_calls(script.contract) if not _refused(shard, name, call)]
    assert not passed
    assert dump(shard) == before
    assert not _refused(shard, name, good_call(script.contract))


def _refused(client: Redis, name: str, call: Call) -> bool:
    try:
        client.evalsha(BUNDLE[name].sha1, len(call.keys), *call.keys, *call.args)
    except ResponseError as error:
        return str(error).startswith(f"BADARG {name} ")
    return False


def test_only_a_test_server_takes_a_callers_time(shard: Redis) -> None:
    shard.hdel("sq:{3}:limits", "test_clock")
    before = dump(shard)
    clocked = [
        name
        for name, script in BUNDLE.items()
        if "@include clock" in script.source or "TIME" in script.source
    ]
    assert len(clocked) >= 13
    for name in clocked:
        assert _refused(shard, name, good_call(BUNDLE[name].contract)), name
    assert dump(shard) == before
