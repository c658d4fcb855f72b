"""Everything that reads what the network sends, with what nobody should send.

Two kinds of input: bytes at random, and sound messages of which some bytes are changed, doubled or
left out. A parser gives a value or refuses in its own words; no other exception, no endless work.
`make fuzz` does the same for longer. SECURITY.md lists the parsers and where each is tested.
"""

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

import dns.message
import msgspec
import pytest
from aiohttp import WSMsgType
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.ratelimit.v3 import rls_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.api.k8s.certificates_v1 import CertificateSigningRequest
from weft.apiserver import channels, codec, protobuf, spdy
from weft.apiserver.authentication import StaticTokens
from weft.apiserver.streams import window_size
from weft.daemon.node_link import Call, Control, Peer, Reply, control
from weft.daemon.wall_keeper import read_walls
from weft.lib import join_token
from weft.node.dns.names import Names
from weft.node.dns.server import DnsServer
from weft.node.dns_records import build_zone
from weft.pki import node_requests
from weft.pki.jws import KeyRing
from weft.pki.signing_requests import SIGNERS, problem
from weft.ratelimit.gcra import Quota
from weft.ratelimit.redis_counters import RedisCounters
from weft.ratelimit.service import RateLimitService, Rule
from weft.xds import wire
from weft.xds.delta import StreamState, step
from weft.xds.resource import CLUSTER, Resource, world_of

EXAMPLES = int(os.environ.get("WEFT_FUZZ_EXAMPLES", "60"))
DEEP = b"[" * 20_000
"""Nested deeper than any reader follows."""


def hostile(*sound: bytes, deep: bytes = DEEP) -> st.SearchStrategy[bytes]:
    """Bytes at random, or sound ones with a part cut out, doubled or replaced."""

    def changed(parts: tuple[bytes, int, int, bytes]) -> bytes:
        message, start, length, new = parts
        at = start % (len(message) + 1)
        return message[:at] + new + message[at + length % 9 :]

    mutated = st.tuples(
        st.sampled_from(sound or (b"",)), st.integers(0, 4096), st.integers(0, 255),
        st.binary(max_size=12),
    ).map(changed)  # fmt: skip
    return st.one_of(st.binary(max_size=300), mutated, mutated, st.just(deep))


def fuzzed(*strategies: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    def decorate(test: Any) -> Any:
        return settings(max_examples=EXAMPLES)(given(*strategies)(test))

    return decorate


# ---------------------------------------------------------------- names


QUESTION = dns.message.make_query("web.default.svc.cluster.local", "A", use_edns=0).to_wire()
UPDATE = QUESTION[:2] + b"\x28" + QUESTION[3:]


@fuzzed(hostile(QUESTION, UPDATE))
def test_dns_messages(data: bytes) -> None:
    names = Names(build_zone((), (), ()), {"10.244.0.2": "default"}, ())
    server = DnsServer(lambda: names)
    made = server._answer(data, "10.244.0.2", 512)
    assert made is None or isinstance(made, bytes | dns.message.Message)
    if isinstance(made, bytes):
        assert len(made) <= 512


# ---------------------------------------------------------------- proxies


def _limits() -> bytes:
    request = rls_pb2.RateLimitRequest(domain="weft", hits_addend=3)
    entries = request.descriptors.add().entries
    for key, value in (("rule", "default/limit"), ("path", "/x"), ("user", "ann")):
        entries.add(key=key, value=value)
    return bytes(request.SerializeToString())


class _Context:
    async def abort(self, *_: Any) -> None:
        raise AssertionError("the counters are here")


@fuzzed(hostile(_limits()))
def test_rate_limit_requests(data: bytes) -> None:
    try:
        request = rls_pb2.RateLimitRequest.FromString(data)
    except Exception:  # gRPC refuses what is no message before the service sees it
        return
    service = RateLimitService(clock=lambda: 0.0)
    service.update([Rule("default/limit", Quota(10, 60, 10), (("path", "/x"),))])
    answer = asyncio.run(service._should_rate_limit(request, _Context()))
    assert len(answer.statuses) == len(request.descriptors)


@fuzzed(
    st.recursive(
        st.none() | st.integers() | st.binary(max_size=9) | st.text(max_size=5) | st.floats(),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=6,
    )
)
def test_answers_of_redis(answer: Any) -> None:
    """Anything that is no answer is as if there were none."""

    async def run() -> None:
        counters = RedisCounters("redis://127.0.0.1:1/0")

        async def take(**_: Any) -> Any:
            return answer

        counters._take = take  # type: ignore[assignment]
        try:
            verdict = await counters.take(("a",), Quota(10, 60, 10), 0.0, 1)
            assert verdict.remaining >= 0
        except OSError:
            pass
        finally:
            await counters.close()

    asyncio.run(run())


def _discovery() -> bytes:
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster",
        resource_names_subscribe=["*", "a"], response_nonce="1",
    )  # fmt: skip
    request.node.id = "n"
    request.initial_resource_versions["a"] = "1"
    return bytes(request.SerializeToString())


WORLD = world_of([Resource(CLUSTER, "a", "1", b"")])


@fuzzed(st.lists(hostile(_discovery()), max_size=4))
def test_discovery_requests(messages: list[bytes]) -> None:
    state = StreamState(WORLD)
    for data in messages:
        try:
            request = wire.decode_request(data)
        except wire.MalformedRequest:
            continue
        state, _, _ = step(state, request)


# ---------------------------------------------------------------- nodes


class _Socket:
    """Messages that come, then the end."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = [m.decode("utf-8", "replace") for m in messages]
        self.sent: list[str] = []

    def __aiter__(self) -> "_Socket":
        return self

    async def __anext__(self) -> Any:
        if not self._messages:
            await asyncio.sleep(0.01)
            raise StopAsyncIteration
        return _Message(self._messages.pop(0))

    async def send_str(self, text: str) -> None:
        self.sent.append(text)

    async def close(self) -> None:
        return


class _Message:
    type = WSMsgType.TEXT

    def __init__(self, data: str) -> None:
        self.data = data


SOUND = (
    msgspec.json.encode(Call(1, "walls", {"pods": {"u": {"ingress": [{"networks": ["a"]}]}}})),
    msgspec.json.encode(Call(2, "ports", {"port": [1]})),
    msgspec.json.encode(Reply(1, {"a": 1})),
    msgspec.json.encode(Reply(1, code=404, error="no", reason="NotFound")),
)
SOUND_CALL = st.sampled_from(SOUND[:2])


@fuzzed(hostile(*SOUND))
def test_node_link_messages(data: bytes) -> None:
    """An unreadable message ends the link, a call with wrong arguments is answered."""

    async def ports(args: Any) -> int:
        return int(args["port"])

    async def walls(args: Any) -> None:
        read_walls(args)

    async def run() -> list[str]:
        socket = _Socket(data)
        peer = Peer(socket, {"ports": ports, "walls": walls})  # type: ignore[arg-type]
        await asyncio.wait_for(peer.run(), 5)
        assert peer.closed
        return socket.sent

    sent = asyncio.run(run())
    try:
        found = msgspec.json.decode(data, type=Call | Reply)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    assert len(sent) == isinstance(found, Call), "each call has one answer"


@fuzzed(hostile(msgspec.json.encode(Control(exit_code=0, size=(80, 24)))))
def test_stream_control_frames(data: bytes) -> None:
    assert isinstance(control(data), Control)


# ---------------------------------------------------------------- the API server


RING = KeyRing([ec.generate_private_key(ec.SECP256R1())])


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


TOKEN = RING.sign({"sub": "a"}).encode()
DEEP_TOKEN = b".".join((_encoded(b"[" * 9_000), _encoded(b"{}"), _encoded(b"x" * 64)))
DEEP_HEAD = b".".join((_encoded(b'{"a":' + b"[" * 9_000), _encoded(b"{}"), _encoded(b"x" * 64)))


@fuzzed(st.one_of(hostile(TOKEN, deep=DEEP_TOKEN), st.just(DEEP_HEAD), st.just(TOKEN)))
def test_tokens(data: bytes) -> None:
    text = data.decode("latin1")
    claims = RING.claims(text)
    assert claims is None or claims == {"sub": "a"}, "nobody else can sign"
    assert asyncio.run(StaticTokens({}).identify(text, ())) is None
    with contextlib.suppress(ValueError):
        join_token.parse(text)


CSR = node_requests.request("n")[1].encode()


@fuzzed(hostile(CSR, base64.b64encode(CSR)), st.sampled_from(sorted(SIGNERS)))
def test_signing_requests(data: bytes, signer: str) -> None:
    encoded = base64.b64encode(data).decode()
    obj = msgspec.convert(
        {"spec": {"request": encoded, "signerName": signer, "username": "system:node:n"}},
        CertificateSigningRequest,
    )
    assert isinstance(problem(obj, "cluster.local"), str)


POD = json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}).encode()


@fuzzed(hostile(POD, protobuf.MAGIC + b"\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x07\x0a\x05\x0a\x03abc"))
def test_bodies(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        codec.loads(data)
    with contextlib.suppress(protobuf.ProtobufError):
        protobuf.decode(data)


OPENED = spdy.Encoder().open(1, {"streamtype": "data"}) + spdy.data(1, b"abc")


@fuzzed(st.lists(hostile(OPENED, deep=b"\xff" * 20_000), max_size=4))
def test_spdy_frames(pieces: list[bytes]) -> None:
    decoder = spdy.Decoder()
    try:
        for piece in pieces:
            decoder.feed(piece)
    except spdy.SpdyError:
        pass


@fuzzed(hostile(b'4{"Width":80,"Height":24}', b"0aGVsbG8="))
def test_websocket_channels(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    if text:
        found = channels._from_text(text)
        assert found is None or isinstance(found[1], bytes)
    try:
        decoded = json.loads(data[1:])
    except (ValueError, RecursionError):
        return
    size = window_size(decoded)
    assert size is None or all(0 < each < 65536 for each in size)


@pytest.mark.parametrize("data", [DEEP, b"{" * 20_000, b'{"a":' * 20_000])
def test_nested_without_end(data: bytes) -> None:
    assert isinstance(control(data), Control)
    with pytest.raises(ValueError, match=r"depth limit|expected"):
        codec.loads(data)
