"""Where webhooks may go."""

from __future__ import annotations

import pytest

from scaiqueue.webhooks.addresses import Addresses


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
        "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::1", "2002:a00:1::1",
        "2001:0:7f00:1::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_into_the_own_network_they_may_not(address: str) -> None:
    assert not Addresses().allows(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_outside_they_may(address: str) -> None:
    assert Addresses().allows(address)


def test_named_networks_are_open_and_no_others() -> None:
    addresses = Addresses("10.0.0.0/8, fd00::/8")
    assert addresses.allows("10.9.8.7")
    assert addresses.allows("fd00::1")
    assert not addresses.allows("127.0.0.1")


async def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    assert await Addresses().complaint("http://localhost:8080/") == "Leads to a private address"
    assert await Addresses("127.0.0.0/8,::1/128").complaint("http://localhost:8080/") is None
    assert await Addresses().complaint("https://no-such-name.invalid/") is None
