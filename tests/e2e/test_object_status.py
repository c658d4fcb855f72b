"""What objects say about themselves: accepted, in force, refused; and waiting for it."""

import json
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, kubectl_binary, wait_for

pytestmark = pytest.mark.e2e

GATEWAY_API = "gateway.networking.k8s.io"
MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network"
    ".http_connection_manager.v3.HttpConnectionManager"
)
TOO_LARGE = "(a{1,900}){1,900}"
"""An expression that is valid and that no proxy takes: it would need too much memory."""


def route(name: str, rule: str, host: str = "") -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: ["{host or name}.example"]
  gateways: [front]
  http:
    - {rule}
"""


def answer(status: int) -> str:
    return f"{{directResponse: {{status: {status}}}}}"


BAD = f"{{match: [{{uri: {{regex: '{TOO_LARGE}'}}}}], directResponse: {{status: 250}}}}"


@pytest.fixture(scope="module")
def front(isolated: Instance) -> Instance:
    isolated.weft("apply", "-f", "-", stdin=m.gateway("front", "*.example"))
    return isolated


def apply(weft: Instance, text: str, *more: str) -> Any:
    return weft.run("apply", "-f", "-", "--wait", "--timeout", "20", *more, stdin=text)


def condition(obj: Any, kind: str) -> Any:
    found = obj.get("status", {}).get("conditions", ())
    return next((c for c in found if c["type"] == kind), {})


def get(weft: Instance, name: str, kind: str = "virtualservices") -> Any:
    return weft.read(f"/apis/networking.istio.io/v1/namespaces/default/{kind}/{name}")


def test_apply_waits_until_it_is_in_force(front: Instance) -> None:
    for status in (210, 211, 212):
        done = apply(front, route("direct", answer(status)))
        assert done.returncode == 0, done.stderr
        assert "virtualservice.networking.istio.io/direct acknowledged by node" in done.stdout
        assert ask(front, "/", "direct.example")[0] == status


def test_a_deployment_is_waited_for(front: Instance) -> None:
    done = apply(front, m.echo("slow"))
    assert done.returncode == 0, done.stderr
    assert "deployment.apps/slow-v1 rolled out" in done.stdout
    assert front.ready_pods("app=slow")


def test_what_is_missing_is_said_after_the_timeout(front: Instance) -> None:
    text = m.echo("never").replace("echo:1", "nowhere:1")
    done = front.run("apply", "-f", "-", "--wait", "--timeout", "1.5", stdin=text)
    assert done.returncode == 1
    assert "deployment.apps/never-v1: 0 of 1 pods are ready" in done.stderr
    assert "1 of what was applied is not in force" in done.stderr


@pytest.mark.skipif(kubectl_binary() is None, reason="needs kubectl")
def test_kubectl_waits_and_shows_it(front: Instance) -> None:
    front.kubectl("apply", "-f", "-", stdin=route("waited", answer(213)))
    said = front.kubectl(
        "wait", "--for=condition=Programmed", "virtualservice/waited", "--timeout=20s"
    )
    assert "condition met" in said
    assert ask(front, "/", "waited.example")[0] == 213
    head, line = front.kubectl("get", "virtualservice", "waited", "-o", "wide").splitlines()[:2]
    assert head.split() == ["NAME", "GATEWAYS", "HOSTS", "ACCEPTED", "PROGRAMMED", "NODES", "AGE"]
    assert line.split()[3:6] == ["True", "True", "1/1"]


SELECTING = """---
apiVersion: {}.istio.io/v1
kind: {}
metadata: {{name: slow}}
spec: {{selector: {{matchLabels: {{app: slow}}}}, {}}}
"""
SELECTED = {
    "AuthorizationPolicy": ("security", "rules: [{}]"),
    "PeerAuthentication": ("security", "mtls: {mode: PERMISSIVE}"),
    "RequestAuthentication": ("security", "jwtRules: []"),
    "Telemetry": ("telemetry", "accessLogging: [{disabled: true}]"),
}


def test_every_kind_says_it(front: Instance) -> None:
    text = (
        m.service("slow")
        + """---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: slow}
spec: {host: slow.default, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [outside.example.org]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  workloadSelector: {labels: {app: outside}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: outside}
spec: {address: 192.0.2.1, labels: {app: outside}}
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: slow}
spec: {targetRef: {kind: Service, name: slow}, maxRequestsInFlight: 7}
---
apiVersion: policy.weft.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: slow}
spec: {targetRef: {kind: Service, name: slow}, rules: [{limit: {requests: 1000, per: second}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: second}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 8181, name: http, protocol: HTTP}, hosts: ["second.example"]}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: slow}
spec: {workloadSelector: {labels: {app: slow}}, egress: [{hosts: ["./*"]}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: machines}
spec: {metadata: {labels: {app: outside}}, template: {serviceAccount: default}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: slow}
spec:
  workloadSelector: {labels: {app: slow}}
  configPatches:
    - applyTo: NETWORK_FILTER
      match:
        context: SIDECAR_INBOUND
        listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
      patch:
        operation: MERGE
        value:
          typed_config:
            "@type": MANAGER
            request_headers_timeout: 60s
""".replace("MANAGER", MANAGER)
        + "".join(SELECTING.format(g, kind, spec) for kind, (g, spec) in SELECTED.items())
    )
    done = apply(front, text)
    assert done.returncode == 0, done.stderr
    every = ("destinationrules", "workloadentries", "gateways", "sidecars", "envoyfilters")
    assert done.stdout.count("acknowledged by node") == 9 + len(SELECTED), done.stdout
    for kind in every:
        name = {"workloadentries": "outside", "gateways": "second"}.get(kind, "slow")
        found = get(front, name, kind)
        assert condition(found, "Accepted")["status"] == "True"
        assert condition(found, "Programmed")["status"] == "True"
        nodes = found["status"]["nodes"]
        assert nodes["acknowledged"] == nodes["total"] == 1


PORTS = {"tls": ("TLS", 9443), "tcp": ("TCP", 9001), "udp": ("UDP", 9002), "http": ("HTTP", 8282)}
ROUTED = {"TLSRoute": "tls", "TCPRoute": "tcp", "UDPRoute": "udp", "GRPCRoute": "http"}


def test_every_route_says_it(front: Instance) -> None:
    """Routes of connections, datagrams and gRPC: attached, with the back end that they name, and
    that it is missing when it is."""
    passthrough = {"mode": "Passthrough"}
    listeners = [
        {"name": n, "protocol": p, "port": port, **({"tls": passthrough} if n == "tls" else {})}
        for n, (p, port) in PORTS.items()
    ]
    spec = {"gatewayClassName": "weft", "listeners": listeners}
    of = {"apiVersion": f"{GATEWAY_API}/v1", "metadata": {"name": "every"}}
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "every"}}
    objects = [{**service, "spec": {"ports": ports}}, {**of, "kind": "Gateway", "spec": spec}]

    for kind, listener in ROUTED.items():
        parent = {"name": "every", "sectionName": listener}
        hosts = {"hostnames": ["every.test"]} if kind == "TLSRoute" else {}
        for name in ("every", "nobody"):
            ref = {"name": name, "port": 53 if kind == "UDPRoute" else 80}
            body = {"parentRefs": [parent], "rules": [{"backendRefs": [ref]}], **hosts}
            objects.append({**of, "kind": kind, "metadata": {"name": name}, "spec": body})
    text = "\n---\n".join(json.dumps(each) for each in objects)
    done = apply(front, text)
    assert done.returncode == 1, done.stdout
    assert done.stderr.count(": BackendNotFound: ") == len(ROUTED), done.stderr
    for kind in ROUTED:
        path = f"/apis/{GATEWAY_API}/v1/namespaces/default/{kind.lower()}s"
        for name, resolved in (
            ("every", ("True", "ResolvedRefs")),
            ("nobody", ("False", "BackendNotFound")),
        ):
            (found,) = front.read(f"{path}/{name}")["status"]["parents"]
            assert found["controllerName"] == "weft.dev/gateway-controller"
            assert condition({"status": found}, "Accepted")["reason"] == "Accepted", kind
            refs = condition({"status": found}, "ResolvedRefs")
            assert (refs["status"], refs["reason"]) == resolved, kind
            has = condition({"status": found}, "Programmed")
            assert has["status"] == "True", kind
            assert has["message"].startswith("acknowledged by node "), kind
    late = {**service, "metadata": {"name": "nobody"}, "spec": {"ports": ports}}
    done = apply(front, text + "\n---\n" + json.dumps(late))
    assert done.returncode == 0, done.stderr
    for kind in ROUTED:
        name = f"{kind.lower()}.{GATEWAY_API}/every"
        assert f"{name} accepted, acknowledged by node" in done.stdout, done.stdout


def test_findings_are_in_the_status_until_they_are_mended(front: Instance) -> None:
    lost = route("lost", "{route: [{destination: {host: late}}]}")
    done = apply(front, lost)
    assert done.returncode == 1
    assert "no Service or ServiceEntry is named `late`" in done.stderr
    accepted = condition(get(front, "lost"), "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "WEFT2101")
    assert "spec.http[0].route[0].destination.host" in accepted["message"]
    front.weft("apply", "-f", "-", stdin=m.service("late"))
    wait_for(lambda: condition(get(front, "lost"), "Accepted")["status"] == "True", "accepted")


def test_pods_that_come_and_go_write_no_status(front: Instance) -> None:
    assert apply(front, route("direct", answer(212))).returncode == 0
    version = get(front, "direct")["metadata"]["resourceVersion"]
    front.weft("apply", "-f", "-", "--wait", stdin=m.echo("slow", replicas=3))
    front.weft("apply", "-f", "-", "--wait", stdin=m.echo("slow", replicas=1))
    assert get(front, "direct")["metadata"]["resourceVersion"] == version


def test_a_refused_object_is_told_and_all_others_go_on(front: Instance) -> None:
    assert apply(front, route("worse", answer(220))).returncode == 0
    done = apply(front, route("worse", BAD) + route("other", answer(230)))
    assert done.returncode == 1
    assert "virtualservice.networking.istio.io/other acknowledged by node" in done.stdout
    assert "worse: the proxy of node" in done.stderr
    assert "the version before stays in force" in done.stderr
    assert ask(front, "/", "worse.example")[0] == 220
    assert ask(front, "/", "other.example")[0] == 230
    found = get(front, "worse")
    assert condition(found, "Programmed")["reason"] == "Rejected"
    assert found["status"]["inForce"]["http"] == [{"directResponse": {"status": 220}}]
    events = front.items("events")
    assert [e for e in events if e["reason"] == "Rejected"
            and e["involvedObject"]["name"] == "worse"]  # fmt: skip
    assert "WEFT2125" in front.weft("status")


def test_changes_of_others_reach_traffic_while_one_is_refused(front: Instance) -> None:
    apply(front, route("worse", BAD))
    for status in (231, 232):
        done = apply(front, route("other", answer(status)))
        assert done.returncode == 0, done.stderr
        assert ask(front, "/", "other.example")[0] == status
    assert apply(front, route("newest", answer(233))).returncode == 0
    assert ask(front, "/", "newest.example")[0] == 233


def test_a_refused_object_stays_apart_when_weft_starts_again(front: Instance) -> None:
    apply(front, route("worse", answer(220)))
    apply(front, route("worse", BAD))
    front.weft("down", "--keep-pods")
    front.up()
    assert ask(front, "/", "worse.example")[0] == 220
    done = apply(front, route("other", answer(240)))
    assert done.returncode == 0, done.stderr
    assert ask(front, "/", "other.example")[0] == 240
    assert ask(front, "/", "worse.example")[0] == 220
    assert condition(get(front, "worse"), "Programmed")["reason"] == "Rejected"


def test_a_mended_object_is_in_force_again(front: Instance) -> None:
    apply(front, route("worse", BAD))
    done = apply(front, route("worse", answer(221)))
    assert done.returncode == 0, done.stderr
    assert ask(front, "/", "worse.example")[0] == 221
    assert "inForce" not in get(front, "worse")["status"]
    assert "WEFT2125" not in json.dumps(front.status()["diagnostics"])
