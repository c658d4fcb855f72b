"""The node's DNS server for its pods: UDP and TCP. What it does not know it asks the machine's
own resolvers.

Two may listen at one address, so that a new one takes over from an old one without a gap."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset

from weft.api.wellknown import CLUSTER_DOMAIN
from weft.lib.aio import Tasks
from weft.node.dns.names import Names
from weft.node.dns.zone import TTL_SECONDS, Answer, Record, answer
from weft.node.linux import inside

UPSTREAM_PORT = 53
UPSTREAM_TIMEOUT_SECONDS = 2.0
"""For one resolver; the next is asked then."""
FORWARDS_MAX = 256
"""Questions forwarded at once; further ones get SERVFAIL."""
TCP_IDLE_SECONDS = 10.0
TCP_CONNECTIONS_MAX = 128
UDP_PAYLOAD_MAX = 1232
"""Larger answers go over TCP (the DNS flag day's advice)."""
ALIASES_MAX = 8
_SOA = f"ns.dns.{CLUSTER_DOMAIN}. hostmaster.{CLUSTER_DOMAIN}. 1 7200 1800 86400 {TTL_SECONDS}"
_SIZE = struct.Struct("!H")

FREE_PORT_ATTEMPTS_MAX = 5

QUESTION_BYTES_MAX = 4096
QUESTIONS_AT_ONCE = 32
"""Taken from the socket before anything else gets its turn."""
DRAIN_SECONDS_MAX = 2.0
"""For answers of the machine's resolvers that are on their way."""
_DRAIN_POLL_SECONDS = 0.02
_DISCARD_PORT = 9


class DnsServer:
    """One per node. `start`, then `close`."""

    def __init__(self, names: Callable[[], Names | None]) -> None:
        """`names` are those of now; None: nobody said any yet, and every question fails."""
        self._names = names
        self._tasks = Tasks()
        self._udp: socket.socket | None = None
        self._tcp: asyncio.Server | None = None
        self._forwarding = 0
        self._connections = 0

    async def start(self, address: str, port: int, netns: str = "") -> int:
        """Listen, in the network namespace at this path; the port (useful when 0 was asked for).
        OSError when it is taken."""
        for attempts_left in range(0 if port else FREE_PORT_ATTEMPTS_MAX, -1, -1):
            try:
                return await self._listen(address, port, netns)
            except OSError:
                if not attempts_left:
                    raise
        raise AssertionError("unreachable")

    async def _listen(self, address: str, port: int, netns: str) -> int:
        """Over UDP and TCP on the same port; a free one for UDP may be taken for TCP."""
        udp = _bound(socket.SOCK_DGRAM, address, port, netns)
        bound: int = udp.getsockname()[1]
        try:
            listener = _bound(socket.SOCK_STREAM, address, bound, netns)
            self._tcp = await asyncio.start_server(self._serve_tcp, sock=listener)
        except OSError:
            udp.close()
            raise
        self._udp = udp
        asyncio.get_running_loop().add_reader(udp, self._questions)
        return bound

    async def close(self) -> None:
        """Stop answering: what was asked before still is. Idempotent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                while self._forwarding:  # noqa: ASYNC110 - once, at the end
                    await asyncio.sleep(_DRAIN_POLL_SECONDS)
        if self._udp is not None:
            # One that has a peer gets no more questions; those that it has are still answered.
            with contextlib.suppress(OSError):
                self._udp.connect((self._udp.getsockname()[0], _DISCARD_PORT))
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
            self._questions()
            asyncio.get_running_loop().remove_reader(self._udp)
            self._udp.close()
            self._udp = None
        if self._tcp is not None:
            self._tcp.close()
        await self._tasks.close()

    # --- transports

    def _questions(self) -> None:
        """Those by UDP that are there. What can be answered at once is."""
        for _ in range(QUESTIONS_AT_ONCE):
            if self._udp is None:
                return
            try:
                data, source = self._udp.recvfrom(QUESTION_BYTES_MAX)
            except OSError:  # no more
                return
            made = self._answer(data, source[0], UDP_PAYLOAD_MAX)
            if isinstance(made, bytes):
                self._send(made, source)
            elif made is not None:
                self._tasks.spawn(self._answer_later(made, data, source), "dns-forward")

    def _send(self, reply: bytes, to: tuple[str, int]) -> None:
        """Whoever does not get it asks again."""
        if self._udp is not None:
            with contextlib.suppress(OSError):
                self._udp.sendto(reply, to)

    async def _answer_later(
        self, question: dns.message.Message, data: bytes, source: tuple[str, int]
    ) -> None:
        self._send(await self._forward(question, data, tcp=False), source)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")[0]
        self._connections += 1
        try:
            while self._connections <= TCP_CONNECTIONS_MAX:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    size = _SIZE.unpack(await reader.readexactly(_SIZE.size))[0]
                    data = await reader.readexactly(size)
                made = self._answer(data, source, 0xFFFF)
                if made is None:
                    break
                reply = made if isinstance(made, bytes) else await self._forward(made, data, True)
                writer.write(_SIZE.pack(len(reply)) + reply)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections -= 1
            writer.close()

    # --- answers

    def _answer(
        self, data: bytes, source: str, size_max: int
    ) -> bytes | dns.message.Message | None:
        """The reply; or the question when it is for others; or None when there is none."""
        try:
            question = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return None
        if question.flags & dns.flags.QR:
            return None
        if question.opcode() != dns.opcode.QUERY or len(question.question) != 1:
            return _failure(question, dns.rcode.NOTIMP)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        names = self._names()
        if names is None:
            return _failure(question, dns.rcode.SERVFAIL)
        namespace = names.namespaces.get(source, "")
        found = answer(names.zone, name, kind, namespace)
        if found is None:
            return question
        found = _with_aliases(names, found, kind, namespace)
        if _leads_out(found, kind):
            return question
        if question.edns >= 0:
            size_max = min(size_max, max(question.payload, 512)) if size_max < 0xFFFF else size_max
        elif size_max < 0xFFFF:
            size_max = 512
        try:
            return _reply(question, found, size_max)
        except dns.exception.DNSException:  # an object holds a name that DNS cannot carry
            return _failure(question, dns.rcode.SERVFAIL)

    async def _forward(self, question: dns.message.Message, data: bytes, tcp: bool) -> bytes:
        """Ask the machine's resolvers, one after the other; SERVFAIL when none answers."""
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True)
        names = self._names()
        if names is None or self._forwarding >= FORWARDS_MAX:
            return _failure(question, dns.rcode.SERVFAIL)
        found = answer(names.zone, name, dns.rdatatype.to_text(asked.rdtype), "")
        alias = found.records[0] if found is not None and found.records else None
        upstreams = tuple(_endpoint(text) for text in names.upstreams)
        self._forwarding += 1
        try:
            if alias is None or alias.type != "CNAME":
                return await _ask(upstreams, data, tcp) or _failure(question, dns.rcode.SERVFAIL)
            try:
                target = dns.message.make_query(alias.data, asked.rdtype)
            except dns.exception.DNSException:
                return _failure(question, dns.rcode.SERVFAIL)
            reply = await _ask(upstreams, target.to_wire(), tcp)
            return _aliased(question, alias, reply)
        finally:
            self._forwarding -= 1


def _bound(kind: int, address: str, port: int, netns: str) -> socket.socket:
    """The old server and the new one share a port."""
    made = inside.bound_socket(kind, address, port, netns, shared=bool(port))
    made.setblocking(False)
    return made


def _with_aliases(names: Names, found: Answer, kind: str, namespace: str) -> Answer:
    """Follow CNAMEs to names of our own."""
    records = list(found.records)
    for _ in range(ALIASES_MAX):
        last = records[-1] if records else None
        if last is None or last.type != "CNAME" or kind == "CNAME":
            break
        following = answer(names.zone, last.data, kind, namespace)
        if following is None or not following.records:
            break
        records += following.records
    return Answer(tuple(records), found.additional, found.missing)


async def _ask(upstreams: Iterable[tuple[str, int]], data: bytes, tcp: bool) -> bytes | None:
    """The first answer of resolvers that are asked one after the other."""
    for upstream in upstreams:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(UPSTREAM_TIMEOUT_SECONDS):
                return await (_ask_tcp if tcp else _ask_udp)(upstream, data)
    return None


class _Reply(asyncio.DatagramProtocol):
    """Waits for the answer with the question's number."""

    def __init__(self, number: bytes) -> None:
        self._number = number
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._number and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _ask_udp(upstream: tuple[str, int], data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: _Reply(data[:2]), remote_addr=upstream
    )
    try:
        transport.sendto(data)
        return await protocol.answer
    finally:
        transport.close()


async def _ask_tcp(upstream: tuple[str, int], data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*upstream)
    try:
        writer.write(_SIZE.pack(len(data)) + data)
        size = _SIZE.unpack(await reader.readexactly(_SIZE.size))[0]
        return await reader.readexactly(size)
    finally:
        writer.close()


def _endpoint(text: str) -> tuple[str, int]:
    host, _, port = text.partition("#")
    return host, int(port or UPSTREAM_PORT)


def _leads_out(found: Answer, kind: str) -> bool:
    """Whether it ends in a name that only others can resolve."""
    return bool(found.records) and found.records[-1].type == "CNAME" and kind != "CNAME"


def _reply(question: dns.message.Message, found: Answer, size_max: int) -> bytes:
    reply = dns.message.make_response(question, recursion_available=True)
    reply.flags |= dns.flags.AA
    if found.missing:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    for section, records in ((reply.answer, found.records), (reply.additional, found.additional)):
        for rrset in _rrsets(records):
            section.append(rrset)
    if not found.records:
        reply.authority.append(
            dns.rrset.from_text(f"{CLUSTER_DOMAIN}.", TTL_SECONDS, "IN", "SOA", _SOA)
        )
    try:
        return bytes(reply.to_wire(max_size=size_max))
    except dns.exception.TooBig:
        short = dns.message.make_response(question, recursion_available=True)
        short.flags |= dns.flags.TC
        return bytes(short.to_wire())


def _rrsets(records: tuple[Record, ...]) -> list[dns.rrset.RRset]:
    """Records of one name and type together."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for record in records:
        grouped.setdefault((record.name, record.type), []).append(record.data)
    return [
        dns.rrset.from_text_list(dns.name.from_text(name), TTL_SECONDS, "IN", kind, data)
        for (name, kind), data in grouped.items()
    ]


def _aliased(question: dns.message.Message, alias: Record, reply: bytes | None) -> bytes:
    """The alias, and what others say about its target."""
    made = dns.message.make_response(question, recursion_available=True)
    made.answer += _rrsets((alias,))
    try:
        if reply is None:
            raise dns.exception.DNSException
        outside = dns.message.from_wire(reply)
        made.answer += outside.answer
        made.set_rcode(outside.rcode())
    except dns.exception.DNSException:
        return _failure(question, dns.rcode.SERVFAIL)
    return bytes(made.to_wire())


def _failure(question: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    reply = dns.message.make_response(question, recursion_available=True)
    reply.set_rcode(code)
    return bytes(reply.to_wire())
