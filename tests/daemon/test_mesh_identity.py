"""Certificates for nodes: whose, how many, renewed when, and what people are told."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from msgspec import Struct

from weft.daemon import mesh_identity
from weft.daemon.mesh_identity import MeshIdentity
from weft.mesh.model import GatewayListener, NodeModel, NodeSettings, Peers, Workload
from weft.pki.mesh_ca import OwnRoots
from weft.pki.rotation import Lives
from weft.runtime.plan import RecordEvent
from weft.xds.resource import SECRET, Resource
from weft.xds.svids import TRUST_BUNDLE, server_secret

LIVES = Lives(root=10_000.0, intermediate=2_000.0, workload=100.0, overlap=0.0)
NODE_A = "spiffe://cluster.local/node/a"


class Clock:
    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


class Ads:
    """What proxies have acknowledged."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def connected(self, node: str) -> bool:
        return node in self.held

    def acked_names(self, node: str, type_url: str) -> dict[str, str]:
        assert type_url == SECRET
        return {TRUST_BUNDLE: self.held[node]}


class World(Struct):
    identity: MeshIdentity
    ca: OwnRoots
    ads: Ads
    clock: Clock


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    clock, ads = Clock(), Ads()
    monkeypatch.setattr(mesh_identity, "now", clock)
    ca = OwnRoots(tmp_path, "cluster.local", LIVES)
    identity = MeshIdentity(ca, LIVES, ads)  # type: ignore[arg-type]
    identity.open()
    return World(identity, ca, ads, clock)


def spiffe(account: str) -> str:
    return f"spiffe://cluster.local/ns/default/sa/{account}"


def model(node: str, *accounts: str, **fields: Any) -> NodeModel:
    other = "b" if node == "a" else "a"
    peers = Peers(identity=f"spiffe://cluster.local/node/{node}", nodes=((other, "192.0.2.9"),))
    workloads = tuple(
        Workload(
            uid=a, name=a, namespace="default", node=node, address="10.244.0.2", workload=a,
            principal=spiffe(a),
        )
        for a in accounts
    )  # fmt: skip
    return NodeModel(NodeSettings(name=node, peers=peers), workloads=workloads, **fields)


def names(secrets: list[Resource]) -> set[str]:
    return {s.name for s in secrets}


def both(*principals: str) -> set[str]:
    return {*principals, *map(server_secret, principals)}


def test_a_node_gets_the_identities_of_its_own_pods_and_no_others(world: World) -> None:
    a = world.identity.secrets_of(model("a", "web", "app"))
    assert names(a) == {TRUST_BUNDLE} | both(spiffe("web"), spiffe("app"), NODE_A)
    edge = (GatewayListener(port=80, protocol="http", servers=()),)
    with_gateway = names(world.identity.secrets_of(model("a", gateways=edge))) - names(a)
    assert len(with_gateway) == 2
    assert all("istio-ingressgateway" in name for name in with_gateway)


def test_a_node_alone_needs_none(world: World) -> None:
    alone = NodeModel(NodeSettings(name="a"))
    assert world.identity.secrets_of(alone) == []


def test_no_two_nodes_have_one_key(world: World) -> None:
    one, other = (
        {s.name: s.body for s in world.identity.secrets_of(model(n, "web"))} for n in "ab"
    )
    assert one[spiffe("web")] != other[spiffe("web")]
    assert one[TRUST_BUNDLE] == other[TRUST_BUNDLE]


def test_renewed_before_half_of_what_a_connection_needs_is_gone(world: World) -> None:
    def found() -> bytes:
        return next(
            s.body for s in world.identity.secrets_of(model("a", "web")) if s.name == spiffe("web")
        )

    first = found()
    world.clock.at += 10
    assert found() == first
    world.clock.at += 50
    assert found() != first


def test_a_new_root_signs_when_every_connected_proxy_trusts_it(world: World) -> None:
    def offered(node: str) -> str:
        made = world.identity.secrets_of(model(node, "web"))
        return next(s.version for s in made if s.name == TRUST_BUNDLE)

    old = offered("a")
    world.ads.held = {"a": old, "b": offered("b")}
    world.identity.rotate(hurry=True)
    identity, ca = world.identity, world.ca
    assert ca.advance(world.clock(), identity._trusted())
    assert [r.state for r in ca.roots.roots] == ["signing", "next"]
    assert identity._trusted() == frozenset(), "nobody was offered it yet"
    world.ads.held = {"a": offered("a"), "b": old}
    offered("b")
    assert identity._trusted() == frozenset(), "b has not taken it"
    world.ads.held["b"] = world.ads.held["a"]
    assert ca.advance(world.clock(), identity._trusted())
    assert [r.state for r in ca.roots.roots] == ["retiring", "signing"]
    assert identity._any_due(), "all certificates are made anew"


def test_what_people_are_told(world: World) -> None:
    world.identity.secrets_of(model("a", "web"))
    page = world.identity.page()
    assert page["source"] == "own"
    assert [a["state"] for a in page["authorities"]] == ["signing", "intermediate"]
    assert (page["workloads"]["certificates"], page["alarms"]) == (2, [])
    text = world.identity.exposition()
    (root,) = x509.load_pem_x509_certificates(world.ca.bundle.encode())
    ends = f"{root.not_valid_after_utc.timestamp():.0f}"
    assert f"citadel_server_root_cert_expiry_timestamp {ends}" in text
    assert "citadel_server_success_cert_issuance_count 2" in text


def test_an_authority_that_ends_is_told_once_an_hour(world: World) -> None:
    told: list[RecordEvent] = []

    class Recorder:
        def record(self, event: RecordEvent) -> None:
            told.append(event)

    recorder: Any = Recorder()
    world.clock.at += LIVES.root * 0.95
    world.identity._alarm(recorder)
    world.identity._alarm(recorder)
    assert [e.reason for e in told] == ["AuthorityEnds"]
    assert "ends at" in told[0].message
    (found,) = world.identity.findings()
    assert (found.code, found.message) == ("WEFT2630", told[0].message), "weft status says it, too"
    world.clock.at += 3601
    world.identity._alarm(recorder)
    assert len(told) == 2
    assert "ended at" in told[1].message
