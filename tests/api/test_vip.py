"""Addresses of hosts without an address."""

import ipaddress

from weft.api.vip import VIP_NETWORK, vip_for


def test_a_host_keeps_its_address_and_others_have_others() -> None:
    assert vip_for("API.example.com.") == vip_for("api.example.com")
    found = {vip_for(f"host-{n}.example.com") for n in range(200)}
    assert len(found) == 200
    assert all(ipaddress.IPv4Address(a) in VIP_NETWORK for a in found)
