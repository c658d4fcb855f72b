"""The DNS server as it runs: a process, and a file in which it finds the names."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import pytest
import pytest_asyncio
from msgspec import Struct

from tests.node.machine import alive, kill, podhost
from tests.node.test_dns_records import service, slice_of
from tests.waiting import until
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.lib.aio import Tasks
from weft.lib.files import replace_file
from weft.node import dns_process
from weft.node.dns_keeper import NamesKeeper
from weft.node.dns_process import PROGRAM, DnsProcess, names_file
from weft.node.dns_records import CLASSES
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
    def __init__(self, port: int, upstream: Upstream, cache: Cache, keeper: NamesKeeper) -> None:
        self.port, self.upstream, self.cache, self.keeper = port, upstream, cache, keeper

    async def put(self, *objects: Struct) -> None:
        for each in objects:
            self.cache.put(each)
        await self.keeper.write()

    async def ask(self, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await send(query, "127.0.0.1", timeout=20, port=self.port)

    async def data(self, name: str, kind: str = "A", *, tcp: bool = False) -> list[str]:
        reply = await self.ask(name, kind, tcp=tcp)
        return [item.to_text() for rrset in reply.answer for item in rrset]


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="weft-dns-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def port(directory: Path) -> Iterator[int]:
    """Of a server process that nobody has told any names yet."""
    bound = directory / "port"
    command = [sys.executable, "-I", str(PROGRAM), str(directory / "names")]
    with subprocess.Popen([*command, "127.0.0.1", "0", str(bound), ""]) as process:
        try:
            deadline = time.monotonic() + 20
            while not bound.exists():
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.01)
            yield int(bound.read_text())
        finally:
            process.terminate()
            try:
                assert process.wait(20) == 0
            finally:
                process.kill()


async def test_before_anybody_said_names_every_question_fails(port: int) -> None:
    for name in (f"web.shop.{SVC}", "www.example.com"):
        query = dns.message.make_query(name, "A")
        reply = await dns.asyncquery.udp(query, "127.0.0.1", timeout=20, port=port)
        assert reply.rcode() == dns.rcode.SERVFAIL


@pytest_asyncio.fixture
async def running(directory: Path, port: int) -> AsyncIterator[Running]:
    cache = Cache(CLASSES)
    loop = asyncio.get_running_loop()
    transport, upstream = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    outside = transport.get_extra_info("sockname")[1]
    pods = {"127.0.0.1": "shop"}
    keeper = NamesKeeper(directory / "names", cache, lambda: pods, (f"127.0.0.1#{outside}",))
    made = Running(port, upstream, cache, keeper)
    await made.put(
        service("web", "10.96.0.7"),
        service("alias", "", type="ExternalName", externalName="api.example.com"),
        service("inner", "", type="ExternalName", externalName=f"web.shop.{SVC}"),
    )
    yield made
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
    """As the daemon writes them: by itself, when an object changes."""
    running.cache.put(service("db", "None"))
    running.keeper.object_changed(Service, None, service("db", "None"))
    tasks = Tasks()
    tasks.spawn(running.keeper.run(), "names")
    try:
        await comes(running, f"db.shop.{SVC}", dns.rcode.NXDOMAIN)  # no endpoint
        piece = slice_of("db", {"addresses": ["10.244.0.9"]})
        running.cache.put(piece)
        running.keeper.object_changed(EndpointSlice, None, piece)
        await comes(running, f"db.shop.{SVC}", dns.rcode.NOERROR)
        assert await running.data(f"db.shop.{SVC}") == ["10.244.0.9"]
        running.cache.remove(Service, ("shop", "web"))
        running.keeper.object_changed(Service, service("web", "10.96.0.7"), None)
        await comes(running, f"web.shop.{SVC}", dns.rcode.NXDOMAIN)
    finally:
        await tasks.close()


async def comes(running: Running, name: str, code: dns.rcode.Rcode) -> None:
    async with asyncio.timeout(20):
        while (await running.ask(name)).rcode() != code:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_names_that_cannot_be_read_change_nothing(running: Running, directory: Path) -> None:
    assert await running.data(f"web.shop.{SVC}") == ["10.96.0.7"]
    replace_file(directory / "names", b"\xc1")
    assert await running.data(f"web.shop.{SVC}") == ["10.96.0.7"]


async def test_other_names_go_to_the_machines_resolvers(running: Running) -> None:
    assert await running.data("www.example.com") == ["203.0.113.9"]
    assert running.upstream.asked == ["www.example.com."]


async def test_aliases_are_followed_inside_and_outside(running: Running) -> None:
    assert await running.data(f"inner.shop.{SVC}") == [f"web.shop.{SVC}.", "10.96.0.7"]
    assert await running.data(f"alias.shop.{SVC}") == ["api.example.com.", "203.0.113.9"]


async def test_answers_too_large_for_udp_are_truncated_and_whole_over_tcp(
    running: Running,
) -> None:
    endpoints = [{"addresses": [f"10.244.{i // 250}.{i % 250 + 1}"]} for i in range(100)]
    await running.put(service("many", "None"), slice_of("many", *endpoints))
    short = await running.ask(f"many.shop.{SVC}")
    assert short.flags & dns.flags.TC
    assert len(await running.data(f"many.shop.{SVC}", tcp=True)) == 100


async def test_an_alias_that_dns_cannot_carry_is_servfail(running: Running) -> None:
    """Kubernetes bounds the length of externalName, not of its labels."""
    name = f"{'a' * 64}.example.com"
    await running.put(service("long", "", type="ExternalName", externalName=name))
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


async def test_without_resolvers_the_answer_is_servfail(running: Running, directory: Path) -> None:
    keeper = NamesKeeper(directory / "names", running.cache, dict, ())
    await keeper.write()
    assert (await running.ask("www.example.com")).rcode() == dns.rcode.SERVFAIL


# --- kept up by the pod host


async def answers(port: int, seconds: float = 20.0) -> list[str]:
    query = dns.message.make_query(f"web.shop.{SVC}", "A")
    reply = await dns.asyncquery.udp(query, "127.0.0.1", timeout=seconds, port=port)
    return [item.to_text() for rrset in reply.answer for item in rrset]


def free_port() -> int:
    """For UDP and for TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])


@pytest.mark.slow
async def test_a_killed_server_is_back_and_knows_the_names(tmp_path: Path) -> None:
    async with podhost() as (runtime, directory):
        cache, port = Cache(CLASSES), free_port()
        cache.put(service("web", "10.96.0.7"))
        await NamesKeeper(names_file(directory), cache, dict, ()).write()

        def process() -> DnsProcess:
            return DnsProcess(runtime, directory, "127.0.0.1", port, log_path=tmp_path / "dns.log")

        await process().start()
        assert await process().ready() == port
        (first,) = await runtime.list()
        await process().start()
        assert await runtime.list() == (first,), "one that was started just like this is adopted"
        kill(first.pid)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(OSError, dns.exception.DNSException):
                    if await answers(port, 0.2) == ["10.96.0.7"]:
                        break
                await asyncio.sleep(0.01)
        (second,) = await runtime.list()
        assert (second.id, second.restarts) == (first.id, 1)
        await process().stop()
        assert await runtime.list() == ()
        assert not alive(second.pid)


@pytest.mark.slow
async def test_another_version_takes_over_without_a_lost_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with podhost() as (runtime, directory):
        cache, port = Cache(CLASSES), free_port()
        cache.put(service("web", "10.96.0.7"))
        await NamesKeeper(names_file(directory), cache, dict, ()).write()
        answered, over = [0] * 4, asyncio.Event()

        async def ask(caller: int) -> None:
            while not over.is_set():  # one that gets no answer waits, and counts no more
                assert await answers(port) == ["10.96.0.7"]
                answered[caller] += 1

        async def process() -> None:
            made = DnsProcess(runtime, directory, "127.0.0.1", port, log_path=tmp_path / "dns.log")
            await made.start()
            await made.ready()

        await process()
        before = await runtime.list()
        tasks = Tasks()
        callers = [tasks.spawn(ask(caller), "caller") for caller in range(len(answered))]
        monkeypatch.setattr(dns_process, "__version__", "another")
        await process()
        after = await runtime.list()
        enough = max(answered) + 5
        await until(lambda: min(answered) > enough or any(c.done() for c in callers))
        assert not any(caller.done() for caller in callers)
        over.set()
        await asyncio.gather(*callers)
        assert len(before) == len(after) == 1
        assert before[0].id != after[0].id
        assert not alive(before[0].pid)
