"""What workloads can reach: Sidecars, and the policy of the mesh for hosts that nobody knows."""

from collections.abc import Iterator
from textwrap import dedent

import pytest

from tests.e2e import manifests as m
from tests.e2e.callers import Caller
from tests.e2e.instance import Instance
from tests.outside import Servers

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def caller(weft: Instance) -> Caller:
    weft.weft("apply", "-f", "-", stdin=namespace("other") + namespace("istio-system"))
    near = m.echo("near") + m.service("near")
    weft.weft("apply", "-f", "-", stdin=near)
    weft.weft("apply", "-n", "other", "-f", "-", stdin=m.echo("far") + m.service("far"))
    made = Caller(weft)
    made.settles("http://near/who", 200)
    made.settles("http://far.other/who", 200)
    return made


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    made = Servers("", "0.0.0.0")
    yield f"localhost:{made.http()}"
    made.close()


def applied(weft: Instance, text: str) -> Iterator[None]:
    weft.weft("apply", "-f", "-", stdin=dedent(text))
    yield
    weft.weft("delete", "-f", "-", stdin=dedent(text))


def namespace(name: str) -> str:
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"


def sidecar(hosts: str, policy: str = "", selector: str = "") -> str:
    return f"""
        apiVersion: networking.istio.io/v1
        kind: Sidecar
        metadata: {{name: scope, namespace: default}}
        spec:
          {f"workloadSelector: {{labels: {selector}}}" if selector else ""}
          {f"outboundTrafficPolicy: {{mode: {policy}}}" if policy else ""}
          egress: [{{hosts: {hosts}}}]
        """


def test_hosts_outside_of_the_scope_are_refused(weft: Instance, caller: Caller) -> None:
    for _ in applied(weft, sidecar('["./*"]', "REGISTRY_ONLY")):
        caller.settles("http://far.other/who", 502)
        assert caller.request("http://near/who")[:2] == (200, "v1")
    caller.settles("http://far.other/who", 200)


def test_a_scope_for_some_workloads(weft: Instance, caller: Caller) -> None:
    """Others of the namespace go on as before, in the same node proxy."""
    other = Caller(weft, "second")
    for _ in applied(weft, sidecar('["other/*"]', "REGISTRY_ONLY", "{app: caller}")):
        caller.settles("http://near/who", 502)
        assert caller.status("http://far.other/who") == 200
        assert other.status("http://near/who") == 200
        assert other.status("http://far.other/who") == 200


def test_a_destination_rule_for_some_workloads(weft: Instance, caller: Caller) -> None:
    """It comes before the namespace's own, and holds for nobody else: `near` speaks no TLS."""
    other = Caller(weft, "second")
    text = """
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: near-with-tls}
        spec: {host: near, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}
        """
    mine = """
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {name: near-without}
        spec:
          host: near
          workloadSelector: {matchLabels: {app: caller}}
          trafficPolicy: {tls: {mode: DISABLE}}
        """
    for _ in applied(weft, text):
        caller.settles("http://near/who", 503)
        for _ in applied(weft, mine):
            caller.settles("http://near/who", 200)
            assert other.status("http://near/who") == 503
        caller.settles("http://near/who", 503)
    caller.settles("http://near/who", 200)


def test_a_scope_with_routes(weft: Instance, caller: Caller) -> None:
    """Routes of the scope's hosts are as outside of it."""
    routes = m.routes("near", "- directResponse: {status: 418}", "near")
    weft.weft("apply", "-f", "-", stdin=routes)
    caller.settles("http://near/who", 418)
    for _ in applied(weft, sidecar('["./*"]', "REGISTRY_ONLY")):
        caller.settles("http://far.other/who", 502)
        assert caller.status("http://near/who") == 418
    weft.weft("delete", "-f", "-", stdin=routes)
    caller.settles("http://near/who", 200)


MESH_CONFIG = """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: istio, namespace: istio-system}
    data:
      mesh: |
        outboundTrafficPolicy: {mode: REGISTRY_ONLY}
    """


def test_the_mesh_knows_its_registry_only(weft: Instance, caller: Caller, outside: str) -> None:
    entry = f"""
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {{name: known}}
        spec:
          hosts: [known.test]
          resolution: DNS
          ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {outside.split(":")[1]}}}]
          endpoints: [{{address: localhost}}]
        """
    weft.weft("apply", "-f", "-", stdin=dedent(entry))
    stranger = "http://stranger.invalid/" if weft.isolation == "host" else "http://198.18.0.9/"
    for _ in applied(weft, MESH_CONFIG):
        caller.settles(stranger, 502)
        assert caller.status("http://known.test/") == 200
        assert caller.status("http://near/who") == 200


def test_a_name_that_is_one_endpoint(weft: Instance, caller: Caller, outside: str) -> None:
    """DNS_ROUND_ROBIN: whatever addresses the name has."""
    text = f"""
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {{name: turns}}
        spec:
          hosts: [turns.test]
          resolution: DNS_ROUND_ROBIN
          ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {outside.split(":")[1]}}}]
          endpoints: [{{address: localhost}}]
        """
    for _ in applied(weft, text):
        caller.settles("http://turns.test/", 200)
        told = weft.weft("why", "--from", "deploy/caller-v1", "GET", "http://turns.test/")
        assert "the first address that DNS gives" in told


def test_a_service_that_gets_what_is_unknown(weft: Instance, caller: Caller) -> None:
    text = """
        apiVersion: networking.istio.io/v1
        kind: Sidecar
        metadata: {name: scope, namespace: default}
        spec:
          outboundTrafficPolicy: {egressProxy: {host: near.default.svc.cluster.local}}
          egress: [{hosts: ["./*"]}]
        """
    for _ in applied(weft, text):
        body = caller.settles("http://192.0.2.1/x", 200)
        assert '"path": "/x"' in body
