"""Calls that leave the mesh: through an egress gateway, and to hosts that are resolved when they
are called."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.e2e.callers import Caller
from tests.e2e.instance import Instance, run_inside, wait_for
from tests.outside import GREETING, Servers
from tests.xds.certificates import write_revocable

pytestmark = [pytest.mark.e2e, pytest.mark.root]


@pytest.fixture(scope="module")
def near() -> Iterator[Servers]:
    made = Servers("", "0.0.0.0")
    yield made
    made.close()


@pytest.fixture(scope="module")
def caller(isolated: Instance) -> Caller:
    return Caller(isolated)


def apply(weft: Instance, text: str) -> None:
    weft.weft("apply", "-f", "-", stdin=dedent(text))


GATEWAY = "istio-egressgateway.istio-system.svc.cluster.local"


def entry(host: str, http: int, tls: int = 443) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.replace(".", "-")}}}
spec:
  hosts: [{host}]
  resolution: DNS
  endpoints: [{{address: localhost}}]
  ports:
    - {{number: 80, name: http, protocol: HTTP, targetPort: {http}}}
    - {{number: 443, name: tls, protocol: TLS, targetPort: {tls}}}
"""


def test_http_in_two_steps(isolated: Instance, caller: Caller, near: Servers) -> None:
    """As in Istio's task: the mesh routes to the gateway, the gateway to the host."""
    text = (
        entry("edition.test", near.http())
        + f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: istio-egressgateway}}
spec:
  selector: {{istio: egressgateway}}
  servers:
    - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [edition.test]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: egressgateway-for-edition}}
spec:
  host: {GATEWAY}
  subsets: [{{name: edition}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: edition}}
spec:
  hosts: [edition.test]
  gateways: [istio-egressgateway, mesh]
  http:
    - match: [{{gateways: [mesh], port: 80}}]
      headers: {{response: {{set: {{x-step-one: mesh}}}}}}
      route: [{{destination: {{host: {GATEWAY}, subset: edition, port: {{number: 80}}}}}}]
    - match: [{{gateways: [istio-egressgateway], port: 80}}]
      headers: {{response: {{set: {{x-step-two: gateway}}}}}}
      route: [{{destination: {{host: edition.test, port: {{number: 80}}}}}}]
"""
    )
    isolated.weft("apply", "-f", "-", stdin=text)
    body = caller.settles("http://edition.test/politics", 200)
    assert '"host": "edition.test"' in body
    _, _, headers = caller.request("http://edition.test/politics")
    assert headers["x-step-one"] == "mesh"
    assert headers["x-step-two"] == "gateway"
    # Where callers have no address, a policy that looks at it keeps everybody out.
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-address}
spec:
  selector: {matchLabels: {istio: egressgateway}}
  action: DENY
  rules: [{from: [{source: {ipBlocks: [203.0.113.0/24]}}]}]
"""
    isolated.weft("apply", "-f", "-", stdin=policy)
    caller.settles("http://edition.test/politics", 403)
    found = {d["code"] for d in isolated.status()["diagnostics"] if d["name"] == "by-address"}
    assert found == {"WEFT2513"}
    isolated.weft("delete", "authorizationpolicy", "by-address")
    caller.settles("http://edition.test/politics", 200)


def test_tls_in_two_steps(isolated: Instance, caller: Caller, near: Servers) -> None:
    """The caller's own TLS goes through the gateway, which routes it by its server name."""
    text = (
        entry("secure.test", near.http(), near.https("secure.test"))
        + f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: tls-egressgateway}}
spec:
  selector: {{istio: egressgateway}}
  servers:
    - port: {{number: 443, name: tls, protocol: TLS}}
      hosts: [secure.test]
      tls: {{mode: PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: secure}}
spec:
  hosts: [secure.test]
  gateways: [tls-egressgateway, mesh]
  tls:
    - match: [{{gateways: [mesh], port: 443, sniHosts: [secure.test]}}]
      route: [{{destination: {{host: {GATEWAY}, port: {{number: 443}}}}}}]
    - match: [{{gateways: [tls-egressgateway], port: 443, sniHosts: [secure.test]}}]
      route: [{{destination: {{host: secure.test, port: {{number: 443}}}}}}]
"""
    )
    isolated.weft("apply", "-f", "-", stdin=text)
    assert '"path": "/x"' in caller.settles("https://secure.test/x", 200)


def test_the_gateway_originates_tls_for_plain_calls(
    isolated: Instance, caller: Caller, near: Servers
) -> None:
    """Istio's task "Egress Gateways with TLS Origination", with ISTIO_MUTUAL on the first step."""
    text = (
        entry("origin.test", near.http(), near.https("origin.test"))
        + f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: origin}}
spec:
  selector: {{istio: egressgateway}}
  servers:
    - port: {{number: 8443, name: https, protocol: HTTPS}}
      hosts: [origin.test]
      tls: {{mode: ISTIO_MUTUAL}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: origin}}
spec:
  hosts: [origin.test]
  gateways: [origin, mesh]
  http:
    - match: [{{gateways: [mesh], port: 80}}]
      route: [{{destination: {{host: {GATEWAY}, port: {{number: 8443}}}}}}]
    - match: [{{gateways: [origin], port: 8443}}]
      route: [{{destination: {{host: origin.test, port: {{number: 443}}}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: origin}}
spec:
  host: origin.test
  trafficPolicy:
    portLevelSettings:
      - {{port: {{number: 443}}, tls: {{mode: SIMPLE, insecureSkipVerify: true}}}}
"""
    )
    isolated.weft("apply", "-f", "-", stdin=text)
    assert '"host": "origin.test"' in caller.settles("http://origin.test/x", 200)


def test_a_revoked_certificate_is_refused(
    isolated: Instance, caller: Caller, near: Servers, tmp_path: Path
) -> None:
    write_revocable(tmp_path, "revocable.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    port = near.http(tls=context)
    # Envoy runs as the user that runs the tests, and nobody else need read the files.
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: revocable}
spec:
  host: revocable.test
  trafficPolicy:
    tls: {mode: SIMPLE, sni: revocable.test, subjectAltNames: [revocable.test],
          caCertificates: DIR/ca.crt, caCrl: DIR/FILE.crl}
""".replace("DIR", str(tmp_path))
    for file, status in (("none", 200), ("revoked", 503), ("none", 200)):
        text = entry("revocable.test", port) + rule.replace("FILE", file)
        isolated.weft("apply", "-f", "-", stdin=text)
        caller.settles("http://revocable.test/x", status)
    isolated.weft("delete", "destinationrule", "revocable")


def test_no_stranger_reaches_the_egress_gateway(isolated: Instance, caller: Caller) -> None:
    """It has no port: what is served there is not served to callers from outside."""
    node = isolated.read("/api/v1/nodes")["items"][0]
    bound = node["metadata"]["annotations"]["weft.dev/gateway-ports"]
    assert "8443" not in bound
    assert "443" not in bound


def test_connections_through_a_proxy(isolated: Instance, caller: Caller, near: Servers) -> None:
    """Istio's task "Using an External HTTPS Proxy", from the workload's side: the proxy is asked
    for the target, and the program that connects knows of neither."""
    proxy, asked = near.proxy(near.greeter())
    apply(
        isolated,
        f"""
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {{name: far}}
        spec:
          hosts: [far.test]
          addresses: [192.0.2.25]
          resolution: STATIC
          endpoints: [{{address: 203.0.113.25}}]
          ports: [{{number: 25, name: tcp, protocol: TCP}}]
        ---
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {{name: proxy}}
        spec:
          hosts: [proxy.test]
          addresses: [192.0.2.26]
          resolution: DNS
          endpoints: [{{address: localhost}}]
          ports: [{{number: {proxy}, name: tcp, protocol: TCP}}]
        ---
        apiVersion: networking.istio.io/v1
        kind: DestinationRule
        metadata: {{name: proxy}}
        spec:
          host: proxy.test
          subsets:
            - name: to-far
              trafficPolicy: {{tunnel: {{protocol: CONNECT, targetHost: far.test, targetPort: 25}}}}
        ---
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {{name: far}}
        spec:
          hosts: [far.test]
          tcp:
            - route: [{{destination: {{host: proxy.test, subset: to-far}}}}]
        """,
    )
    program = """
        async def main():
            import asyncio
            try:
                reader, _ = await asyncio.open_connection("192.0.2.25", 25)
                return (await asyncio.wait_for(reader.readline(), 5)).decode()
            except (OSError, TimeoutError) as error:
                return repr(error)
        """
    wait_for(lambda: run_inside(isolated, caller.host, program).encode() == GREETING, "a greeting")
    assert set(asked) == {"far.test:25"}


def test_wildcard_hosts_by_dns(isolated: Instance, caller: Caller, near: Servers) -> None:
    http, tls = near.http(), near.https("x.localhost")
    apply(
        isolated,
        f"""
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {{name: wild}}
        spec:
          hosts: ["*.localhost"]
          resolution: DYNAMIC_DNS
          ports:
            - {{number: {http}, name: http, protocol: HTTP}}
            - {{number: {tls}, name: tls, protocol: TLS}}
        """,
    )
    for name in ("one", "two"):
        host = f"{name}.localhost:{http}"
        body = caller.settles(f"http://192.0.2.1:{http}/{name}", 200, host=host)
        assert f'"host": "{host}"' in body
    program = f"""
        async def main():
            import ssl, asyncio
            context = ssl._create_unverified_context()
            reader, writer = await asyncio.wait_for(asyncio.open_connection(
                "192.0.2.1", {tls}, ssl=context, server_hostname="three.localhost"), 8)
            writer.write(b"GET /tls HTTP/1.0\\r\\nHost: three.localhost\\r\\n\\r\\n")
            return (await reader.read()).decode()
        """
    assert '"path": "/tls"' in run_inside(isolated, caller.host, program)
    assert caller.status(f"http://192.0.2.1:{http}/", f"nowhere.invalid:{http}") != 200


def test_unknown_hosts_are_resolved_where_the_mesh_says_so(
    isolated: Instance, caller: Caller, near: Servers
) -> None:
    port, speaks_first = near.http(), near.greeter()
    apply(
        isolated,
        f"""
        apiVersion: v1
        kind: Namespace
        metadata: {{name: istio-system}}
        ---
        apiVersion: v1
        kind: ConfigMap
        metadata: {{name: istio, namespace: istio-system}}
        data: {{mesh: "outboundTrafficPolicy: {{mode: ALLOW_ANY_DYNAMIC_DNS}}"}}
        ---
        apiVersion: networking.istio.io/v1
        kind: ServiceEntry
        metadata: {{name: on-the-port}}
        spec:
          hosts: [some.test]
          resolution: NONE
          ports: [{{number: {port}, name: http, protocol: HTTP}}]
        """,
    )
    caller.settles(f"http://192.0.2.1:{port}/", 200, host=f"new.localhost:{port}")
    node = isolated.read("/api/v1/nodes")["items"][0]["status"]["addresses"][0]["address"]
    program = f"""
        async def main():
            import asyncio
            reader, _ = await asyncio.open_connection({node!r}, {speaks_first})
            return (await asyncio.wait_for(reader.readline(), 5)).decode()
        """
    assert run_inside(isolated, caller.host, program).encode() == GREETING
