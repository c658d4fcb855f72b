"""Several machines: `weft server`, `weft agent`, pods that call each other across them, and what
happens when machines, agents and the server go away. Real processes, real kubectl, real traffic."""

import asyncio
import contextlib
import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import dns.exception
import dns.message
import dns.query
import pytest

from tests import archives
from tests.e2e.instance import Load, is_ready, kubectl_binary, wait_for
from tests.e2e.machines import Fabric, Machine, inside
from tests.e2e.manifests import echo, gateway, routes, service, to
from weft.api.wellknown import ANNOTATION_SERVICE_SLEEP

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]


def on(node: str, manifest: str) -> str:
    """A deployment whose pods run on one node."""
    place = f"      nodeSelector: {{kubernetes.io/hostname: {node}}}\n      terminationGrace"
    return "---" + manifest.replace("      terminationGrace", place)


def entry(name: str) -> str:
    """A way in from outside, on every node."""
    return gateway(name, f"{name}.example") + routes(name, to(name), f"{name}.example", name)


TALKER = """
---
apiVersion: v1
kind: Secret
metadata: {name: word}
stringData: {word: sesame}
---
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  nodeSelector: {kubernetes.io/hostname: b}
  containers:
    - name: echo
      image: echo:1
      env: [{name: WORD, valueFrom: {secretKeyRef: {name: word, key: word}}}]
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {httpGet: {path: /who, port: http}, periodSeconds: 1}
"""


PACKING = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: packing
    pluginConfig:
      - name: NodeResourcesFit
        args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
"""


class Machines:
    """A server and the nodes that joined it."""

    def __init__(self, fabric: Fabric) -> None:
        self.a, self.b, self.c = (fabric.machine(name) for name in "abc")
        config = self.a.data_dir / "scheduler.yaml"
        config.write_text(PACKING)
        self.scheduling = ("--scheduler-config", str(config))
        self.serve()
        self.token = self.a.weft("token", "create", "--description", "tests").strip()
        for node in (self.b, self.c):
            node.join(self.a, self.token)
        wait_for(lambda: len(self.ready()) == 3, "three nodes ready")

    def serve(self) -> None:
        self.a.serve(*self.scheduling)

    def ready(self) -> list[str]:
        return [n["metadata"]["name"] for n in self.nodes() if _is_true(n, "Ready")]

    def nodes(self) -> list[Any]:
        found: list[Any] = self.a.read("/api/v1/nodes")["items"]
        return found

    def pods(self, app: str) -> list[Any]:
        return self.a.ready_pods(f"app={app}")


def _is_true(node: Any, kind: str) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    fabric = Fabric()
    try:
        found = Machines(fabric)
        manifests = (
            on("a", echo("near")) + service("near") + on("b", echo("far")) + service("far")
            + entry("far") + TALKER
        )  # fmt: skip
        found.a.weft("apply", "-f", "-", stdin=manifests)
        wait_for(
            lambda: all(found.pods(app) for app in ("near", "far", "talker")), "all pods ready"
        )
        yield found
    finally:
        fabric.close()


def call(machines: Machines, pod: str, url: str) -> Any:
    """What a program in a pod gets from a URL."""
    program = f"import urllib.request as u;print(u.urlopen('{url}', timeout=5).read().decode())"
    return json.loads(machines.a.kubectl("exec", pod, "--", "python3", "-c", program))


def test_nodes_are_listed_with_networks_of_their_own(machines: Machines) -> None:
    lines = machines.a.weft("get", "nodes").splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["a", "Ready"], ["b", "Ready"],
                                                        ["c", "Ready"]]  # fmt: skip
    networks = {n["metadata"]["name"]: n["spec"]["podCIDR"] for n in machines.nodes()}
    assert len(set(networks.values())) == 3
    addresses = [
        next(a["address"] for a in n["status"]["addresses"] if a["type"] == "InternalIP")
        for n in machines.nodes()
    ]
    assert addresses == [m.address for m in (machines.a, machines.b, machines.c)]
    status = machines.a.status()
    assert all(p["connected"] and p["inSync"] and p["pid"] for p in status["proxies"])
    assert all(p["pid"] for p in status["pods"])


def test_pods_call_each_other_across_nodes(machines: Machines) -> None:
    near, far = machines.pods("near")[0], machines.pods("far")[0]
    assert (near["spec"]["nodeName"], far["spec"]["nodeName"]) == ("a", "b")
    assert far["status"]["hostIP"] == machines.b.address
    assert call(machines, "deploy/near-v1", "http://far/x")["pod"] == far["metadata"]["name"]
    assert call(machines, "talker", "http://near.default/x")["pod"] == near["metadata"]["name"]
    services = json.loads(machines.a.weft("get", "svc", "-o", "json"))["items"]
    by_address = next(s for s in services if s["metadata"]["name"] == "near")["spec"]["clusterIP"]
    assert by_address.startswith("10.98."), "the network that the server was started with"
    assert call(machines, "talker", f"http://{by_address}/x")["pod"] == near["metadata"]["name"]
    address = f"http://{machines.c.address}:{_gateway_port(machines, 'c')}/who"
    wait_for(
        lambda: machines.b.fetch(address, "far.example") == (200, "v1"),
        "node c has no pod, but is a way in",
        10,
    )


def test_calls_at_joined_nodes_wake_what_sleeps_elsewhere(machines: Machines) -> None:
    """A request at the gateway of c for what runs on b, and a connection of a pod on b for what
    runs on a, where the server speaks first: held by the proxies of nodes that joined."""
    a, note = machines.a, '  annotations: {weft.dev/scale-to-zero-after: "600s"}\n'
    for name, node in (("drowsy", "b"), ("dozing", "a")):
        text = on(node, echo(name, replicas=0)).replace(
            "value: v1}", "value: v1}, {name: GREET_PORT, value: '2525'}"
        )
        text = text.replace(f"name: {name}-v1\n", f"name: {name}-v1\n{note}", 1)
        ports = "targetPort: http}, {name: tcp-greet, port: 2500, targetPort: 2525}]"
        text += service(name).replace("targetPort: http}]", ports) + entry(name)
        a.weft("apply", "-f", "-", stdin=text)
    port = _gateway_port(machines, "c")
    address = f"http://{machines.c.address}:{port}/who"

    def asleep() -> bool:
        services = json.loads(a.weft("get", "svc", "-o", "json"))["items"]
        marked = [
            s for s in services if ANNOTATION_SERVICE_SLEEP in s["metadata"].get("annotations", {})
        ]
        proxies = a.status()["proxies"]
        return len(marked) == 2 and all(p["connected"] and p["inSync"] for p in proxies)

    wait_for(asleep, "both are known to be asleep", 20)
    assert machines.c.fetch(address, "drowsy.example", 60) == (200, "v1")
    (pod,) = machines.pods("drowsy")
    assert pod["spec"]["nodeName"] == "b"
    greeted = "import socket;s=socket.create_connection(('dozing',2500),60);print(s.recv(99))"
    assert "220" in a.kubectl("exec", "talker", "--", "python3", "-c", greeted)
    (pod,) = machines.pods("dozing")
    assert pod["spec"]["nodeName"] == "a"
    a.kubectl("delete", "deploy", "drowsy-v1", "dozing-v1")


def test_network_policies_hold_between_nodes(machines: Machines) -> None:
    """By the caller's proxy for a service, by the kernel for a pod's own address and datagrams."""
    a, (far,) = machines.a, machines.pods("far")
    listen = "import socket;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(('',5300))"
    listen += ";s.settimeout(6);print([s.sendto(d,c) for d,c in [s.recvfrom(99)]])"
    ask = "import socket;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(1)\n"
    ask += f"for _ in range(5):\n s.sendto(b'x',('{far['status']['podIP']}',5300))\n"
    ask += " try:\n  print('got',s.recv(9));break\n except OSError: pass\n"

    def datagram() -> bool:
        server = Thread(target=a.kubectl, args=("exec", "deploy/far-v1", "--", "python3", "-c",
                                                listen), kwargs={"check": False})  # fmt: skip
        server.start()
        heard = a.kubectl("exec", "deploy/near-v1", "--", "python3", "-c", ask, check=False)
        server.join()
        return "got" in heard

    wait_for(datagram, "a datagram goes from node to node")  # both programs must be up in time
    policy = json.dumps({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "far"},
        "spec": {"podSelector": {"matchLabels": {"app": "far"}},
                 "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "talker"}}}]}]},
    })  # fmt: skip
    a.weft("apply", "-f", "-", stdin=policy)
    try:
        wait_for(lambda: "403" in refused(machines, "http://far/x"), "near is refused", 15)
        assert "timed out" in refused(machines, f"http://{far['status']['podIP']}:8080/x")
        assert call(machines, "talker", "http://far/x")["pod"] == far["metadata"]["name"]
        assert not datagram()
    finally:
        a.weft("delete", "-f", "-", stdin=policy)
    wait_for(lambda: not refused(machines, "http://far/x"), "open again", 15)


def refused(machines: Machines, url: str) -> str:
    """Why a call of `near` fails; empty when it does not."""
    program = f"""
import urllib.request as u
try: u.urlopen('{url}', timeout=2)
except OSError as e: print(e)
"""
    return machines.a.kubectl("exec", "deploy/near-v1", "--", "python3", "-c", program).strip()


def _gateway_port(machines: Machines, node: str) -> int:
    def bound() -> int:
        found = machines.a.read(f"/api/v1/nodes/{node}")["metadata"]["annotations"]
        return int(json.loads(found.get("weft.dev/gateway-ports", "{}")).get("80", 0))

    return int(wait_for(bound, f"gateway bound on {node}"))


def test_kubectl_reaches_into_pods_of_any_node(machines: Machines, tmp_path: Path) -> None:
    a = machines.a
    assert "ready" in a.kubectl("logs", "talker")
    said = a.kubectl("exec", "talker", "--", "sh", "-c", "echo $WORD; exit 3", check=False)
    assert "sesame" in said
    assert "exit code 3" in said
    assert a.kubectl("exec", "-i", "talker", "--", "wc", "-c", stdin="x" * 200_000).strip() == (
        "200000"
    )
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(1_500_000))
    a.kubectl("cp", str(sent), "talker:/tmp/weft-talker")
    a.kubectl("cp", "talker:/tmp/weft-talker", str(back))
    assert back.read_bytes() == sent.read_bytes()
    forward = [*a.enter(), str(kubectl_binary()), "--kubeconfig", str(a.kubeconfig),
               "port-forward", "pod/talker", ":8080"]  # fmt: skip
    with subprocess.Popen(forward, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        status, body = a.fetch(f"http://127.0.0.1:{port}/hello")
        process.terminate()
    assert status == 200
    assert json.loads(body)["pod"] == "talker"


def test_usage_of_pods_on_joined_nodes_is_known(machines: Machines) -> None:
    """To `kubectl top` and to autoscalers."""
    a, (far,) = machines.a, machines.pods("far")
    scaler = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "far"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "far-v1"},
            "maxReplicas": 1,
            "metrics": [{"type": "Resource", "resource": {
                "name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}],
        },
    }  # fmt: skip
    a.weft("apply", "-f", "-", stdin=json.dumps(scaler))
    try:
        pods = {line.split()[0]: line.split() for line in a.kubectl("top", "pods").splitlines()}
        assert int(pods[far["metadata"]["name"]][2].removesuffix("Mi")) > 1
        assert "talker" in pods
        nodes = a.kubectl("top", "nodes", "--no-headers").splitlines()
        assert {line.split()[0] for line in nodes} == {"a", "b", "c"}
        path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/far"

        def measured() -> int:
            found = a.read(path).get("status", {}).get("currentMetrics") or []
            text = found[0]["resource"]["current"].get("averageValue", "0") if found else "0"
            return int(text.rstrip("KMiku") or 0)

        assert wait_for(measured, "the autoscaler reads the memory of the pod on b", 20) > 1
    finally:
        a.kubectl("delete", "hpa", "far")


TRACED = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: traced}
spec: {tracing: [{randomSamplingPercentage: 100}]}
"""
SPAN_AND_CALLS = """
import json, os, time, urllib.request as u
now, trace = time.time_ns(), os.urandom(16).hex()
span = {"traceId": trace, "spanId": "%016x" % 1, "name": "plan the day", "kind": 1,
        "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + 5_000_000)}
name = {"key": "service.name", "value": {"stringValue": os.environ["OTEL_SERVICE_NAME"]}}
body = {"resourceSpans": [{"resource": {"attributes": [name]}, "scopeSpans": [{"spans": [span]}]}]}
url = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
sent = u.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
u.urlopen(sent, timeout=5).read()
parent = {"traceparent": f"00-{trace}-{1:016x}-01"}
for host in ("near", "far"):
    u.urlopen(u.Request(f"http://{host}/x", headers=parent), timeout=5).read()
print(trace)
"""


def test_a_trace_has_calls_and_applications_of_all_nodes(machines: Machines) -> None:
    """What a pod on a joined node reports, and the calls that proxies of two nodes report."""
    a = machines.a
    a.weft("apply", "-f", "-", "--wait", stdin=TRACED)
    try:
        traces = {
            pod: a.kubectl("exec", pod, "--", "python3", "-c", SPAN_AND_CALLS).strip()
            for pod in ("talker", "deploy/near-v1")  # on b, on a
        }

        def whole(trace: str, service: str, version: str = "") -> str:
            done = a.run("trace", trace)
            calls = (f"{service}{version}: GET {host}" for host in ("near", "far"))
            wanted = (f"{service}: plan the day", *calls)
            return done.stdout if all(word in done.stdout for word in wanted) else ""

        wait_for(lambda: whole(traces["talker"], "talker.default"), "the trace that began on b")
        near = traces["deploy/near-v1"]
        wait_for(lambda: whole(near, "near.default", " v1"), "the trace that began on a")
    finally:
        a.kubectl("delete", "telemetries.telemetry.istio.io", "traced")


def test_a_node_reads_and_writes_only_what_is_its_own(machines: Machines) -> None:
    a, b = machines.a, machines.b
    a.kubectl("create", "secret", "generic", "other", "--from-literal=x=y")
    as_b = ["--as", "system:node:b", "--as-group", "system:nodes"]

    def may(*args: str) -> str:
        return a.kubectl(*args, *as_b, check=False)

    assert "sesame" not in may("get", "secret", "other")
    assert "Forbidden" in may("get", "secret", "other")
    assert may("get", "secret", "word", "-o", "name").strip() == "secret/word"
    for refused in (
        ["get", "secrets"], ["get", "pods"], ["label", "node", "c", "x=y"], ["delete", "node", "b"],
        ["delete", "pod", machines.pods("near")[0]["metadata"]["name"]],
        ["label", "node", "b", "node-restriction.kubernetes.io/x=y"],
        ["label", "pod", "talker", "app=far", "--overwrite"],
        ["create", "token", "default"],
        ["annotate", "pod", "talker", "sidecar.istio.io/x=y"],
    ):  # fmt: skip
        assert "orbidden" in may(*refused), refused
    found = json.loads(may("get", "pods", "--field-selector", "spec.nodeName=b", "-o", "json"))
    assert {p["spec"]["nodeName"] for p in found["items"]} == {"b"}
    certificate = b.data_dir / "node-pki" / "client.key"
    assert certificate.stat().st_mode & 0o077 == 0
    assert not (b.data_dir / "join-token").exists()


def test_nobody_joins_without_a_good_token(machines: Machines) -> None:
    fabric = machines.a.fabric
    d = fabric.machine("d")
    wrong_ca = "K10" + "0" * 64 + machines.token[67:]
    unknown = machines.token[:-16] + "a" * 16
    for token, words in ((wrong_ca, "WEFT2681"), (unknown, "WEFT2682"), ("nonsense", "WEFT2680")):
        done = d.run("agent", "--join", machines.a.address, "--token", token, "--detach")
        assert done.returncode == 1
        assert words in done.stderr, done.stderr
        assert token[-16:] not in done.stderr
    status, _ = d.fetch(f"http://{machines.a.address}:15012/")
    assert status == 0, "the control plane of proxies speaks to certificates only"
    listed = machines.a.weft("token", "list")
    assert machines.token[69:75] in listed
    assert machines.token[-16:] not in listed


# --- what goes away


def _load(machine: Machine, url: str, host: str, seconds: float, meanwhile: Any) -> Load:
    """Requests from a machine while something happens; at least for `seconds`."""

    async def work() -> Load:
        async with Load(url, clients=4, headers={"Host": host}) as load:
            await load.until(20)
            loop = asyncio.get_running_loop()
            done = loop.run_in_executor(None, meanwhile)
            await asyncio.sleep(seconds)
            await done
            await load.until(load.total + 20)
        return load

    return inside(machine.netns, lambda: asyncio.run(work())).result(100)


def _names(node: Machine) -> str:
    """What the node's DNS server says about a service, or nothing."""
    network = ipaddress.IPv4Network((node.data_dir / "pod-cidr").read_text())
    question = dns.message.make_query("near.default.svc.cluster.local", "A")
    with contextlib.suppress(dns.exception.DNSException, OSError):
        answer = node.do(lambda: dns.query.udp(question, str(network[1]), timeout=1, port=15053))
        return answer.to_text() if answer.answer else ""
    return ""


def test_nodes_follow_another_root_of_the_server(machines: Machines) -> None:
    """By themselves, at once; links and proxies come back with it, also when the server does."""
    a = machines.a
    assert "nobody is cut off" in a.weft("credentials", "rotate-ca")
    forgotten = wait_for(
        lambda: found if (found := a.run("credentials", "forget-ca")).returncode == 0 else None,
        "every node uses the new root",
    )
    assert "only the newest root is trusted" in forgotten.stdout
    root = (a.data_dir / "pki/ca.crt").read_text()
    for node in (machines.b, machines.c):
        wait_for(lambda node=node: node.trusted() == root, "the node trusts the new root alone")
    a.kill_9()
    machines.serve()
    wait_for(lambda: all(p["connected"] for p in a.status()["proxies"]), "proxies are back")
    wait_for(lambda: "ready" in a.kubectl("logs", "talker", check=False), "the link is back")


def test_calls_go_on_while_server_and_agents_are_away(machines: Machines) -> None:
    a, b = machines.a, machines.b
    before = {p["name"]: (p["pid"], p["restarts"]) for p in a.status()["pods"]}
    url = f"http://{machines.c.address}:{_gateway_port(machines, 'c')}/who"

    pid = a.pid_of("talker")

    def kill_and_start() -> None:
        a.kill_9()
        b.kill_9()
        b.join(a)  # comes back without a token, and while the server is away
        wait_for(lambda: "near" in _names(b), "names resolve while the server is away")
        assert Path(f"/proc/{pid}").exists(), "its pods run on"
        machines.serve()

    load = _load(machines.c, url, "far.example", 0.5, kill_and_start)
    assert load.failed == 0, load.report()
    wait_for(lambda: len(machines.ready()) == 3, "nodes are back")
    wait_for(lambda: all(p["connected"] for p in a.status()["proxies"]), "proxies are back")

    def same() -> bool:
        now = {p["name"]: (p["pid"], p["restarts"]) for p in a.status()["pods"]}
        return now == before

    wait_for(same, "the same processes run")
    assert "ready" in a.kubectl("logs", "talker"), "the link is back, too"


def test_a_rolling_update_across_nodes_loses_no_request(machines: Machines) -> None:
    a = machines.a
    manifest = echo("roam", replicas=3) + service("roam") + entry("roam")
    spread = """
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule,
           labelSelector: {matchLabels: {app: roam}}}
"""
    manifest = manifest.replace("\n      containers:", spread.rstrip() + "\n      containers:", 1)
    a.weft("apply", "-f", "-", stdin=manifest)
    pods = a.wait_ready("app=roam", 3)
    assert len({p["spec"]["nodeName"] for p in pods}) > 1
    url = f"http://{a.address}:{_gateway_port(machines, 'a')}/who"

    def roll() -> None:
        a.kubectl("set", "env", "deploy/roam-v1", "VERSION=v2")
        a.kubectl("rollout", "status", "deploy/roam-v1", "--timeout=60s")

    load = _load(a, url, "roam.example", 0.5, roll)
    assert load.failed == 0, load.report()
    assert load.bodies["v2"]


def test_drain_moves_pods_to_other_nodes(machines: Machines) -> None:
    a = machines.a
    before = {p["metadata"]["name"] for p in machines.pods("roam")
              if p["spec"]["nodeName"] == "c"}  # fmt: skip
    a.kubectl("drain", "c", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=40s")
    try:
        pods = a.wait_ready("app=roam", 3)
        assert "c" not in {p["spec"]["nodeName"] for p in pods}
        rows = {r["name"]: r for r in json.loads(a.weft("node", "list", "-o", "json"))}
        assert rows["c"]["status"] == "Ready,SchedulingDisabled"
        assert (rows["c"]["pods"], rows["c"]["address"]) == (0, machines.c.address)
    finally:
        a.kubectl("uncordon", "c")
    assert before
    assert not before & {p["metadata"]["name"] for p in pods}


def test_pods_are_packed_or_spread_as_their_scheduler_says(machines: Machines) -> None:
    a, where = machines.a, {}
    for scheduler in ("packing", "default-scheduler"):
        name = scheduler.removesuffix("-scheduler")
        ask = f"      schedulerName: {scheduler}\n      containers:"
        text = echo(name, replicas=3).replace("      containers:", ask)
        text = text.replace(
            "image: echo:1", "image: echo:1\n          resources: {requests: {cpu: 500m}}"
        )
        a.weft("apply", "-f", "-", stdin=text)
        where[name] = [p["spec"]["nodeName"] for p in a.wait_ready(f"app={name}", 3)]
        a.kubectl("delete", "deploy", f"{name}-v1")
        wait_for(lambda name=name: not a.items("pods", f"app={name}"), "gone")
    assert len(set(where["packing"])) == 1, where
    assert len(set(where["default"])) > 1, where


def test_weft_drains_a_node_as_budgets_allow(machines: Machines) -> None:
    a = machines.a
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "far"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "wander"}}},
    }  # fmt: skip
    chosen = on("c", echo("wander"))
    a.weft("apply", "-f", "-", stdin=chosen + "\n---\n" + json.dumps(budget))
    (pod,) = a.wait_ready("app=wander", 1)
    assert pod["spec"]["nodeName"] == "c"
    try:
        told = a.run("node", "drain", "c", "--timeout", "3s")
        assert told.returncode == 1
        assert "disruption budget" in told.stderr
        assert "still has pods after 3s" in told.stderr
        assert machines.pods("wander")[0]["metadata"]["uid"] == pod["metadata"]["uid"]
        a.kubectl("delete", "pdb", "far")
        found = json.loads(a.weft("node", "drain", "c", "--timeout", "40s", "-o", "json"))
        assert f"default/{pod['metadata']['name']}" in found["evicted"]
        assert {p["status"] for p in json.loads(a.weft("node", "list", "-o", "json"))
                if p["name"] == "c"} == {"Ready,SchedulingDisabled"}  # fmt: skip
    finally:
        a.weft("node", "uncordon", "c")
        a.kubectl("delete", "deploy", "wander-v1")
    assert "NAME" in a.weft("node", "list").upper()


def test_a_node_that_is_cut_off_loses_its_traffic_and_returns(machines: Machines) -> None:
    a, b = machines.a, machines.b
    wait_for(lambda: {p["spec"]["nodeName"] for p in machines.pods("roam")} >= {"a", "b"} or
             a.kubectl("rollout", "restart", "deploy/roam-v1"), "pods on a and b")  # fmt: skip
    url = f"http://{a.address}:{_gateway_port(machines, 'a')}/who"
    b.plug(False)
    try:
        wait_for(lambda: machines.ready() == ["a", "c"], "b is NotReady", 15)
        taints = a.read("/api/v1/nodes/b")["spec"].get("taints", [])
        assert {t["effect"] for t in taints} == {"NoSchedule", "NoExecute"}
        said = "NodeNotReady. The node's agent and proxy lost their connections. Its pods get no"
        wait_for(lambda: said in a.kubectl("get", "events", "-A"), "an Event says why")
        wait_for(lambda: not [p for p in machines.pods("roam") if p["spec"]["nodeName"] == "b"],
                 "its pods are not ready", 10)  # fmt: skip

        def nothing() -> None:
            return

        load = _load(a, url, "roam.example", 1.0, nothing)
        assert load.failed == 0, load.report()
        assert [p for p in a.items("pods", "app=roam") if p["spec"]["nodeName"] == "b"], (
            "they are not deleted before their toleration ends"
        )
    finally:
        b.plug(True)
    wait_for(lambda: len(machines.ready()) == 3, "b is back", 20)
    wait_for(lambda: [p for p in a.items("pods", "app=roam") if p["spec"]["nodeName"] == "b"
                      and is_ready(p)], "its pods are ready again", 15)  # fmt: skip
    assert not a.read("/api/v1/nodes/b")["spec"].get("taints")


IMPATIENT = """
      tolerations:
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute,
           tolerationSeconds: 1}
"""


def test_pods_of_a_lost_node_are_placed_elsewhere_and_none_of_a_set_runs_twice(
    machines: Machines,
) -> None:
    a, b = machines.a, machines.b
    mover = echo("mover").replace("\n      containers:", IMPATIENT.rstrip() + "\n      containers:")
    keeper = echo("keeper").replace("kind: Deployment", "kind: StatefulSet")
    keeper = keeper.replace("  replicas: 1", "  serviceName: keeper\n  replicas: 1")
    keeper = keeper.replace("\n      containers:", IMPATIENT.rstrip() + "\n      containers:")
    for node in ("a", "c"):
        a.kubectl("cordon", node)
    try:
        a.weft("apply", "-f", "-", stdin=f"{mover}---{keeper}" + service("keeper"))
        (first,) = a.wait_ready("app=keeper", 1)
        (moved,) = a.wait_ready("app=mover", 1)
    finally:
        for node in ("a", "c"):
            a.kubectl("uncordon", node)
    assert {first["spec"]["nodeName"], moved["spec"]["nodeName"]} == {"b"}
    b.plug(False)
    try:
        wait_for(
            lambda: [p for p in a.ready_pods("app=mover") if p["spec"]["nodeName"] != "b"],
            "the pod runs elsewhere",
        )
        wait_for(lambda: "deletionTimestamp" in a.items("pods", "app=keeper")[0]["metadata"],
                 "the pod of the set is to go", 10)  # fmt: skip
        moved_why = a.kubectl("get", "events", "-A", "--field-selector=reason=TaintManagerEviction")
        assert "node b has the taint node.kubernetes.io/unreachable" in moved_why
        (kept,) = a.items("pods", "app=keeper")
        assert kept["metadata"]["uid"] == first["metadata"]["uid"], "nobody took its place"
    finally:
        b.plug(True)

    def replaced() -> bool:
        found = a.ready_pods("app=keeper")
        return len(found) == 1 and found[0]["metadata"]["uid"] != first["metadata"]["uid"]

    wait_for(replaced, "its place is taken once the node said that it ended", 30)
    wait_for(lambda: len(machines.ready()) == 3, "b is back", 20)


@pytest.mark.skipif(archives.busybox() is None, reason="needs a static busybox")
def test_nodes_run_images_that_were_imported_on_the_server(
    machines: Machines, tmp_path: Path
) -> None:
    layers = [archives.base_layer(), archives.page("from the image\n")]
    archive = archives.docker_archive(tmp_path / "web.tar", "shop/web:1", layers, archives.HTTPD)
    machines.a.weft("image", "import", str(archive))
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "imported"},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": "b"}, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "web", "image": "shop/web:1"}],
        },
    }  # fmt: skip
    machines.a.weft("apply", "-f", "-", stdin=json.dumps(pod))
    wait_for(lambda: is_ready(machines.a.pod("imported")), "runs on b")
    said = machines.a.kubectl("exec", "imported", "--", "cat", "/www/index.html")
    assert said == "from the image\n"
    assert "shop/web:1" in machines.b.weft("image", "list")
    machines.a.kubectl("delete", "pod", "imported")


def test_a_deleted_node_stays_out_until_it_gets_a_new_token(machines: Machines) -> None:
    """Neither its agent nor its proxy nor anybody with its certificate comes back."""
    a, c = machines.a, machines.c
    assert "is this server itself" in a.run("node", "delete", "a").stderr
    assert "not found" in a.run("node", "delete", "nowhere").stderr
    a.weft("apply", "-f", "-", stdin=on("c", echo("last")))
    (pod,) = a.wait_ready("app=last", 1)
    told = a.run("node", "delete", "c")
    assert told.returncode == 1
    assert pod["metadata"]["name"] in told.stderr
    assert "weft node drain c" in told.stderr
    pid, stolen = a.pid_of(pod["metadata"]["name"]), c.data_dir / "stolen"
    shutil.copytree(c.data_dir / "node-pki", stolen)
    assert "Forbidden" in _with_certificate(c, stolen), "it is known as a node"
    a.weft("node", "delete", "c", "--force")
    assert [n["metadata"]["name"] for n in machines.nodes()] == ["a", "b"]
    assert "was removed" in _with_certificate(c, stolen)
    wait_for(lambda: not c.run_dir.exists(), "its agent has ended", 40)
    assert not Path(f"/proc/{pid}").exists(), "and what ran there"
    again = c.run("agent", "--join", f"https://{a.address}:6443", "--name", "c", "--detach")
    assert again.returncode == 1
    assert "WEFT2680" in again.stderr
    c.join(a, a.weft("token", "create").strip())
    wait_for(lambda: len(machines.ready()) == 3, "it is back with a new token", 30)
    assert "was removed" in _with_certificate(c, stolen), "what was its certificate stays out"
    (pod,) = a.wait_ready("app=last", 1)
    assert pod["spec"]["nodeName"] == "c"
    a.kubectl("delete", "deploy", "last-v1")


def test_a_server_without_a_node_runs_pods_on_what_joins() -> None:
    fabric = Fabric()
    try:
        server, node = fabric.machine("server"), fabric.machine("node")
        up = ("server", "--no-node", "--listen", server.address, "--detach")
        refused = server.run(*up, "--name", "server")
        assert refused.returncode == 1
        assert "--no-node has none" in refused.stderr
        server.weft(*up)
        node.join(server, server.weft("token", "create").strip())
        server.kubectl("apply", "-f", "-", stdin=echo("web"))
        (pod,) = server.wait_ready("app=web", 1)
        assert pod["spec"]["nodeName"] == "node"
        said = server.kubectl("exec", "deploy/web-v1", "--", "echo", "hello")
        assert said.strip() == "hello"
        assert "ready" in server.kubectl("logs", "deploy/web-v1")
        assert server.kubectl("get", "nodes", "-o", "name").split() == ["node/node"]
        assert "acked" in server.weft("status")
        links = subprocess.run(
            [*server.enter(), "ip", "-br", "link"], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert sorted(line.split("@")[0].split()[0] for line in links) == ["eth0", "lo"]
    finally:
        fabric.close()


def _with_certificate(machine: Machine, directory: Path) -> str:
    """What the server says to whoever has a node's certificate and asks for what no node may."""
    shown = [f"--{option}={directory / name}" for option, name in (
        ("client-certificate", "client.crt"), ("client-key", "client.key"),
        ("certificate-authority", "ca.crt"))]  # fmt: skip
    server = f"https://{machine.fabric.machines[0].address}:6443"
    return machine.kubectl_plain("--server", server, *shown, "get", "secrets")
