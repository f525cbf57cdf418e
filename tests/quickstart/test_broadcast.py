"""docs/broadcast.md: its blocks run as they stand, and do what the page says."""

from __future__ import annotations

from loadtest.stack import private_stack
from tests.quickstart.guide import ROOT
from tests.quickstart.test_routing import run_page

PAGE = ROOT / "docs" / "broadcast.md"


async def test_three_who_listen() -> None:
    async with private_stack() as stack:
        answers = run_page(stack.url, stack.key, PAGE)
    _scope, queue, mailer, stock, first, second, mails, stocked, seen, search, found, listed = answers
    assert (queue["consumer_mode"], mailer["holds"], stock["name"]) == ("broadcast", "orders.mailer", "stock")
    assert [message["state"] for message in (first, second)] == ["completed", "completed"]
    assert [copy["body"]["order"] for copy in mails] == [1, 2]
    assert [copy["parent_id"] for copy in mails] == [first["id"], second["id"]]
    assert [copy["body"]["order"] for copy in stocked] == [1]
    assert (seen["seen"], seen["message_id"], seen["state"]) == (True, stocked[0]["id"], "claimed")
    assert (search["state"], search["backfilled"]) == ("active", 2)
    assert [copy["body"]["order"] for copy in found] == [1, 2]
    depths = {each["name"]: (each["depth_pending"], each["depth_claimed"]) for each in listed}
    assert depths == {"mailer": (0, 2), "stock": (0, 1), "search": (0, 2)}
