"""What VirtualServices promise beyond plain routes: cross-origin rules, shares of faults and
copies, callers told apart by labels, delegates, connections by server name."""

import json
import socket
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, ask_all, run_inside, wait_for
from tests.xds.certificates import make_certificate

pytestmark = pytest.mark.e2e

CLIENT, ADMIN, SHADOW = "client.example", "admin.example", "shadow.example"
STRANGER = "stranger.example"
"""A caller of namespace `elsewhere`."""
SHARED = """
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: api, version: v1}
  ports: [{name: tcp-greet, port: 2500, targetPort: 2525}]
---
apiVersion: v1
kind: Service
metadata: {name: hello-v2}
spec:
  selector: {app: api, version: v2}
  ports: [{name: tcp-greet, port: 2500, targetPort: 2525}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hello}
spec:
  hosts: [hello]
  tcp:
    - match: [{sourceLabels: {app: admin}}, {sourceNamespace: elsewhere}]
      route: [{destination: {host: hello-v2}}]
    - route: [{destination: {host: hello}}]
---
apiVersion: v1
kind: Service
metadata: {name: pick}
spec:
  selector: {app: api}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: http-more, port: 81, targetPort: http}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: pick}
spec:
  hosts: [pick, pick.example]
  gateways: [mesh, front]
  http:
    - match: [{sourceNamespace: elsewhere, uri: {prefix: /}}]
      directResponse: {status: 210}
    - match: [{port: 81}]
      directResponse: {status: 211}
    - match: [{authority: {prefix: pick.default}}]
      directResponse: {status: 212}
    - match: [{gateways: [mesh], uri: {exact: /gate}}]
      directResponse: {status: 213}
    - match: [{gateways: [front], uri: {exact: /gate}}]
      directResponse: {status: 214}
    - match: [{method: {regex: "P(U|OS)T"}}, {headers: {x-any: {}}}]
      directResponse: {status: 215}
    - directResponse: {status: 216}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api]
  http:
    - match: [{sourceLabels: {app: admin, version: v1}, uri: {prefix: /who}}]
      route: [{destination: {host: api, subset: v2}}]
    - match: [{sourceLabels: {app: admin, version: v2}}]
      directResponse: {status: 418}
    - route: [{destination: {host: api, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: tls}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 8443, name: tls, protocol: TLS}
      hosts: ["*.secure.example"]
      tls: {mode: PASSTHROUGH}
    - port: {number: 2500, name: tcp, protocol: TCP}
      hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tls}
spec:
  hosts: ["*.secure.example"]
  gateways: [tls, mesh]
  tls:
    - match: [{port: 8443, sniHosts: [a.secure.example]}]
      route: [{destination: {host: vault-a, port: {number: 8443}}}]
    - match: [{port: 8443, sniHosts: ["*.secure.example"]}]
      route: [{destination: {host: vault-b, port: {number: 8443}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tcp}
spec:
  hosts: ["*"]
  gateways: [tls]
  tcp:
    - match: [{port: 2500}]
      route: [{destination: {host: hello-v2}}]
"""

TLS_NAME = """
import asyncio, ssl
async def main():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection({host!r}, {port}, ssl=context, server_hostname={name!r}), 5)
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    return line.decode().strip()
"""
VAULT = """
import asyncio, os, ssl, tempfile
async def say(reader, writer):
    writer.write(os.environ["SAYS"].encode() + b"\\n")
    await writer.drain()
    writer.close()
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(os.environ["CERTIFICATE"])
        file.flush()
        context.load_cert_chain(file.name)
    port = int(os.environ.get("PORT_8443", "8443"))
    server = await asyncio.start_server(say, os.environ.get("HOST"), port, ssl=context)
    await server.serve_forever()
asyncio.run(main())
"""


OWNED = """
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: elsewhere}
spec:
  selector: {app: stranger}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.istio.io/v1
kind: KIND
metadata: {name: NAME, namespace: elsewhere}
spec:
  WHAT
  exportTo: [TO]
"""


def owned() -> str:
    """Services of another namespace, with rules that all callers would notice, for callers of that
    namespace or for all."""
    rules = {
        "VirtualService": "hosts: [NAME]\n  http: [{directResponse: {status: 418}}]",
        "DestinationRule": "host: NAME\n  trafficPolicy: {tls: {mode: SIMPLE}}",
    }
    text = ""
    for kind, what in rules.items():
        for name, to in (("mine", '"."'), ("ours", '"*"'), ("yours", "default")):
            filled = OWNED.replace("KIND", kind).replace("WHAT", what).replace("TO", to)
            text += filled.replace("NAME", f"{name}-{kind.lower()}")
    return text


SUBNETS = """
---
apiVersion: v1
kind: Service
metadata: {name: net-NAME}
spec:
  clusterIP: ADDRESS
  selector: {app: api, version: v1}
  ports: [{name: tcp-greet, port: 2500, targetPort: 2525}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: net-NAME}
spec:
  hosts: [net-NAME]
  tcp:
    - match: [{destinationSubnets: [10.96.200.7/32, 10.96.210.0/24], port: 2500}]
      route: [{destination: {host: hello-v2}}]
    - route: [{destination: {host: hello}}]
"""


NAMES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vault-a}
spec:
  hosts: [vault-a, c.secure.example]
  gateways: [mesh, tls]
  tls:
    - match:
        - {port: 8443, sniHosts: [other.test]}
        - {sniHosts: [space.test], sourceNamespace: elsewhere}
        - {sniHosts: [net.test], destinationSubnets: [10.96.210.0/24]}
        - {sniHosts: [c.secure.example], gateways: [mesh]}
      route: [{destination: {host: vault-b}}]
    - match:
        - {port: 8443, sniHosts: [vault-a.test]}
        - {sniHosts: [c.secure.example], gateways: [tls]}
      route: [{destination: {host: vault-a}}]
"""


def vault(name: str, certificate: str) -> str:
    """A server of TLS that says its name."""
    quoted = json.dumps(certificate)
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: python:1
      args: ["-c", {json.dumps(VAULT)}]
      env: [{{name: SAYS, value: {name}}}, {{name: CERTIFICATE, value: {quoted}}}]
      ports: [{{containerPort: 8443}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: tls, port: 8443}}]
"""


def greeting(text: str) -> str:
    return text.replace("env: [", 'env: [{name: GREET_PORT, value: "2525"}, ').replace(
        "containerPort: 8080}", "containerPort: 8080}, {containerPort: 2525}"
    )


@pytest.fixture(scope="module")
def shop(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("python:1", Path("/tmp"), sys.executable)
    certificate, key = make_certificate("secure.example")
    text = "---".join(
        [
            greeting(m.echo("api", "v1")),
            greeting(m.echo("api", "v2")),
            m.echo("client"),
            m.echo("admin"),
            m.echo("shadow"),
        ]
    )
    for name in ("api", "client", "admin", "shadow"):
        text += m.service(name)
    there = (m.echo("stranger"), m.service("stranger"))
    text += "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere}\n---"
    text += "".join(
        t.replace("metadata:\n", "metadata:\n  namespace: elsewhere\n", 1) for t in there
    )
    text += m.routes("stranger", m.to("stranger.elsewhere.svc.cluster.local"), STRANGER, "front")
    text += owned()
    for name, address in (("inside", "10.96.200.7"), ("outside", "10.96.201.7")):
        text += SUBNETS.replace("NAME", name).replace("ADDRESS", address)
    text += m.subsets("api") + m.gateway("front", "*.example") + SHARED
    for name in ("client", "admin", "shadow"):
        text += m.routes(f"{name}-front", m.to(name), f"{name}.example", "front")
    text += vault("vault-a", certificate + key) + vault("vault-b", certificate + key)
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=api", 2)
    for host in (CLIENT, ADMIN, SHADOW, STRANGER):
        wait_for(lambda h=host: ask(weft, "/who", h)[0] == 200, host)
    return weft


def serve(weft: Instance, host: str, http: str, gateway: str = "front") -> None:
    """Routes of the gateway for a host that had none; returns when they are in force."""
    name = host.partition(".")[0]
    weft.weft("apply", "-f", "-", stdin=m.routes(name, http, host, gateway))
    wait_for(lambda: ask(weft, "/no-such-page", host)[0] != 404, f"routes of {host}", 10)


def inside(weft: Instance, url: str, host: str = CLIENT) -> tuple[int, str]:
    return ask(weft, f"/call?url={url}", host)


# --- cross-origin rules


def test_cors(shop: Instance) -> None:
    serve(
        shop,
        "cors.example",
        """
        - match: [{uri: {prefix: /strict}}]
          corsPolicy:
            allowOrigins: [{exact: "https://a.test"}]
            allowMethods: [PUT]
            unmatchedPreflights: IGNORE
          route: [{destination: {host: api}}]
        - corsPolicy:
            allowOrigins: [{exact: "https://a.test"}, {regex: "https://.*[.]b[.]test"}]
            allowMethods: [GET, PUT]
            allowHeaders: [x-token]
            exposeHeaders: [x-answer]
            maxAge: 2h
            allowCredentials: true
          route: [{destination: {host: api}}]
        """,
    )

    def preflight(origin: str, path: str = "/p") -> tuple[int, str, dict[str, str]]:
        headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        return ask_all(shop, path, "cors.example", method="OPTIONS", headers=headers)

    status, body, headers = preflight("https://a.test")
    assert (status, body) == (200, "")
    assert headers["access-control-allow-origin"] == "https://a.test"
    assert headers["access-control-allow-methods"] == "GET,PUT"
    assert headers["access-control-allow-headers"] == "x-token"
    assert headers["access-control-max-age"] == "7200"
    assert headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" in preflight("https://x.b.test")[2]
    status, body, headers = preflight("https://evil.test")
    assert json.loads(body)["method"] == "OPTIONS", "unmatched preflights go to the back end"
    assert "access-control-allow-origin" not in headers
    status, body, headers = preflight("https://evil.test", "/strict")
    assert (status, body) == (200, "")
    assert "access-control-allow-origin" not in headers
    _, body, headers = ask_all(shop, "/x", "cors.example", headers={"Origin": "https://a.test"})
    assert json.loads(body)["path"] == "/x"
    assert headers["access-control-allow-origin"] == "https://a.test"
    assert headers["access-control-expose-headers"] == "x-answer"


# --- shares


def test_shares_of_faults(shop: Instance) -> None:
    serve(
        shop,
        "faulty.example",
        """
        - match: [{uri: {prefix: /abort}}]
          fault: {abort: {httpStatus: 418, percentage: {value: 30}}}
          route: [{destination: {host: api}}]
        - match: [{uri: {prefix: /delay}}]
          fault: {delay: {fixedDelay: 1.5s, percentage: {value: 50}}}
          route: [{destination: {host: api}}]
        - match: [{uri: {prefix: /grpc}}]
          fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED}}
          route: [{destination: {host: api}}]
        - route: [{destination: {host: api}}]
        """,
    )
    aborted = sum(ask(shop, "/abort", "faulty.example")[0] == 418 for _ in range(200))
    assert 30 <= aborted <= 95

    def delayed(_: int) -> bool:
        started = time.monotonic()
        assert ask(shop, "/delay", "faulty.example")[0] == 200
        return time.monotonic() - started > 1.4

    with ThreadPoolExecutor(20) as pool:
        assert 8 <= sum(pool.map(delayed, range(40))) <= 32
    sent = {"Content-Type": "application/grpc"}
    status, _, headers = ask_all(shop, "/grpc", "faulty.example", method="POST", headers=sent)
    assert (status, headers["grpc-status"]) == (200, "8")


def test_shares_of_copies(shop: Instance) -> None:
    serve(
        shop,
        "copied.example",
        """
        - mirrors:
            - {destination: {host: shadow}, percentage: {value: 25}}
          route: [{destination: {host: api}}]
        """,
    )
    for _ in range(200):
        assert ask(shop, "/seen/some", "copied.example")[0] == 200

    def copies() -> int:
        return int(ask(shop, "/calls?key=/seen/some", SHADOW)[1])

    wait_for(lambda: copies() >= 25, "copies")
    time.sleep(0.3)
    assert 25 <= copies() <= 85


# --- who calls


def test_callers_by_label(shop: Instance) -> None:
    assert {inside(shop, "http://api/who") for _ in range(8)} == {(200, "v1")}
    assert {inside(shop, "http://api/who", ADMIN) for _ in range(8)} == {(200, "v2")}
    assert json.loads(inside(shop, "http://api/other", ADMIN)[1])["version"] == "v1"


@pytest.mark.root  # who opened a connection, and names of services, need pods with own networks
def test_connections_by_label(shop: Instance) -> None:
    def greeted(host: str, service: str = "hello") -> str:
        return ask(shop, f"/tcp?host={service}&port=2500", host)[1]

    assert {greeted(CLIENT).split("-")[1] for _ in range(4)} == {"v1"}
    for host in (ADMIN, STRANGER):
        assert {greeted(host, "hello.default").split("-")[1] for _ in range(4)} == {"v2"}
    for address in ("net-inside", "10.96.210.9"):
        assert greeted(CLIENT, address).split("-")[1] == "v2", "an address of the subnets"
    assert greeted(CLIENT, "net-outside").split("-")[1] == "v1"


def test_every_other_match(shop: Instance) -> None:
    """Each status is that of one match; none other than these of the list is met before."""

    def status(path: str, caller: str = CLIENT) -> int:
        return inside(shop, f"http://pick{path}", caller)[0]

    assert status(".default/x", STRANGER) == 210
    assert status(":81/x") == 211
    assert status(".default/x") == status(".default.svc.cluster.local/x") == 212
    assert status("/gate") == 213
    assert ask(shop, "/gate", "pick.example")[0] == 214
    for method, headers, wanted in (
        ("PUT", {}, 215), ("POST", {}, 215), ("PATCH", {}, 216), ("GET", {"x-any": "1"}, 215),
    ):  # fmt: skip
        found = ask_all(shop, "/x", "pick.example", method=method, headers=headers)
        assert found[0] == wanted, (method, headers)
    assert status("/x") == 216


def test_rules_hold_for_those_they_are_exported_to(shop: Instance) -> None:
    """Whoever the VirtualService is for is answered by it; whom the DestinationRule is for speaks
    TLS to a server that knows none."""
    for kind, changed in (("virtualservice", 418), ("destinationrule", 503)):
        found = {
            name: [
                inside(shop, f"http://{name}-{kind}.elsewhere/who", caller)[0]
                for caller in (STRANGER, CLIENT)
            ]
            for name in ("mine", "ours", "yours")
        }
        wanted = {"mine": [changed, 200], "ours": [changed, changed], "yours": [changed, changed]}
        if kind == "virtualservice":
            wanted["yours"] = [200, changed]
        assert found == wanted, kind


# --- delegates and redirects


def test_delegates(shop: Instance) -> None:
    shop.weft(
        "apply",
        "-f",
        "-",
        stdin="""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: parts}
spec:
  http:
    - match: [{uri: {prefix: /team/a}}]
      headers: {request: {set: {x-by: part}}}
      route: [{destination: {host: api, subset: v2}}]
    - match: [{uri: {prefix: /elsewhere}}]
      directResponse: {status: 418}
    - route: [{destination: {host: api, subset: v1}}]
""",
    )
    serve(
        shop,
        "whole.example",
        """
        - match: [{uri: {prefix: /team}}]
          delegate: {name: parts}
          headers: {request: {set: {x-root: "1"}}}
        - directResponse: {status: 410}
        """,
    )

    def seen(path: str) -> Any:
        return json.loads(ask(shop, path, "whole.example")[1])

    first, second = seen("/team/a/1"), seen("/team/b")
    assert (first["version"], second["version"]) == ("v2", "v1")
    headers = {k.lower(): v for k, v in first["headers"].items()}
    assert (headers["x-by"], headers["x-root"]) == ("part", "1")
    assert ask(shop, "/elsewhere", "whole.example")[0] == 410
    shop.weft("delete", "virtualservice", "parts")
    wait_for(lambda: ask(shop, "/team/b", "whole.example")[0] == 410, "the delegate is gone")


def test_port_of_a_redirect(shop: Instance) -> None:
    shop.weft("apply", "-f", "-", stdin=m.gateway("side", "*.example", 8080))
    serve_port = m.routes(
        "ported",
        "- redirect: {authority: away.test, derivePort: FROM_REQUEST_PORT}",
        "ported.example",
        "side",
    )
    shop.weft("apply", "-f", "-", stdin=serve_port)

    def answered() -> Any:
        status, _, headers = ask_all(shop, "/p", "ported.example", port=8080)
        return status == 301 and headers["location"]

    assert wait_for(answered, "redirect") == "http://away.test:8080/p"


def test_a_redirect_keeps_what_follows_its_prefix(shop: Instance) -> None:
    rule = """
    - match: [{uri: {prefix: /old/}}]
      redirect: {prefixRewrite: /new/, redirectCode: 308}
    - directResponse: {status: 410}
    """
    shop.weft("apply", "-f", "-", stdin=m.gateway("moved", "moved.example"))
    shop.weft("apply", "-f", "-", stdin=m.routes("moved", rule, "moved.example", "moved"))

    def answered() -> Any:
        status, _, headers = ask_all(shop, "/old/a/b?c=d", "moved.example")
        return status == 308 and headers["location"]

    assert wait_for(answered, "redirect") == "http://moved.example/new/a/b?c=d"


# --- connections


def test_server_names_choose_at_the_gateway(shop: Instance) -> None:
    where = shop.gateway(8443).removeprefix("http://")
    host, port = where.split(":")

    def named(name: str) -> Any:
        return said(host, int(port), name)

    wait_for(lambda: named("a.secure.example") == "vault-a", "TLS through the gateway", 10)
    assert named("b.secure.example") == "vault-b"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        named("other.example")


def said(host: str, port: int, name: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((host, port), 5) as raw,
        context.wrap_socket(raw, server_hostname=name) as tls,
    ):
        return tls.recv(100).decode().strip()


def test_bytes_at_the_gateway(shop: Instance) -> None:
    host, port = shop.gateway(2500).removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 5) as raw:
        assert raw.recv(100).startswith(b"220 api-v2-")


@pytest.mark.root  # as above
def test_server_names_choose_in_the_mesh(shop: Instance) -> None:
    """Of a service's port for TLS, the name that the caller asks for decides, with who calls, by
    which address, and whether through a gateway."""
    shop.weft("apply", "-f", "-", "--wait", stdin=NAMES)

    def named(name: str, host: str = "vault-a.default", caller: str = CLIENT) -> Any:
        return run_inside(shop, caller, TLS_NAME.format(host=host, port=8443, name=name))

    wait_for(lambda: named("other.test") == "vault-b", "the route by server name", 10)
    assert named("vault-a.test") == named("unknown.test") == "vault-a"
    assert named("space.test", caller=STRANGER) == "vault-b"
    assert named("space.test") == "vault-a"
    assert named("net.test", "10.96.210.8") == "vault-b"
    assert named("net.test") == "vault-a"
    assert named("c.secure.example") == "vault-b"
    where, port = shop.gateway(8443).removeprefix("http://").split(":")
    wait_for(lambda: said(where, int(port), "c.secure.example") == "vault-a", "the gateway's", 10)
