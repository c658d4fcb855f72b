"""The DNS server on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest_asyncio

from tests.node.test_dns_records import service, slice_of
from weft.api.k8s.core_v1 import Service
from weft.node.dns import DnsServer
from weft.runtime.cache import Cache

SVC = "svc.cluster.local"


class Upstream(asyncio.DatagramProtocol):
    """A resolver outside that knows one name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = dns.message.from_wire(data)
        self.asked.append(question.question[0].name.to_text())
        if self.silent:
            return
        reply = dns.message.make_response(question)
        name = question.question[0].name.to_text()
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "203.0.113.9"))
        self.transport.sendto(reply.to_wire(), addr)


class Running:
    def __init__(self, server: DnsServer, port: int, upstream: Upstream, cache: Cache) -> None:
        self.server, self.port, self.upstream, self.cache = server, port, upstream, cache

    async def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await send(query, "127.0.0.1", timeout=5, port=self.port)

    async def data(self, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
        reply = await self.ask(name, kind, tcp=tcp)
        return [item.to_text() for rrset in reply.answer for item in rrset]


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    from weft.node.dns import CLASSES

    cache = Cache(CLASSES)
    cache.put(service("web", "10.96.0.7"))
    cache.put(service("alias", "", type="ExternalName", externalName="api.example.com"))
    cache.put(service("inner", "", type="ExternalName", externalName=f"web.shop.{SVC}"))
    loop = asyncio.get_running_loop()
    transport, upstream = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    outside = transport.get_extra_info("sockname")[1]
    server = DnsServer(cache, lambda address: "shop", (f"127.0.0.1#{outside}",))
    port = await server.start("127.0.0.1", 0)
    yield Running(server, port, upstream, cache)
    await server.close()
    transport.close()


async def test_names_of_services_over_udp_and_tcp(running: Running) -> None:
    assert await running.data(f"web.shop.{SVC}") == ["10.96.0.7"]
    assert await running.data(f"web.shop.{SVC}", tcp=True) == ["10.96.0.7"]
    assert await running.data(f"_http._tcp.web.shop.{SVC}", "SRV") == [f"0 100 80 web.shop.{SVC}."]
    missing = await running.ask(f"nope.shop.{SVC}")
    assert missing.rcode() == dns.rcode.NXDOMAIN
    assert missing.authority, "negative answers carry the SOA, else nobody may cache them"
    empty = await running.ask(f"web.shop.{SVC}", "AAAA")
    assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])


async def test_changes_show_at_once(running: Running) -> None:
    running.cache.remove(Service, ("shop", "web"))
    assert (await running.ask(f"web.shop.{SVC}")).rcode() == dns.rcode.NXDOMAIN


async def test_other_names_go_to_the_machines_resolvers(running: Running) -> None:
    assert await running.data("www.example.com") == ["203.0.113.9"]
    assert running.upstream.asked == ["www.example.com."]


async def test_aliases_are_followed_inside_and_outside(running: Running) -> None:
    assert await running.data(f"inner.shop.{SVC}") == [f"web.shop.{SVC}.", "10.96.0.7"]
    assert await running.data(f"alias.shop.{SVC}") == ["api.example.com.", "203.0.113.9"]


async def test_answers_too_large_for_udp_are_truncated_and_whole_over_tcp(
    running: Running,
) -> None:
    running.cache.put(service("many", "None"))
    endpoints = [{"addresses": [f"10.244.{i // 250}.{i % 250 + 1}"]} for i in range(100)]
    running.cache.put(slice_of("many", *endpoints))
    short = await running.ask(f"many.shop.{SVC}")
    assert short.flags & dns.flags.TC
    assert len(await running.data(f"many.shop.{SVC}", tcp=True)) == 100


async def test_an_alias_that_dns_cannot_carry_is_servfail(running: Running) -> None:
    """Kubernetes bounds the length of externalName, not of its labels."""
    name = f"{'a' * 64}.example.com"
    running.cache.put(service("long", "", type="ExternalName", externalName=name))
    for tcp in (False, True):
        for kind in ("A", "CNAME"):
            reply = await running.ask(f"long.shop.{SVC}", kind, tcp=tcp)
            assert reply.rcode() == dns.rcode.SERVFAIL


async def test_garbage_is_ignored_and_the_server_lives_on(running: Running) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", running.port)
    )
    for data in (b"", b"\x00", b"\xff" * 40, b"\x00\x01\x01\x00\x00\x01"):
        transport.sendto(data)
    transport.close()
    assert await running.data(f"web.shop.{SVC}") == ["10.96.0.7"]


async def test_without_resolvers_the_answer_is_servfail() -> None:
    server = DnsServer(Cache(), lambda address: "", ())
    port = await server.start("127.0.0.1", 0)
    query = dns.message.make_query("www.example.com", "A")
    reply = await dns.asyncquery.udp(query, "127.0.0.1", timeout=5, port=port)
    assert reply.rcode() == dns.rcode.SERVFAIL
    await server.close()
