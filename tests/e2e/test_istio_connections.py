"""Connections by Istio's rarer fields: routes by the caller's network, the PROXY protocol."""

import base64
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from tests.e2e import manifests as m
from tests.e2e.callers import Caller
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for
from tests.pki.test_signing_requests import BOTH, KEY, pem, uri
from tests.xds.certificates import make_certificate
from weft.pki.signing_requests import WORKLOAD

pytestmark = pytest.mark.e2e

TALK = """
async def main():
    import asyncio
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection({host!r}, 25), 5)
        greeting = await asyncio.wait_for(reader.readline(), 5)
        writer.write(b"hello\\r\\n")
        said = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return [greeting.decode(), said.decode()]
    except (OSError, TimeoutError) as error:
        return [repr(error), ""]
"""


def plain(name: str) -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  containers: [{{name: plain, image: "plain:1", ports: [{{name: greet, containerPort: 2525}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: tcp, port: 25, targetPort: greet}}]
"""


@pytest.fixture(scope="module")
def callers(isolated: Instance) -> tuple[Caller, Caller]:
    isolated.image("plain:1", APPS / "plain", sys.executable, "app.py")
    isolated.weft("apply", "-f", "-", stdin=plain("one") + plain("two"))
    if isolated.isolation != "netns":
        pytest.skip("callers have no addresses of their own")
    return Caller(isolated, "first"), Caller(isolated, "second")


def talk(caller: Caller, host: str) -> Any:
    return run_inside(caller.weft, caller.host, TALK.format(host=host))


def address(caller: Caller) -> str:
    (pod,) = caller.weft.ready_pods(f"app={caller.name}")
    return str(pod["status"]["podIP"])


def test_routes_by_the_network_of_the_caller(callers: tuple[Caller, Caller]) -> None:
    first, second = callers
    wait_for(lambda: talk(first, "one")[0].startswith("220 one"), "one answers")
    rule = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: one}}
spec:
  hosts: [one]
  tcp:
    - match: [{{sourceSubnet: {address(first)}/32}}]
      route: [{{destination: {{host: two}}}}]
    - route: [{{destination: {{host: one}}}}]
"""
    first.weft.weft("apply", "-f", "-", stdin=rule)
    wait_for(lambda: talk(first, "one")[0].startswith("220 two"), "the first caller gets two")
    assert talk(second, "one")[0].startswith("220 one")
    first.weft.weft("delete", "virtualservice", "one")


def test_the_proxy_protocol_tells_the_server_who_calls(callers: tuple[Caller, Caller]) -> None:
    first, second = callers
    assert talk(first, "two")[1] == "250 hello\r\n"
    rule = m.subsets("two").replace("trafficPolicy: {}", "trafficPolicy: {proxyProtocol: {}}")
    first.weft.weft("apply", "-f", "-", stdin=rule.split("  subsets:")[0])
    for caller in (first, second):
        wanted = f"250 PROXY TCP4 {address(caller)} "
        wait_for(lambda: talk(caller, "two")[1].startswith(wanted), wanted)  # noqa: B023


def test_gateways_listen_where_they_are_told_to(callers: tuple[Caller, Caller]) -> None:
    """Two servers with one port and one host, at two addresses, are two servers."""
    weft, addresses = callers[0].weft, ("127.200.9.1", "127.200.9.2")
    text = "".join(
        m.gateway(f"bind-{name}", "bind.test").replace(
            "hosts:", f"bind: {address}\n      hosts:", 1
        )
        + m.routes(f"bind-{name}", m.to(name), "bind.test", f"bind-{name}")
        for name, address in zip(("first", "second"), addresses, strict=True)
    )
    weft.weft("apply", "-f", "-", stdin=text)
    for caller, address in zip(callers, addresses, strict=True):
        place = f"bind {address}"
        assert weft.bound(80, place)[0] == address

        def answers() -> bool:
            status, body = ask(weft, "/slow?seconds=0", "bind.test", gateway=place)  # noqa: B023
            return status == 200 and caller.name in body  # noqa: B023

        wait_for(answers, f"{caller.name} answers at {address}")
    assert ask(weft, "/who", "bind.test")[0] == 404, "not at the shared address"


def test_gateways_route_by_the_network_of_the_caller(callers: tuple[Caller, Caller]) -> None:
    weft, address = callers[0].weft, "127.200.9.6"
    text = m.gateway("networks", "*", 2500).replace("protocol: HTTP", "protocol: TCP")
    text = text.replace("hosts:", f"bind: {address}\n      hosts:", 1)
    text += """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: networks}
spec:
  hosts: ["*"]
  gateways: [networks]
  tcp:
    - match: [{sourceSubnet: 127.0.0.8/29}]
      route: [{destination: {host: two}}]
    - route: [{destination: {host: one}}]
"""
    weft.weft("apply", "-f", "-", stdin=text)
    place = weft.bound(2500, f"bind {address}")

    def greeting(source: str) -> bytes:
        try:
            with socket.create_connection(place, 5, source_address=(source, 0)) as found:
                return found.recv(64)
        except OSError:
            return b""

    wait_for(lambda: greeting("127.0.0.9").startswith(b"220 two"), "two for the network")
    assert greeting("127.0.0.1").startswith(b"220 one")


def test_mutual_tls_of_the_mesh_at_a_gateway(
    callers: tuple[Caller, Caller], tmp_path: Path
) -> None:
    """ISTIO_MUTUAL on both sides: the caller shows its workload's certificate, the gateway its own.
    Strangers, who have none, do not get in."""
    weft, address = callers[0].weft, "127.200.9.3"
    edge = m.gateway("mutual", "mutual.test", 8443).replace("protocol: HTTP", "protocol: HTTPS")
    edge = edge.replace(
        "hosts:", f"bind: {address}\n      tls: {{mode: ISTIO_MUTUAL}}\n      hosts:"
    )
    entry = f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: mutual}}
spec:
  hosts: [mutual.test]
  addresses: [192.0.2.43]
  resolution: STATIC
  endpoints: [{{address: {address}}}]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8443}}]
"""
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mutual}
spec: {host: mutual.test, trafficPolicy: {tls: {mode: ISTIO_MUTUAL%s}}}
"""
    routes = m.routes("mutual", m.to("second"), "mutual.test", "mutual")
    weft.weft("apply", "-f", "-", stdin=edge + entry + rule % "" + routes)
    assert weft.bound(8443, f"bind {address}") == (address, 8443)
    url = "http://192.0.2.43/slow?seconds=0"
    assert "second" in callers[0].settles(url, 200, "mutual.test")

    assert stranger(address, 8443).endswith(b"CERTIFICATE_REQUIRED")

    # Policies of the gateway see whose certificate it is; the back end's see the gateway.
    for account, wanted in (("somebody", 403), ("default", 200)):
        weft.weft("apply", "-f", "-", stdin=CLIENTS_OF_GATEWAY % account)
        callers[0].settles(url, wanted, "mutual.test")
    weft.weft("delete", "-f", "-", stdin=CLIENTS_OF_GATEWAY % "default")

    # So with machines that weft does not run: the signer gives them their account's identity.
    outside = client_of_signer(weft, tmp_path, "outside")
    for account, wanted in (("somebody", b"HTTP/1.1 403"), ("outside", b"HTTP/1.1 200")):
        weft.weft("apply", "-f", "-", stdin=CLIENTS_OF_GATEWAY % account)
        wait_for(lambda: asked(outside, address, 8443) == wanted, f"{wanted!r}")  # noqa: B023
    callers[0].settles(url, 403, "mutual.test")
    weft.weft("delete", "-f", "-", stdin=CLIENTS_OF_GATEWAY % "default")

    other = ', subjectAltNames: ["spiffe://cluster.local/ns/default/sa/other"]'
    weft.weft("apply", "-f", "-", stdin=rule % other)
    callers[0].settles(url, 503, "mutual.test")


CLIENTS_OF_GATEWAY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: clients, namespace: istio-system}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  action: DENY
  rules:
  - to: [{operation: {hosts: [mutual.test]}}]
    from: [{source: {notPrincipals: [cluster.local/ns/default/sa/%s]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: behind-the-gateway, namespace: default}
spec:
  selector: {matchLabels: {app: second}}
  rules:
  - from: [{source: {namespaces: [istio-system]}}]
"""


def stranger(address: str, port: int) -> bytes:
    """What the server says to a client without a certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), 5) as raw,
            context.wrap_socket(raw, server_hostname="mutual.test") as wrapped,
        ):
            return wrapped.recv(100)  # TLS 1.3: the refusal comes after the handshake
    except ssl.SSLError as error:
        return error.reason.encode()


def client_of_signer(weft: Instance, directory: Path, account: str) -> ssl.SSLContext:
    """TLS as a client outside speaks it that asked the signer `weft.dev/workload`, in the name of a
    service account, and trusts the mesh's roots."""
    binding = f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {account}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: {account}}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: weft:workload-certificates
subjects: [{{kind: ServiceAccount, name: {account}, namespace: default}}]
"""
    weft.weft("apply", "-f", "-", stdin=binding)
    token = weft.kubectl("create", "token", account).strip()
    names = (uri(f"spiffe://cluster.local/ns/default/sa/{account}"),)
    request = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": account},
        "spec": {
            "request": pem("", (), *names), "signerName": WORKLOAD, "usages": list(BOTH),
        },
    }  # fmt: skip
    # A kubeconfig has a certificate, which would win over the token.
    bare = directory / "kubeconfig"
    whole = yaml.safe_load(weft.kubeconfig.read_text())
    whole["users"][0]["user"] = {"token": token}
    bare.write_text(json.dumps(whole))
    weft.kubectl("--kubeconfig", str(bare), "create", "-f", "-", stdin=json.dumps(request))
    path = f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{account}"
    issued = wait_for(lambda: weft.read(path)["status"].get("certificate"), "a certificate")
    key = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = directory / "client.pem"
    files.write_bytes(key + base64.b64decode(issued))
    roots = weft.read("/api/v1/namespaces/kube-system/configmaps/istio-ca-root-cert")["data"]
    context = ssl.create_default_context(cadata=roots["root-cert.pem"])
    context.check_hostname = False  # its name is a SPIFFE ID
    context.load_cert_chain(files)
    return context


def asked(context: ssl.SSLContext, address: str, port: int) -> bytes:
    """How the server answers a request."""
    with (
        socket.create_connection((address, port), 5) as raw,
        context.wrap_socket(raw, server_hostname="mutual.test") as wrapped,
    ):
        wrapped.sendall(b"GET /slow?seconds=0 HTTP/1.1\r\nhost: mutual.test\r\n\r\n")
        return wrapped.recv(12)


SIDECARS = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: behind}
spec:
  workloadSelector: {labels: {app: behind}}
  ingress:
    - port: {number: 8081, protocol: HTTP, name: http}
      defaultEndpoint: 127.0.0.1:8080
      connectionPool: {http: {http2MaxRequests: 2, http1MaxPendingRequests: 1}}
    - port: {number: 8443, protocol: HTTPS, name: https}
      defaultEndpoint: 127.0.0.1:8080
      tls: {mode: SIMPLE, credentialName: behind}
    - port: {number: 8082, protocol: TCP, name: bytes}
      defaultEndpoint: 127.0.0.1:8080
      connectionPool: {tcp: {idleTimeout: 2s}}
  egress: [{hosts: ["*/*"]}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: first}
spec:
  workloadSelector: {labels: {app: first}}
  egress:
    - port: {number: 25, protocol: TCP, name: tcp}
      bind: 127.0.0.1
      hosts: ["./one.default.svc.cluster.local"]
    - port: {number: 80, protocol: HTTP, name: http}
      captureMode: NONE
      hosts: ["*/*", "~/first.default.svc.cluster.local"]
    - hosts: ["*/*"]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: second}
spec:
  workloadSelector: {labels: {app: second}}
  inboundConnectionPool: {http: {http2MaxRequests: 2, http1MaxPendingRequests: 1}}
  egress: [{hosts: ["*/*"]}]
"""

MANY = """
async def main():
    import asyncio
    from aiohttp import ClientSession, TCPConnector
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        async def one():
            async with session.get("http://%s/slow?seconds=1") as answer:
                return answer.status
        return await asyncio.gather(*(one() for _ in range(8)))
"""


@pytest.fixture(scope="module")
def behind(callers: tuple[Caller, Caller]) -> str:
    """A program that listens on loopback only; the address of its pod."""
    weft = callers[0].weft
    certificate, key = make_certificate("behind.test")
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "behind"},
        "type": "kubernetes.io/tls", "stringData": {"tls.crt": certificate, "tls.key": key},
    }  # fmt: skip
    weft.weft("apply", "-f", "-", stdin=json.dumps(secret))
    own = "env: [{name: HOST, value: 127.0.0.1}, {name: PORT, value: '8080'}, "
    program = m.echo("behind", port=8081).replace("env: [", own)
    weft.weft("apply", "-f", "-", stdin=f"{SIDECARS}---{program}{m.service('behind')}")
    (pod,) = weft.wait_ready("app=behind", 1)
    return str(pod["status"]["podIP"])


def test_programs_behind_their_proxy(callers: tuple[Caller, Caller], behind: str) -> None:
    """`ingress`: the port that callers know, TLS that ends there, and limits of its own."""
    first, _ = callers
    first.settles("http://behind/who", 200)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((behind, 8443), timeout=10) as plain_socket,
        context.wrap_socket(plain_socket, server_hostname="behind.test") as stream,
    ):
        stream.sendall(b"GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert stream.recv(64).startswith(b"HTTP/1.1 200")
    with socket.create_connection((behind, 8082), timeout=20) as quiet:
        quiet.sendall(b"GET /who HTTP/1.1\r\nhost: x\r\n\r\n")
        # Until the proxy closes it: the program waits for longer.
        said = b"".join(iter(lambda: quiet.recv(1000), b""))
        assert said.startswith(b"HTTP/1.1 200")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((behind, 8080), timeout=10)
    statuses = run_inside(first.weft, first.host, MANY % "behind")
    assert (min(statuses), max(statuses)) == (200, 503)
    assert statuses.count(200) <= 4


def test_limits_of_calls_to_a_workload(callers: tuple[Caller, Caller], behind: str) -> None:
    """`inboundConnectionPool`; who calls is known behind it as before."""
    first, _ = callers
    statuses = run_inside(first.weft, first.host, MANY % "second")
    assert (min(statuses), max(statuses)) == (200, 503)
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: second}
spec:
  selector: {matchLabels: {app: second}}
  rules:
    - from: [{source: {principals: ["cluster.local/ns/default/sa/default"]}}]
      to: [{operation: {ports: ["8080"]}}]
"""
    first.weft.weft("apply", "-f", "-", stdin=policy)
    wait_for(lambda: ask(first.weft, "/who", "second.run")[0] == 403, "gateways are refused")
    assert first.status("http://second/who") == 200
    first.weft.weft("delete", "-f", "-", stdin=policy)
    wait_for(lambda: ask(first.weft, "/who", "second.run")[0] == 200, "gateways are let in")


def test_addresses_that_a_workload_calls_at(callers: tuple[Caller, Caller], behind: str) -> None:
    """`bind` of `egress`, for connections and requests, and hosts that are left out."""
    first, second = callers
    wait_for(lambda: talk(first, "127.0.0.1")[0].startswith("220 one"), "one answers at loopback")
    assert "refused" in talk(second, "127.0.0.1")[0].lower()
    first.settles("http://127.0.0.1/who", 200, "behind.default")
    assert first.status("http://127.0.0.1/who", "first.default") != 200
