"""What leaves a pod's link, whatever the pod does in its own network: frames sent as bytes."""

import socket
import struct
from pathlib import Path

import pytest

from tests.node.test_network_netns import network
from tests.outside import inside
from weft.node.linux.links import ARP, IPV4, link_address

pytestmark = [pytest.mark.slow, pytest.mark.root]

EVERYBODY = b"\xff" * 6
IPV6, VLAN = 0x86DD, 0x8100


def frame(sender: bytes, kind: int, content: bytes) -> bytes:
    return EVERYBODY + sender + struct.pack(">H", kind) + content


def datagram(source: str, target: str, text: bytes) -> bytes:
    """UDP in IPv4; a bridge that filters drops headers whose check sum is wrong."""
    udp = struct.pack(">HHHH", 5000, 5000, 8 + len(text), 0) + text
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    parts = (0x45, 0, 20 + len(udp), 1, 0, 64, 17)
    total = sum(struct.unpack(">10H", struct.pack(">BBHHHBBH", *parts, 0) + ends))
    check = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return struct.pack(">BBHHHBBH", *parts, check) + ends + udp


def arp(link: bytes, address: str, text: bytes) -> bytes:
    """`address` is at `link`."""
    said = struct.pack(">HHBBH", 1, IPV4, 6, 4, 2) + link + socket.inet_aton(address)
    return said + EVERYBODY + bytes(4) + text


def packets(netns: str) -> socket.socket:
    def make() -> socket.socket:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        found.bind(("eth0", 0))
        found.settimeout(10)
        return found

    made: socket.socket = inside(netns, make)
    return made


async def test_a_pod_sends_in_its_own_name_only() -> None:
    async with network() as pods:
        thief, victim = await pods.create("thief"), await pods.create("victim")
        assert pods.missing == ""
        own, other = link_address(thief.address), link_address(victim.address)
        to = victim.address
        sent = (
            frame(own, IPV4, datagram(victim.address, to, b"bad: the victim's own address")),
            frame(own, IPV4, datagram(pods.node_address, to, b"bad: the node's address")),
            frame(own, IPV4, datagram("192.0.2.1", to, b"bad: an address from elsewhere")),
            frame(other, IPV4, datagram(thief.address, to, b"bad: another's hardware address")),
            frame(own, ARP, arp(own, pods.node_address, b"bad: the node is here")),
            frame(own, ARP, arp(other, thief.address, b"bad: hardware address of another")),
            frame(own, IPV6, b"bad: IPv6".ljust(60)),
            frame(own, VLAN, b"\0\1\x08\0" + datagram(victim.address, to, b"bad: a VLAN")),
            frame(own, ARP, arp(own, thief.address, b"good: who it is")),
            frame(own, IPV4, datagram(thief.address, to, b"good: the end")),
        )
        hears, speaks = packets(victim.netns), packets(thief.netns)
        for each in sent:
            speaks.send(each)
        heard: list[bytes] = []
        while not any(b"the end" in each for each in heard):
            heard.append(hears.recv(2000))
        assert [each for each in heard if b"bad:" in each] == []
        assert any(b"who it is" in each for each in heard)
        hears.close()
        speaks.close()


async def test_the_next_pod_with_an_address_is_guarded_too() -> None:
    async with network() as pods:
        first = await pods.create("first")
        await pods.delete("first")
        pods._last_host = 1
        again, victim = await pods.create("again"), await pods.create("victim")
        assert again.address == first.address
        own = link_address(again.address)
        hears, speaks = packets(victim.netns), packets(again.netns)
        speaks.send(frame(own, IPV4, datagram("192.0.2.1", victim.address, b"bad")))
        speaks.send(frame(own, IPV4, datagram(again.address, victim.address, b"good")))
        heard = b""
        while b"good" not in heard:
            heard += hears.recv(2000)
        assert b"bad" not in heard
        address = Path(f"/sys/class/net/{pods._link_name(again.address)}").exists()
        assert address, "its device has the name that the rules are for"
        hears.close()
        speaks.close()
