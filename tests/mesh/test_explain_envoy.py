"""Random requests under random configurations, through a real Envoy: it does what `why` says.

`WEFT_SOAK_CONFIGURATIONS` asks for more configurations than `make test` has time for (`make soak`),
`WEFT_SOAK_SEED` for others.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from random import Random

import pytest
from msgspec.structs import replace

from tests.mesh.agreement.compare import disagreements, read
from tests.mesh.agreement.configurations import CALLERS, documents
from tests.mesh.agreement.requests import OUTSIDE, Asked, Asking
from tests.mesh.agreement.rig import GATEWAY_PORTS, Call, Rig
from tests.mesh.cluster import snapshot
from weft.mesh.build import build
from weft.mesh.explain import (
    Explanation,
    explain_from_gateway,
    explain_from_workload,
    explain_to_service,
)
from weft.mesh.explain.callers import NoCaller
from weft.mesh.explain.openings import meet, openings
from weft.mesh.model import MeshModel
from weft.xds import scoped_routes
from weft.xds.resource import SCOPES

CONFIGURATIONS = int(os.environ.get("WEFT_SOAK_CONFIGURATIONS", "30"))
FIRST_SEED = int(os.environ.get("WEFT_SOAK_SEED", "1"))
REQUESTS = 60
TRIES = 3
"""A worker thread of Envoy may see a configuration some milliseconds after it was acknowledged."""
FAILURES_SHOWN_MAX = 12

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.tools("ip", "nsenter")]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    try:
        rig.prepare(len(CALLERS))
        await rig.start(len(CALLERS))
        yield rig
    finally:
        await rig.close()


def explain(rig: Rig, model: MeshModel, asked: Asked) -> Explanation:
    if asked.caller == OUTSIDE:
        request = replace(asked.request, port=asked.port, address=asked.address)
        met = meet(openings(model, [rig.node]), request)
        if isinstance(met, NoCaller):
            return Explanation("closed", met.message)
        gateway, service, node = met[0].gateway, met[0].service, rig.node.name
        if gateway is not None:
            return explain_from_gateway(model, gateway, request, asked.address, node)
        assert service is not None
        return explain_to_service(model, service, request, asked.address, node)
    name = f"{CALLERS[asked.caller][1]}-0"
    caller = next(w for w in model.workloads if w.name == name)
    return explain_from_workload(model, caller, asked.request)


def steps(said: Explanation) -> int:
    """Lines of the log: one more when an egress gateway routes it further."""
    if said.route is None:
        return 0
    return 1 + max((1 for s in said.shares if s.onward is not None), default=0)


async def differing(rig: Rig, model: MeshModel, batch: list[Asked]) -> list[tuple[Asked, str]]:
    """The requests about which Envoy thinks otherwise, and in what."""
    calls = [Call(a.caller, a.address, a.port, a.data, a.request.scheme == "udp") for a in batch]
    answers = await rig.send(calls)
    said = [explain(rig, model, asked) for asked in batch]
    logged = await rig.logged(
        {a.id: steps(s) for a, s, d in zip(batch, said, answers, strict=True) if a.id and d}
    )
    found = []
    for asked, each, data in zip(batch, said, answers, strict=True):
        met = read(data, logged.get(asked.id, []))
        problems = list(disagreements(asked, each, met))
        if problems and not (each.others and not list(disagreements(asked, each.others, met))):
            found.append((asked, f"{'; '.join(problems)}\n    why: {each.outcome}: {each.reason}"))
    return found


@pytest.mark.timeout(60 + 3 * CONFIGURATIONS)
async def test_envoy_does_what_is_said(rig: Rig) -> None:
    await agree(rig, CONFIGURATIONS)


@pytest.mark.timeout(60 + 3 * CONFIGURATIONS)
async def test_tables_divided_by_host_do_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoped_routes, "SCOPED_HOSTS_MIN", 0)
    monkeypatch.setattr(scoped_routes, "WHOLE_HOSTS_MAX", 0)
    monkeypatch.setattr(scoped_routes, "EXACT_PER_WILDCARD_MIN", 0)
    await agree(rig, max(CONFIGURATIONS // 5, 1))
    divided = rig.server.acked_names(rig.node.name, SCOPES)
    assert divided, "no table was divided"


async def agree(rig: Rig, configurations: int) -> None:
    ports = dict(GATEWAY_PORTS)
    failures: list[str] = []
    asked_in_all = 0
    for seed in range(FIRST_SEED, FIRST_SEED + configurations):
        random = Random(seed)
        netns = [rig.workload(n, "x").netns for n in range(len(CALLERS))]
        objects = documents(random, netns, rig.node.name)
        model = build(snapshot(objects)).model
        await rig.configure(model)
        asking = Asking(random, objects, ports)
        batch = [asking.one(seed * REQUESTS + n) for n in range(REQUESTS)]
        asked_in_all += len(batch)
        left = [(asked, "") for asked in batch]
        for attempt in range(TRIES):
            await asyncio.sleep(0.05 * attempt)
            left = await differing(rig, model, [asked for asked, _ in left])
            if not left:
                break
        failures += [
            f"seed {seed}: caller {a.caller} to {a.address}:{a.port}: {a.request.text} "
            f"{json.dumps(dict(a.request.headers))}\n    {problem}"
            for a, problem in left
        ]
    shown = "\n".join(failures[:FAILURES_SHOWN_MAX])
    assert not failures, f"{len(failures)} of {asked_in_all} differ:\n{shown}"
    assert asked_in_all == configurations * REQUESTS
