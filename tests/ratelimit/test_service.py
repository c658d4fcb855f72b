"""The service as a proxy sees it: over gRPC on a Unix socket."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from envoy.service.ratelimit.v3 import rls_pb2, rls_pb2_grpc

from weft.ratelimit.counters import MemoryCounters
from weft.ratelimit.gcra import Quota, Verdict
from weft.ratelimit.service import RateLimitService, Rule

Response = rls_pb2.RateLimitResponse
RULE = Rule("default/web/0", Quota(2, 60.0, 2), fixed=(("match", "yes"),))


class Service:
    def __init__(self, service: RateLimitService, stub: rls_pb2_grpc.RateLimitServiceStub) -> None:
        self.service, self.stub, self.now = service, stub, 1000.0

    async def ask(self, *descriptors: list[tuple[str, str]]) -> Response:
        request = rls_pb2.RateLimitRequest(domain="weft")
        for entries in descriptors:
            added = request.descriptors.add()
            for key, value in entries:
                added.entries.add(key=key, value=value)
        return await self.stub.ShouldRateLimit(request, timeout=5)


@pytest.fixture
async def served() -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        service = RateLimitService(clock=lambda: proxy.now)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((service.handler(),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            proxy = Service(service, rls_pb2_grpc.RateLimitServiceStub(channel))
            yield proxy
        await server.stop(None)


def of(user: str, match: str = "yes") -> list[tuple[str, str]]:
    return [("limit", RULE.name), ("match", match), ("key0", user)]


async def test_each_key_has_its_own_limit_and_refusals_say_when_to_come_back(
    served: Service,
) -> None:
    served.service.update([RULE])
    codes = [(await served.ask(of("joe"))).overall_code for _ in range(3)]
    assert codes == [Response.OK, Response.OK, Response.OVER_LIMIT]
    refused = await served.ask(of("joe"))
    assert [(h.key, h.value) for h in refused.response_headers_to_add] == [("retry-after", "30")]
    assert refused.statuses[0].current_limit.requests_per_unit == 2
    assert (await served.ask(of("jim"))).overall_code == Response.OK
    served.now += 30
    assert (await served.ask(of("joe"))).overall_code == Response.OK


async def test_one_exceeded_limit_of_several_refuses(served: Service) -> None:
    other = Rule("default/web/1", Quota(1, 1.0, 1))
    served.service.update([RULE, other])
    both = of("joe"), [("limit", other.name)]
    assert (await served.ask(*both)).overall_code == Response.OK
    answer = await served.ask(*both)
    assert [s.code for s in answer.statuses] == [Response.OK, Response.OVER_LIMIT]


async def test_what_is_not_counted_passes(served: Service) -> None:
    served.service.update([RULE])
    for _ in range(5):
        assert (await served.ask(of("joe", match="no"))).overall_code == Response.OK
        assert (await served.ask([("limit", "gone")])).overall_code == Response.OK
    assert served.service.counts == {}


async def test_shadow_counts_and_refuses_nothing(served: Service) -> None:
    served.service.update([Rule(RULE.name, RULE.quota, RULE.fixed, shadow=True)])
    for _ in range(5):
        assert (await served.ask(of("joe"))).overall_code == Response.OK
    assert served.service.counts[RULE.name, "shadow"] == 3


async def test_counters_out_of_reach_let_requests_through() -> None:
    class Away:
        async def take(self, key: object, quota: Quota, now: float, hits: int) -> Verdict:
            raise OSError("away")

    service = RateLimitService(Away())
    service.update([RULE])
    request = rls_pb2.RateLimitRequest()
    added = request.descriptors.add()
    for key, value in of("joe"):
        added.entries.add(key=key, value=value)
    answer = await service._should_rate_limit(request, None)
    assert answer.overall_code == Response.OK
    assert service.counts[RULE.name, "error"] == 1


async def test_only_nodes_use_up_limits() -> None:
    class Refused(Exception):
        pass

    class Call:
        async def abort(self, code: grpc.StatusCode, text: str) -> None:
            raise Refused(code, text)

    def certified(_: object) -> str:
        raise PermissionError("the certificate is for no node")

    service = RateLimitService(certified=certified)
    service.update([RULE])
    request = rls_pb2.RateLimitRequest()
    added = request.descriptors.add()
    for key, value in of("joe"):
        added.entries.add(key=key, value=value)
    with pytest.raises(Refused, match="PERMISSION_DENIED"):
        await service._should_rate_limit(request, Call())
    assert not service.counts


async def test_memory_counters_are_bounded() -> None:
    counters = MemoryCounters(keys_max=3)
    for number in range(10):
        await counters.take((str(number),), Quota(1, 1.0, 1), 1000.0, 1)
    assert len(counters) == 3
