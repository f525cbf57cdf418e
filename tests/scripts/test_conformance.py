"""The conformance cases, on each server; and that they say all that the headers promise."""

from __future__ import annotations

import json

import pytest
from redis import Redis

from tests.scripts.conformance_cases import as_file, record
from tests.scripts.conformance_format import FOLDER, as_text, run_case
from tests.scripts.shard import BUNDLE

CASES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


@pytest.mark.parametrize("script", sorted(CASES))
def test_the_server_answers_as_the_cases_say(client: Redis, script: str) -> None:
    for case in CASES[script]:
        reply, keys = run_case(client, case)
        assert as_text(reply) == as_text(case["reply"]), case["name"]
        assert as_text(keys) == as_text(case["keys"]), case["name"]


def test_the_files_are_what_is_told(client: Redis) -> None:
    told = {script: as_file(cases) for script, cases in record(client).items()}
    kept = {script: (FOLDER / f"{script}.json").read_text() for script in CASES}
    assert kept == told, "run `python -m tests.scripts.conformance_cases`"


def test_every_word_of_every_header_is_answered_in_a_case() -> None:
    promised = {(name, reply.word) for name, script in BUNDLE.items() for reply in script.contract.replies}
    answered = {
        (name, item.split()[0] if isinstance(item, str) else item[0])
        for name, cases in CASES.items()
        for case in cases
        for item in case["reply"][1:]
    }
    assert promised == answered
