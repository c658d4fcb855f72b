"""From objects to what proxies shall have, when files and nodes come and go."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec import Struct

from tests.waiting import until
from weft.api.istio import security
from weft.api.registry import by_name
from weft.api.wellknown import CONDITION_POD_SANDBOX_READY
from weft.apiserver.addresses import Ranges
from weft.apiserver.local_client import LocalClient
from weft.apiserver.resources import Resources
from weft.apiserver.watching import Watches
from weft.daemon.mesh_loop import MeshLoop
from weft.lib.aio import Tasks, now
from weft.mesh import authorization
from weft.mesh.build import BuildSettings
from weft.mesh.model import AccessRule
from weft.mesh.object_status import Rejection
from weft.runtime.informer import Informers
from weft.store.memory import MemoryStore
from weft.xds.server import AdsServer


class Mesh:
    """A mesh loop on a real API."""

    def __init__(self) -> None:
        store = MemoryStore()
        resources = Resources(store, clock=now, random=random.Random(7).randrange, ranges=Ranges())
        self.client = LocalClient(resources, Watches(store))
        self.informers = Informers(self.client)
        self.ads = AdsServer()
        self.loop = MeshLoop(self.informers, self.ads, BuildSettings())
        self.tasks = Tasks()

    async def create(self, plural: str, name: str, **body: Any) -> None:
        kind = by_name(plural)
        assert kind is not None
        namespace = "default" if kind.namespaced else ""
        await self.client.create(kind, {"metadata": {"name": name}} | body, namespace)

    async def delete(self, plural: str, name: str) -> None:
        kind = by_name(plural)
        assert kind is not None
        await self.client.delete(kind, name, "default" if kind.namespaced else "")


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[Mesh]:
    mesh = Mesh()
    await mesh.create("namespaces", "default")
    mesh.informers.start()
    mesh.tasks.spawn(mesh.loop.run(), "mesh-loop")
    yield mesh
    await mesh.tasks.close()
    await mesh.informers.close()


def gateway(certificate: str) -> dict[str, Any]:
    tls = {"mode": "SIMPLE", "serverCertificate": certificate, "privateKey": certificate}
    port = {"number": 443, "name": "https", "protocol": "HTTPS"}
    return {"selector": {}, "servers": [{"port": port, "hosts": ["*"], "tls": tls}]}


async def test_a_certificate_path_that_cannot_be_looked_at_stops_nothing(
    mesh: Mesh, tmp_path: Path
) -> None:
    """Longer than a file name may be; as an ordinary user, somebody else's directory is alike."""
    await mesh.create("gateways", "edge", spec=gateway(f"{tmp_path}/{'x' * 300}"))
    await until(lambda: mesh.loop.diagnostics)
    await mesh.create("nodes", "node-1")
    await until(lambda: mesh.ads.nodes() == ("node-1",))


async def test_a_node_that_is_gone_is_forgotten(mesh: Mesh) -> None:
    await mesh.create("nodes", "node-1")
    await mesh.create("nodes", "node-2")
    await until(lambda: set(mesh.ads.nodes()) == {"node-1", "node-2"})
    await mesh.delete("nodes", "node-1")
    await until(lambda: mesh.ads.nodes() == ("node-2",))
    assert set(mesh.loop.wanted) == {"node-2"}


POISON = "/poison"


def allow(path: str) -> dict[str, Any]:
    return {"action": "ALLOW", "rules": [{"to": [{"operation": {"paths": [path]}}]}]}


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of weft that a policy about the path `/poison` meets."""
    built = authorization._rule

    def broken(rule: security.Rule, namespace: str) -> AccessRule:
        if any(POISON in (to.operation or security.Operation()).paths for to in rule.to):
            raise RuntimeError(POISON)
        return built(rule, namespace)

    monkeypatch.setattr(authorization, "_rule", broken)


@pytest.mark.usefixtures("defect")
async def test_an_object_that_cannot_be_built_holds_back_no_other_and_is_closed(
    mesh: Mesh,
) -> None:
    told: list[tuple[Struct, Rejection]] = []
    mesh.loop.on_refused = lambda obj, why: told.append((obj, why))
    await mesh.create("nodes", "node-1")
    await mesh.create("pods", "web", spec={"containers": [{"name": "c", "image": "i"}]})
    pods = by_name("pods")
    assert pods is not None
    sandbox = {"type": CONDITION_POD_SANDBOX_READY, "status": "True"}
    addressed = {"status": {"podIP": "10.244.0.9", "conditions": [sandbox]}}
    await mesh.client.patch(pods, "web", addressed, "default", subresource="status")
    for name, path in (("a", "/a"), ("b", POISON), ("c", "/c")):
        await mesh.create("authorizationpolicies", name, spec=allow(path))
    await until(lambda: told)
    ((obj, why),) = told
    assert isinstance(obj, security.AuthorizationPolicy)
    assert (obj.metadata.name, why.closed) == ("b", "all that it selects is denied")
    await mesh.create("services", "later", spec={"ports": [{"port": 80}]})
    await until(lambda: any("later" in d.name for d in mesh.loop.model.destinations))
    policies = {p.name: p for w in mesh.loop.model.workloads for p in w.access}
    assert set(policies) == {"default/a", "default/b", "default/c"}
    assert policies["default/b"].action == "deny"
    found = [d for d in mesh.loop.findings() if d.code == "WEFT2627"]
    assert [(d.kind, d.name) for d in found] == [("AuthorizationPolicy", "b")]
    assert POISON not in found[0].message
    assert "weft_mesh_objects_not_built 1" in mesh.loop.faults.exposition()
    await mesh.delete("authorizationpolicies", "b")
    await until(lambda: not mesh.loop.faults.held)
    assert not [d for d in mesh.loop.findings() if d.code == "WEFT2627"]


async def test_config_maps_of_applications_build_nothing(mesh: Mesh) -> None:
    await mesh.create("nodes", "node-1")
    await until(lambda: mesh.ads.nodes() == ("node-1",))
    seen: list[str] = []
    mesh.informers.subscribe(lambda cls, before, after: seen.append(cls.__name__))
    number = mesh.loop.number
    await mesh.create("configmaps", "settings", data={"a": "b"})
    await until(lambda: "ConfigMap" in seen)
    await mesh.create("namespaces", "istio-system")
    await until(lambda: mesh.loop.number == number + 1)
    kind = by_name("configmaps")
    assert kind is not None
    body = {"metadata": {"name": "istio"}, "data": {"mesh": "trustDomain: other.example"}}
    await mesh.client.create(kind, body, "istio-system")
    await until(lambda: mesh.loop.model.trust_domain == "other.example")
