"""A Redis user who is limited to a shard, as docs/direct-callers.md makes one: what it can and can't do."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from tests.scripts.conformance_format import FOLDER, as_bytes, as_text, evaluate, keys_as_json, reply_as_json
from tests.scripts.shard import BUNDLE
from tests.servers import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "direct-callers.md"
PASSWORD = "a long password"
# Verbs of a producer and a consumer; the rest are ScaiQueue's own, though this user could call them too.
VERBS = ("publish", "claim", "complete", "fail", "extend", "release", "cancel")


def user_of_the_page(page: Path, name: str, shard: int = 15) -> list[str]:
    """The page's `ACL SETUSER` for a user, with another shard in the place of its 15."""
    command = rf"^redis-cli (ACL SETUSER {name} .*?)$\n^```$"
    (found,) = re.findall(command, page.read_text(), re.DOTALL | re.MULTILINE)
    return [word.replace("{15}", f"{{{shard}}}") for word in shlex.split(found.replace("\\\n", " "))]


@pytest.fixture
def limited(client: Redis, redis_server: RedisServer) -> Iterator[Redis]:
    """Limited to shard 3, where the cases are."""
    client.execute_command(*user_of_the_page(PAGE, "billing", 3))
    with Redis(unix_socket_path=str(redis_server.socket), username="billing", password=PASSWORD) as connected:
        yield connected
    client.execute_command("ACL", "DELUSER", "billing")


def test_it_may_call_what_the_scripts_call() -> None:
    sources = "".join(file.read_text() for file in (PAGE.parents[1] / "lua").rglob("*.lua"))
    called = {name.lower() for name in re.findall(r'redis\.call\(\s*"([A-Z]+)"', sources)}
    granted = {rule[1:] for rule in user_of_the_page(PAGE, "billing") if rule.startswith("+")}
    assert granted == {*called, "evalsha", "ping", "subscribe", "unsubscribe"}


@pytest.mark.parametrize("script", VERBS)
def test_every_case_of_a_verb_holds_for_the_limited_user(client: Redis, limited: Redis, script: str) -> None:
    for case in json.loads((FOLDER / f"{script}.json").read_text()):
        client.flushall()
        for command in case["setup"]:
            if command[0] == "SCRIPT":
                evaluate(client, *command[1:])
            else:
                client.execute_command(*command)
        call = case["call"]
        reply = evaluate(limited, call["script"], call["keys"], call["args"])
        assert as_text(reply_as_json(script, reply)) == as_text(case["reply"]), case["name"]
        assert as_text(keys_as_json(client)) == as_text(case["keys"]), case["name"]


def test_it_finds_the_scripts_and_hears_its_shard(limited: Redis, client: Redis) -> None:
    client.hset("sq:scripts", "publish", BUNDLE["publish"].sha1)
    assert limited.hget("sq:scripts", "publish") == BUNDLE["publish"].sha1.encode()
    with limited.pubsub() as listening:
        listening.subscribe("sq:{3}:wake", "sq:{3}:committed")
        assert listening.get_message(timeout=5) is not None


@pytest.mark.parametrize(
    "command",
    [
        "GET sq:{4}:epoch",
        "HSET sq:{4}:limits backlog_limit 1",
        "HSET sq:scripts publish 0",
        "GET saq:anything",
        "SUBSCRIBE sq:{4}:wake",
        "PUBLISH sq:{4}:committed 1-1",
        "SCRIPT FLUSH",
        "SCRIPT LOAD anything",
        "EVAL return(1) 0",
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET dir",
        "XTRIM sq:{3}:journal MAXLEN 0",
    ],
)
def test_everything_else_is_refused(limited: Redis, command: str) -> None:
    with pytest.raises(NoPermissionError):
        limited.execute_command(*command.split())


@pytest.mark.parametrize("script", VERBS)
def test_no_script_reaches_another_shard(client: Redis, limited: Redis, script: str) -> None:
    call = json.loads((FOLDER / f"{script}.json").read_text())[0]["call"]
    keys = [key.replace("{3}", "{4}") for key in call["keys"]]
    client.flushall()
    with pytest.raises(NoPermissionError):
        limited.evalsha(BUNDLE[script].sha1, len(keys), *keys, *map(as_bytes, call["args"]))
    assert client.dbsize() == 0
