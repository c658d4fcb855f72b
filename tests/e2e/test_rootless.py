"""Network namespaces for pods of a user without any right, as root has them: through a user
namespace. `front` and `other` call `api` and `page`, a container from an image; `walled` takes
calls of `other` only."""

import asyncio
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests.e2e import manifests as m
from tests.e2e import ordinary, steady
from tests.e2e.conftest import APPS
from tests.e2e.instance import Load, ask, kubectl_binary, run_inside, wait_for
from tests.e2e.ordinary import OrdinaryInstance
from tests.e2e.test_authorization import account, policy, spoken, tls_gateway
from weft.lib.instance import process_start, read_running
from weft.node.probe import decide

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(kubectl_binary() is None, reason="needs kubectl"),
    pytest.mark.skipif(archives.busybox() is None, reason="needs a static busybox"),
]
PAGE = """
---
apiVersion: v1
kind: Pod
metadata: {name: page, labels: {app: page}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: shop/web:1
    args: [-p, "80", -h, /www]
    securityContext: {runAsUser: 1000}
    ports: [{name: http, containerPort: 80}]
    readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: walled}
spec:
  podSelector: {matchLabels: {app: walled}}
  ingress: [{from: [{podSelector: {matchLabels: {app: other}}}]}]
"""
NO_SECRETS = policy(
    "no-secrets", """
action: DENY
selector: {matchLabels: {app: api}}
rules:
- from: [{source: {serviceAccounts: [front]}}]
  to: [{operation: {paths: ["/seen/secret"]}}]
""",
)  # fmt: skip
CALLS = """
import asyncio, os, socket
from aiohttp import ClientError, ClientSession, ClientTimeout

async def status(session, url):
    try:
        async with session.get(url) as answer:
            await answer.read()
            return answer.status
    except (ClientError, OSError, TimeoutError) as error:
        return type(error).__name__

async def main():
    async with ClientSession(timeout=ClientTimeout(total=3)) as session:
        return await asyncio.gather(*(status(session, url) for url in URLS))
"""


@pytest.fixture(scope="module")
def weft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrdinaryInstance]:
    refused = ordinary.refusals()
    if why := refused["user.mounts"]:
        pytest.skip(f"this kernel gives users no namespaces of their own: {why}")
    assert decide("netns", refused).rootless, refused
    folder = tmp_path_factory.mktemp("images")
    layers = [archives.base_layer(), archives.page("a page\n")]
    archive = archives.docker_archive(folder / "web.tar", "shop/web:1", layers, archives.HTTPD)
    text = m.echo("api") + m.service("api") + "---" + m.echo("walled") + m.service("walled")
    for name in ("front", "other"):
        text += account(name, m.echo(name)) + m.service(name)
        text += m.gateway(name, f"{name}.example")
        text += m.routes(name, m.to(name), f"{name}.example", name)
    text += PAGE + m.service("page") + NO_SECRETS
    with ordinary.made() as instance:
        load(instance, archive)
        instance.up()
        instance.weft("apply", "-f", "-", stdin=text)
        for name in ("api", "walled", "front", "other", "page"):
            instance.wait_ready(f"app={name}", 1)
        yield instance


def load(instance: OrdinaryInstance, archive: Path) -> None:
    """The user must be able to read it: pytest's folders are root's alone."""
    there = instance.data_dir / "web.tar"
    there.write_bytes(archive.read_bytes())
    instance.weft("image", "import", str(there))


def statuses(weft: OrdinaryInstance, name: str, *urls: str) -> list[Any]:
    """What a pod gets for each URL."""
    wait_for(lambda: reachable(weft, name), f"{name} behind the gateway")
    found: list[Any] = run_inside(weft, f"{name}.example", f"URLS = {urls!r}\n{CALLS}")
    return found


def reachable(weft: OrdinaryInstance, name: str) -> bool:
    try:
        return ask(weft, "/who", f"{name}.example")[0] == 200
    except OSError:
        return False


def pod_of(weft: OrdinaryInstance, app: str) -> Any:
    (pod,) = weft.ready_pods(f"app={app}")
    return pod


def test_pods_have_addresses_of_their_own_and_names_lead_to_services(
    weft: OrdinaryInstance,
) -> None:
    assert weft.running.isolation == "netns"
    addresses = {pod_of(weft, app)["status"]["podIP"] for app in ("api", "walled", "front")}
    assert len(addresses) == 3
    urls = ("http://api/who", "http://page.default.svc.cluster.local/", "http://page/none")
    assert statuses(weft, "front", *urls) == [200, 200, 404]
    caller = json.loads(weft.kubectl("exec", "deploy/front-v1", "--", "sh", "-c", SHOWN))
    assert caller == {"uid": weft.uid, "rights": "0000000000000000"}


SHOWN = """
printf '{"uid": %s, "rights": "%s"}' $(id -u) $(sed -n 's/CapBnd:.//p' /proc/self/status)
"""


def test_containers_from_images_are_the_users_that_they_want(weft: OrdinaryInstance) -> None:
    assert weft.kubectl("exec", "page", "--", "id", "-u").strip() == "1000"
    shown = weft.kubectl("exec", "page", "--", "cat", "/www/index.html")
    assert shown == "a page\n"


def test_policies_tell_callers_apart(weft: OrdinaryInstance) -> None:
    walled = pod_of(weft, "walled")["status"]["podIP"]
    urls = ("http://api/seen/secret", "http://walled/who", f"http://{walled}:8080/who")
    assert statuses(weft, "other", *urls) == [200, 200, 200]
    assert [status for status in statuses(weft, "front", *urls) if status == 200] == []


def test_ports_are_forwarded_and_logs_read(weft: OrdinaryInstance) -> None:
    assert "ready" in weft.kubectl("logs", "deploy/api-v1")
    command = [str(kubectl_binary()), "--kubeconfig", str(weft.kubeconfig)]
    with subprocess.Popen(
        [*command, "port-forward", "pod/page", ":80"], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        try:
            port = client.stdout.readline().split(" -> ")[0].rpartition(":")[2]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                assert answer.read() == b"a page\n"
        finally:
            client.terminate()


def test_a_pod_is_no_way_into_its_node_or_its_neighbours(weft: OrdinaryInstance) -> None:
    program = str(APPS / "intruder.py")
    run_dir, data_dir = str(weft.run_dir.parent), str(weft.data_dir)
    assert weft.run_dir.joinpath("podhost.sock").exists()
    parts = [str(pid) for pid in node_processes(weft)]
    neighbour = str(weft.pid_of(pod_of(weft, "api")["metadata"]["name"]))
    said = weft.kubectl(
        *("exec", "deploy/front-v1", "--", sys.executable, program),
        *(neighbour, run_dir, data_dir, *parts),
    )  # fmt: skip
    outcomes = json.loads(said)
    assert len(outcomes) == 6 + 2 * 3 + 8 * (1 + len(parts))
    assert [name for name, outcome in outcomes.items() if outcome == "done"] == []


def node_processes(weft: OrdinaryInstance) -> list[int]:
    """The daemon, what keeps the namespaces, the pod host, and both Envoys."""
    kept = json.loads((weft.run_dir / "userns.json").read_text())["keeper"]
    found = [
        weft.running.pid,
        kept,
        *steady.programs(weft, "podhost"),
        *steady.programs(weft, "bin/envoy"),
    ]
    assert len(found) >= 5  # more while some that were replaced drain
    return found


# --- callers outside, and what lies outside

ELSEWHERE = """
---
apiVersion: v1
kind: Service
metadata: {name: page-direct}
spec: {clusterIP: None, selector: {app: page}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: by-name}
spec:
  hosts: [by-name.test]
  resolution: DNS
  endpoints: [{address: page-direct.default.svc.cluster.local}]
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: private}
spec:
  hosts: [private.test]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: PORT}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: local-name}
spec:
  hosts: [local-name.test]
  resolution: DNS
  endpoints: [{address: localhost}]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: PORT}]
"""
CLOSED_TO_DATAGRAMS = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: dns}
spec: {gatewayClassName: weft, listeners: [{name: dns, protocol: UDP, port: 5353}]}
---
apiVersion: v1
kind: Service
metadata: {name: api-outside}
spec:
  type: NodePort
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: http}, {name: dns, protocol: UDP, port: 53}]
"""


def asked_from(address: str, url: str, host: str) -> Any:
    """What the echo program says of a request that comes from this address of the machine."""
    said = subprocess.run(
        ["curl", "-sS", "-m", "20", "--interface", address, "-H", f"Host: {host}", url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(said.stdout)


@pytest.mark.tools("curl")
def test_callers_outside_have_their_addresses(weft: OrdinaryInstance) -> None:
    for address in ("127.0.0.76", "127.0.0.77"):
        seen = asked_from(address, weft.gateway() + "/echo", "front.example")
        assert seen["headers"]["X-Forwarded-For"] == address
    # Between the two proxies an address stands in a header; a caller's own is content, and no HTTP.
    forged = (
        b"PROXY TCP4 10.9.9.9 10.9.9.8 1 2\r\nGET /echo HTTP/1.0\r\nhost: front.example\r\n\r\n"
    )
    with socket.create_connection(weft.bound(80), timeout=20) as connection:
        connection.sendall(forged)
        assert connection.recv(1024).startswith(b"HTTP/1.1 400")


def test_tls_ends_at_the_gateway(weft: OrdinaryInstance) -> None:
    weft.weft("apply", "-f", "-", stdin=tls_gateway())
    place = weft.bound(443)
    wait_for(
        lambda: spoken(place, ssl.create_default_context()) == "TLSv1.3 HTTP/1.1 200",
        "an answer over TLS",
    )
    unknown = spoken(place, ssl.create_default_context(), "three.tls.nowhere")
    assert "HTTP" not in unknown


def test_services_listen_on_the_machine_but_not_for_datagrams(weft: OrdinaryInstance) -> None:
    weft.weft("apply", "-f", "-", stdin=CLOSED_TO_DATAGRAMS)
    tcp, udp = (p["nodePort"] for p in weft.get("service", "api-outside")["spec"]["ports"])

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{tcp}/who", timeout=20) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_for(answers, "the NodePort")

    def told() -> list[str]:
        found = weft.status()["diagnostics"]
        return sorted(d["message"] for d in found if d["code"] == "WEFT2514")

    closed = wait_for(lambda: len(told()) >= 2 and told(), "what is closed")
    assert len(closed) == 2, closed
    assert any("so port 5353 is closed" in text for text in closed)
    assert any(f"so port {udp} of 127.0.0.1 is closed" in text for text in closed)
    (dns,) = (
        s for s in weft.get("gateway.gateway.networking.k8s.io", "dns")["status"]["listeners"]
    )
    programmed = next(c for c in dns["conditions"] if c["type"] == "Programmed")
    assert (programmed["status"], programmed["reason"]) == ("False", "NoResources")


class Listening:
    """An HTTP server of the machine that counts who asks."""

    def __init__(self, address: str) -> None:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked += 1
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.asked = 0
        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def machine_address() -> str:
    """An address of this machine that is not its loopback; empty where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.200", 9))  # sends nothing
        except OSError:
            return ""
        found: str = probe.getsockname()[0]
        return "" if found.startswith("127.") else found


def test_pods_reach_the_machines_network_and_names(weft: OrdinaryInstance) -> None:
    address = machine_address()
    if not address:
        pytest.skip("the machine has no address but its loopback")
    server = Listening(address)
    try:
        weft.weft("apply", "-f", "-", stdin=ELSEWHERE.replace("PORT", str(server.port)))
        urls = (f"http://{address}:{server.port}/", "https://kubernetes/version")
        wait_for(lambda: statuses(weft, "front", "http://by-name.test/") == [200], "a name")
        found, api = statuses(weft, "front", *urls)
        assert found == 200
        assert api == "ClientConnectorCertificateError"  # it spoke TLS; the program knows no CA
        assert server.asked == 1
    finally:
        server.close()


def test_what_listens_for_the_machine_alone_is_not_reached(weft: OrdinaryInstance) -> None:
    server = Listening("127.0.0.1")
    try:
        weft.weft("apply", "-f", "-", stdin=ELSEWHERE.replace("PORT", str(server.port)))
        urls = (
            *("http://private.test/", "http://local-name.test/"),
            *(f"http://{a}:{server.port}/" for a in ("127.0.0.1", "0.0.0.0", "[::1]")),
            f"http://169.254.169.254:{server.port}/",
        )
        found = statuses(weft, "front", *urls)
        assert [status for status in found if status == 200] == []
        assert server.asked == 0
    finally:
        server.close()


def test_other_machines_cannot_join_without_root(weft: OrdinaryInstance) -> None:
    second = str(weft.data_dir / "second")
    refused = ordinary.as_user(
        *(weft.uid, sys.executable, "-m", "weft.cli", "server", "--listen", "127.0.0.1"),
        *("--isolation", "netns", "--data-dir", second, "--port", "0"),
    )
    assert refused.returncode != 0
    assert "without root" in refused.stdout + refused.stderr


# --- faults


def test_calls_go_on_while_weft_is_killed_and_started_again(weft: OrdinaryInstance) -> None:
    """By name, over new connections."""
    weft.weft("apply", "-f", "-", stdin=json.dumps(steady.pod()))
    steady.more_calls(weft, "at first")
    before = {pod["name"]: pod["pid"] for pod in weft.status()["pods"]}
    servers = steady.name_servers(weft)
    weft.kill_9()
    steady.more_calls(weft, "while weft does not run")
    weft.up()
    weft.wait_ready("app=api", 1)
    assert {pod["name"]: pod["pid"] for pod in weft.status()["pods"]} == before
    assert steady.name_servers(weft) == servers, "it is adopted"
    steady.more_calls(weft, "after the start")
    assert steady.calls(weft)[1] == "[]"
    weft.kill_9()
    steady.kill_name_server(weft)
    steady.more_calls(weft, "after the DNS server was killed")
    weft.up()


def test_the_parts_of_the_node_are_back_when_they_are_killed(weft: OrdinaryInstance) -> None:
    pods = {pod["name"]: pod["pid"] for pod in weft.status()["pods"]}
    before = node_processes(weft)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: read_running(str(weft.data_dir)) is None, "daemon gone")
    weft.up()
    wait_for(lambda: reachable(weft, "front"), "the gateway again")
    assert statuses(weft, "front", "http://api/who") == [200]
    assert not set(node_processes(weft)) & set(before)
    assert {pod["name"]: pod["pid"] for pod in weft.status()["pods"]} == pods


async def test_callers_outside_lose_no_call_when_weft_is_killed_or_proxies_are_replaced(
    weft: OrdinaryInstance,
) -> None:
    before = weft.status()["proxies"][0]
    assert before["relay"]["connected"]
    async with Load(weft.gateway() + "/who", headers={"Host": "front.example"}) as load:
        await load.until(100)
        weft.kill_9()
        await load.until(load.total + 50)
        await asyncio.to_thread(weft.up)
        await asyncio.to_thread(wait_for, lambda: in_sync(weft), "proxies in sync")
        await load.until(load.total + 50)
        await asyncio.to_thread(weft.weft, "proxy", "restart")
        await load.until(load.total + 200)
    assert (load.errors, set(load.statuses)) == ([], {200})
    after = weft.status()["proxies"][0]
    assert after["pid"] != before["pid"]
    assert after["relay"]["pid"] != before["relay"]["pid"]


def in_sync(weft: OrdinaryInstance) -> bool:
    (proxy,) = weft.status()["proxies"]
    return bool(proxy["inSync"] and proxy["relay"]["connected"])


def test_nothing_is_left_when_it_is_stopped(weft: OrdinaryInstance) -> None:
    pods = [int(pod["pid"]) for pod in weft.status()["pods"]]
    started = {pid: process_start(pid) for pid in (*node_processes(weft), *pods)}
    assert len(pods) >= 5
    assert all(started.values())
    weft.weft("down")
    left = [pid for pid, start in started.items() if process_start(pid) == start]
    assert left == []
    assert not weft.run_dir.exists()
    assert str(weft.run_dir) not in Path("/proc/self/mountinfo").read_text()
