"""What DestinationRules and the TLS of Gateways promise, shown by real servers and clients."""

import contextlib
import json
import socket
import ssl
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import Certificate, load_pem_x509_certificate

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, run_inside, wait_for
from tests.xds.certificates import make_certificate, write_revocable

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
SERVER_CERTIFICATE, SERVER_KEY = make_certificate("secure.test")
CLIENT_CERTIFICATE, CLIENT_KEY = make_certificate("client.test")
OTHER_CERTIFICATE, OTHER_KEY = make_certificate("other.test")
SERVER = """
import http.server, os, ssl, tempfile
class Tell(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        shown = self.connection.getpeercert() or {}
        names = ",".join(value for _, value in shown.get("subjectAltName", ()))
        body = f"tls {names}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
    file.write(os.environ["CERTIFICATE"])
    file.flush()
    context.load_cert_chain(file.name)
context.verify_mode = ssl.CERT_REQUIRED if os.environ.get("CLIENTS") else ssl.CERT_NONE
if os.environ.get("CLIENTS"):
    context.load_verify_locations(cadata=os.environ["CLIENTS"])
address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT_8443", "8443")))
server = http.server.ThreadingHTTPServer(address, Tell)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def secure(name: str, clients: str = "") -> str:
    """A server of HTTPS behind a service that speaks HTTP; it may want client certificates."""
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
      args: ["-c", {json.dumps(SERVER)}]
      env:
        - {{name: CERTIFICATE, value: {json.dumps(SERVER_CERTIFICATE + SERVER_KEY)}}}
        - {{name: CLIENTS, value: {json.dumps(clients)}}}
      ports: [{{containerPort: 8443}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8443}}]
"""


def secret(name: str, **values: str) -> str:
    lines = "".join(f"  {k.replace('_', '.')}: {json.dumps(v)}\n" for k, v in values.items())
    return f"\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n{lines}"


def rule(host: str, policy: str) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host.replace(".", "-")}}}
spec:
  host: {host}
  trafficPolicy: {policy}
"""


def https_server(host: str, tls: str) -> str:
    name = host.partition(".")[0]
    return f"""
    - port: {{number: 443, name: {name}, protocol: HTTPS}}
      hosts: [{host}]
      tls: {tls}"""


@pytest.fixture(scope="module")
def shop(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("python:1", Path("/tmp"), sys.executable)
    text = "---".join([m.echo("api", "v1"), m.echo("api", "v2"), m.echo("client")])
    text += m.service("api") + m.service("client") + m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=api", 2)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, CLIENT)
    return weft


def inside(weft: Instance, url: str) -> tuple[int, str]:
    return ask(weft, f"/call?url={url}", CLIENT)


def apply(weft: Instance, text: str) -> None:
    weft.weft("apply", "-f", "-", stdin=text)


# --- TLS of the gateway


@contextlib.contextmanager
def credentials(certificate: str, key: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate + key)
        file.flush()
        yield file.name


def https(
    weft: Instance, host: str, certificate: str = "", key: str = "",
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, oldest: ssl.TLSVersion | None = None,
    ciphers: str = "",
) -> str:  # fmt: skip
    """The status line of an answer over TLS; a kind of error when there is none."""
    context = ssl.create_default_context(cadata=SERVER_CERTIFICATE)
    context.check_hostname = False
    context.maximum_version = newest
    if oldest is not None:
        context.minimum_version = oldest
    if ciphers:
        context.set_ciphers(ciphers)  # those of TLS 1.2
    if certificate:
        with credentials(certificate, key) as file:
            context.load_cert_chain(file)
    address, port = weft.gateway(443).removeprefix("http://").split(":")
    request = f"GET /who HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    try:
        with (
            socket.create_connection((address, int(port)), 5) as raw,
            context.wrap_socket(raw, server_hostname=host) as tls,
        ):
            tls.sendall(request)
            return tls.recv(1000).decode().partition("\r\n")[0]
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__


def test_clients_show_certificates(shop: Instance) -> None:
    text = secret("edge", tls_crt=SERVER_CERTIFICATE, tls_key=SERVER_KEY, ca_crt=CLIENT_CERTIFICATE)
    text += """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:"""
    text += https_server("strict.test", "{mode: MUTUAL, credentialName: edge}")
    text += https_server("maybe.test", "{mode: OPTIONAL_MUTUAL, credentialName: edge}")
    text += https_server(
        "new.test", "{mode: SIMPLE, credentialName: edge, minProtocolVersion: TLSV1_3}"
    )
    text += https_server(
        "named.test",
        "{mode: MUTUAL, credentialName: edge, subjectAltNames: [somebody.else]}",
    )
    for host in ("strict.test", "maybe.test", "new.test", "named.test"):
        text += m.routes(host.replace(".", "-"), m.to("api"), host, "edge")
    apply(shop, text)
    good, bad = (CLIENT_CERTIFICATE, CLIENT_KEY), (OTHER_CERTIFICATE, OTHER_KEY)
    ok = "HTTP/1.1 200 OK"
    wait_for(lambda: https(shop, "strict.test", *good) == ok, "a known client", 15)
    assert https(shop, "strict.test") != ok
    assert https(shop, "strict.test", *bad) != ok
    assert https(shop, "maybe.test") == ok
    assert https(shop, "maybe.test", *good) == ok
    assert https(shop, "maybe.test", *bad) != ok
    assert https(shop, "new.test") == ok
    assert https(shop, "new.test", newest=ssl.TLSVersion.TLSv1_2) != ok
    assert https(shop, "maybe.test", newest=ssl.TLSVersion.TLSv1_2) == ok
    assert https(shop, "named.test", *good) != ok


def test_digests_versions_and_ciphers(shop: Instance, tmp_path: Path) -> None:
    """Of clients of one authority only that with the digest gets in; revoked ones do not. Routes
    see which scheme a request came with."""
    write_revocable(tmp_path, "client.test")
    authority, certificate, key = (
        (tmp_path / name).read_text() for name in ("ca.crt", "tls.crt", "tls.key")
    )
    mine, theirs = (load_pem_x509_certificate(c.encode()) for c in (certificate, authority))
    info = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def spki(shown: Certificate) -> str:
        return b64encode(sha256(shown.public_key().public_bytes(*info)).digest()).decode()

    strong, other = "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"
    settings = {
        "hash": f"verifyCertificateHash: [{mine.fingerprint(SHA256()).hex()}]",
        "no-hash": f"verifyCertificateHash: [{theirs.fingerprint(SHA256()).hex()}]",
        "spki": f'verifyCertificateSpki: ["{spki(mine)}"]',
        "no-spki": f'verifyCertificateSpki: ["{spki(theirs)}"]',
        "name": "subjectAltNames: [client.test]",
        "listed": f"caCrl: {tmp_path}/revoked.crl",
        "unlisted": f"caCrl: {tmp_path}/none.crl",
    }
    text = secret("digests", tls_crt=SERVER_CERTIFICATE, tls_key=SERVER_KEY, ca_crt=authority)
    text += """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: digests}
spec:
  selector: {istio: ingressgateway}
  servers:"""
    for name, setting in settings.items():
        tls = f"{{mode: MUTUAL, credentialName: digests, {setting}}}"
        text += https_server(f"{name}.digests", tls)
    text += https_server(
        "old.digests",
        f"{{mode: SIMPLE, credentialName: digests, maxProtocolVersion: TLSV1_2,"
        f" cipherSuites: [{strong}]}}",
    )
    files = tmp_path / "server"
    files.mkdir()
    (files / "tls.crt").write_text(SERVER_CERTIFICATE)
    (files / "tls.key").write_text(SERVER_KEY)
    text += https_server(
        "files.digests",
        f"{{mode: SIMPLE, serverCertificate: {files}/tls.crt, privateKey: {files}/tls.key}}",
    )
    text += https_server("scheme.example", "{mode: SIMPLE, credentialName: digests}")
    text += m.routes(
        "scheme",
        """
        - match: [{scheme: {exact: https}}]
          directResponse: {status: 210}
        - match: [{scheme: {exact: http}}]
          directResponse: {status: 211}
        """,
        "scheme.example",
        "digests, front",
    )
    for name in (*settings, "old", "files"):
        text += m.routes(f"digests-{name}", m.to("api"), f"{name}.digests", "digests")
    apply(shop, text)
    ok = "HTTP/1.1 200 OK"
    for name in ("hash", "spki", "name", "unlisted"):
        host = f"{name}.digests"
        wait_for(lambda host=host: https(shop, host, certificate, key) == ok, host, 15)
    for name in ("no-hash", "no-spki", "listed"):
        assert https(shop, f"{name}.digests", certificate, key) != ok, name
    wait_for(lambda: https(shop, "old.digests") == ok, "TLS 1.2", 15)
    assert https(shop, "old.digests", oldest=ssl.TLSVersion.TLSv1_3) != ok
    assert https(shop, "old.digests", ciphers=strong) == ok
    assert https(shop, "old.digests", ciphers=other) != ok
    assert https(shop, "hash.digests", certificate, key, ciphers=other) == ok
    assert https(shop, "files.digests") == ok
    assert https(shop, "scheme.example").startswith("HTTP/1.1 210")
    assert ask(shop, "/", "scheme.example")[0] == 211


# --- TLS of calls


def test_calls_over_tls_with_a_secret(shop: Instance) -> None:
    text = secure("vault") + secure("wary", CLIENT_CERTIFICATE)
    text += secret("authorities", ca_crt=SERVER_CERTIFICATE)
    text += secret("strangers", ca_crt=OTHER_CERTIFICATE)
    text += secret("own", tls_crt=CLIENT_CERTIFICATE, tls_key=CLIENT_KEY, ca_crt=SERVER_CERTIFICATE)
    text += rule("vault", "{tls: {mode: SIMPLE, credentialName: authorities, sni: secure.test}}")
    text += rule("wary", "{tls: {mode: MUTUAL, credentialName: own, sni: secure.test}}")
    apply(shop, text)
    wait_for(lambda: inside(shop, "http://vault/") == (200, "tls "), "TLS to the vault", 20)
    wait_for(
        lambda: inside(shop, "http://wary/") == (200, "tls client.test"), "both certificates", 20
    )
    apply(shop, rule("vault", "{tls: {mode: SIMPLE, credentialName: strangers}}"))
    wait_for(lambda: inside(shop, "http://vault/")[0] == 503, "a server of other authorities", 10)


# --- where endpoints are, and how new


def port_of(pod: Any) -> int:
    """Where the program listens; in host isolation that is a port of the host."""
    ports = json.loads(pod["metadata"]["annotations"].get("weft.dev/host-ports", "{}"))
    return int(ports.get("8080", 8080))


def places(
    shop: Instance, host: str, versions: str, policy: str, far: str = "eu/b", near: str = "eu/a"
) -> None:
    """A service whose endpoints, the pods of api, are said to be in zones of their own."""
    endpoints = ", ".join(
        f"{{address: {pod['status']['podIP']}, ports: {{http: {port_of(pod)}}},"
        f" labels: {{version: {version}}}, locality: {near if version == 'v1' else far}}}"
        for version in versions.split()
        for pod in shop.items("pods", f"app=api,version={version}")
    )
    apply(
        shop,
        f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.replace(".", "-")}}}
spec:
  hosts: [{host}]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{endpoints}]
"""
        + rule(host, policy),
    )


def answers(shop: Instance, host: str, number: int) -> Counter[str]:
    return Counter(inside(shop, f"http://{host}/who")[1] for _ in range(number))


@pytest.fixture(scope="module")
def placed(shop: Instance) -> Instance:
    node = shop.read("/api/v1/nodes")["items"][0]["metadata"]["name"]
    labels = {"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "a"}
    status, body = shop.api(f"/api/v1/nodes/{node}", "PATCH", {"metadata": {"labels": labels}})
    assert status == 200, body
    return shop


def test_shares_of_localities(placed: Instance) -> None:
    share = "[{from: eu/a/*, to: {eu/a/*: 80, eu/b/*: 20}}]"
    policy = (
        f"{{loadBalancer: {{simple: ROUND_ROBIN, localityLbSetting: {{distribute: {share}}}}}}}"
    )
    places(placed, "shared.test", "v1 v2", policy)
    wait_for(lambda: set(answers(placed, "shared.test", 20)) == {"v1", "v2"}, "both zones")
    found = answers(placed, "shared.test", 150)
    assert set(found) == {"v1", "v2"}
    assert 0.1 < found["v2"] / 150 < 0.32


def test_nearer_endpoints_first(placed: Instance) -> None:
    policy = """{outlierDetection: {consecutive5xxErrors: 1, interval: 0.2s, baseEjectionTime: 60s,
      maxEjectionPercent: 100}, loadBalancer: {simple: ROUND_ROBIN}}"""
    places(placed, "near.test", "v1 v2", policy)
    wait_for(lambda: set(answers(placed, "near.test", 10)) == {"v1"}, "the zone of the caller")
    assert set(answers(placed, "near.test", 30)) == {"v1"}
    (pod,) = placed.items("pods", "app=api,version=v1")
    (other,) = placed.items("pods", "app=api,version=v2")
    url = f"http://{pod['status']['podIP']}:{port_of(pod)}/broken?value="
    program = "import urllib.request; urllib.request.urlopen(urllib.request.Request({!r}, b''))"
    try:
        _run(placed, program.format(url + "true"))
        wait_for(lambda: set(answers(placed, "near.test", 10)) == {"v2"}, "the other zone", 20)
    finally:
        _run(placed, program.format(url + "false"))
    assert other["status"]["podIP"]


def test_who_takes_over_is_said(placed: Instance) -> None:
    """`failover`: which region comes after the caller's. `failoverPriority`: labels come first."""
    policy = """{{outlierDetection: {{consecutive5xxErrors: 5}},
      loadBalancer: {{simple: ROUND_ROBIN, localityLbSetting: {}}}}}"""

    def only(host: str, version: str, setting: str, **where: str) -> None:
        places(placed, host, "v1 v2", policy.format(setting), **where)
        wait_for(lambda: set(answers(placed, host, 10)) == {version}, f"{version} of {host}")
        assert set(answers(placed, host, 20)) == {version}

    for region, version in (("us", "v1"), ("ap", "v2")):
        setting = f"{{failover: [{{from: eu, to: {region}}}]}}"
        only(f"{region}.test", version, setting, near="us/c", far="ap/d")
    only("labels.test", "v2", "{failoverPriority: [version=v2]}")  # which is not the nearer one


ABSENT = "http://zones.test/flaky?key=absent%26times=100%26status=404"


def test_zones_and_what_counts_as_an_error(placed: Instance) -> None:
    """The caller's region first, without detection of failures; a status that is said to be an
    error ejects."""
    near = """{loadBalancer: {simple: ROUND_ROBIN, zoneAwareLbSetting: {enabled: true}},
      retryBudget: {percent: 50, budgetInterval: 10s},
      connectionPool: {http: {http2KeepAlive: {interval: 30s, timeout: 5s}}}%s}"""
    places(placed, "zones.test", "v1 v2", near % "", far="us/c")
    wait_for(lambda: set(answers(placed, "zones.test", 10)) == {"v1"}, "the caller's region")
    assert inside(placed, ABSENT)[0] == 404
    assert set(answers(placed, "zones.test", 20)) == {"v1"}
    detect = """, outlierDetection: {consecutive5xxErrors: 1, interval: 0.2s,
      baseEjectionTime: 60s, maxEjectionPercent: 100, outlierDetectionHttpErrorCodes: [404]}"""
    places(placed, "zones.test", "v1 v2", near % detect, far="us/c")

    def ejected() -> bool:
        inside(placed, ABSENT)
        return set(answers(placed, "zones.test", 5)) == {"v2"}

    wait_for(ejected, "the other region", 20)


def test_retries_go_to_other_localities(placed: Instance) -> None:
    """The nearer endpoint fails every time. Tries stay there, unless they are told not to."""
    policy = """{outlierDetection: {consecutive5xxErrors: 1000, consecutiveGatewayErrors: 0},
      loadBalancer: {simple: ROUND_ROBIN}}"""
    for host, remote in (("stays.test", "false"), ("leaves.test", "true")):
        places(placed, host, "v1 v2", policy, near="eu/a", far="us/c")
        retries = f"{{attempts: 3, retryOn: 5xx, retryRemoteLocalities: {remote}}}"
        http = f"- retries: {retries}\n  {m.to(host)[2:]}"
        apply(placed, m.routes(host.replace(".", "-"), http, host))
        wait_for(lambda host=host: set(answers(placed, host, 6)) == {"v1"}, f"routes of {host}")
    (pod,) = placed.items("pods", "app=api,version=v1")
    url = f"http://{pod['status']['podIP']}:{port_of(pod)}/broken?value="
    program = "import urllib.request; urllib.request.urlopen(urllib.request.Request({!r}, b''))"
    try:
        _run(placed, program.format(url + "true"))
        assert inside(placed, "http://stays.test/who") == (503, "broken")
        assert inside(placed, "http://leaves.test/who") == (200, "v2")
    finally:
        _run(placed, program.format(url + "false"))


def entry(host: str, endpoints: str, port: int = 80) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.replace(".", "-")}}}
spec:
  hosts: [{host}]
  resolution: STATIC
  ports: [{{number: {port}, name: http, protocol: HTTP}}]
  endpoints: [{endpoints}]
"""


def test_weights_of_endpoints(shop: Instance) -> None:
    (first,), (second,) = (shop.items("pods", f"app=api,version={v}") for v in ("v1", "v2"))
    endpoints = ", ".join(
        f"{{address: {pod['status']['podIP']}, weight: {weight}, ports: {{http: {port_of(pod)}}}}}"
        for pod, weight in ((first, 4), (second, 1))
    )
    simple = "{loadBalancer: {simple: ROUND_ROBIN}}"
    apply(shop, entry("weighed.test", endpoints) + rule("weighed.test", simple))
    wait_for(lambda: answers(shop, "weighed.test", 20) == {"v1": 16, "v2": 4}, "four of five")


@pytest.mark.root  # what the caller means needs a network of its own
def test_calls_that_go_where_the_caller_meant(shop: Instance) -> None:
    """PASSTHROUGH: not to the host's endpoints, but to the address that was called."""
    (first,), (second,) = (
        [pod["status"]["podIP"] for pod in shop.items("pods", f"app=api,version={version}")]
        for version in ("v1", "v2")
    )

    def answered() -> Any:
        return run_inside(shop, CLIENT, f"""
        import urllib.request
        async def main():
            request = urllib.request.Request(
                "http://{first}:8080/who", headers={{"Host": "direct.test:8080"}})
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.read().decode()
        """)  # fmt: skip

    apply(shop, entry("direct.test", f"{{address: {second}}}", 8080))
    wait_for(lambda: answered() == "v2", "the host's endpoint")
    apply(shop, rule("direct.test", "{loadBalancer: {simple: PASSTHROUGH}}"))
    wait_for(lambda: answered() == "v1", "the address")


def _run(shop: Instance, statement: str) -> Any:
    body = f"async def main():\n    {statement}\n    return 0\n"
    status, text = ask(
        shop, "/run", CLIENT, method="POST", body=body.encode(), **{"Content-Type": "text/plain"}
    )
    assert status == 200, text


def test_new_endpoints_take_load_slowly(shop: Instance) -> None:
    seconds = 8
    policy = f"""{{loadBalancer: {{simple: ROUND_ROBIN,
      warmup: {{duration: {seconds}s, minimumPercent: 1}}}}}}"""
    places(shop, "warm.test", "v1", policy)
    wait_for(lambda: set(answers(shop, "warm.test", 5)) == {"v1"}, "the first endpoint")
    time.sleep(seconds)
    places(shop, "warm.test", "v1 v2", policy)
    cold, begin = Counter[str](), time.monotonic()
    while cold.total() < 80 and time.monotonic() - begin < seconds / 2:
        cold += answers(shop, "warm.test", 4)
    assert cold["v2"] <= 0.36 * cold.total(), cold
    time.sleep(seconds)
    warm = answers(shop, "warm.test", 80)
    assert 28 < warm["v2"] < 52, (cold, warm)


# --- who sees what


def test_hosts_exported_elsewhere_are_not_there(shop: Instance) -> None:
    (pod,) = shop.items("pods", "app=api,version=v1")
    for host, namespaces in (("mine.test", '"."'), ("theirs.test", "elsewhere")):
        apply(
            shop,
            f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {host.replace(".", "-")}}}
spec:
  hosts: [{host}]
  resolution: STATIC
  exportTo: [{namespaces}]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port_of(pod)}}}]
  endpoints: [{{address: {pod["status"]["podIP"]}}}]
""",
        )
    wait_for(lambda: inside(shop, "http://mine.test/who") == (200, "v1"), "what is exported here")
    status, body = inside(shop, "http://theirs.test/who")
    # The name is unknown to the program (599), or to the proxy of host isolation (503).
    assert status in (404, 503, 599), body


def test_machines_as_endpoints(shop: Instance) -> None:
    """WorkloadEntries come, and the calls with them; they go, and the calls too."""
    (first,) = shop.items("pods", "app=api,version=v1")
    (second,) = shop.items("pods", "app=api,version=v2")

    def machine(name: str, pod: Any) -> str:
        return f"""
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}}}
spec:
  address: {pod["status"]["podIP"]}
  labels: {{app: machine}}
  ports: {{http: {port_of(pod)}}}
"""

    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: machines}
spec:
  hosts: [machines.test]
  resolution: STATIC
  workloadSelector: {labels: {app: machine}}
  ports: [{number: 80, name: http, protocol: HTTP}]
"""
    apply(shop, entry + machine("first", first))
    wait_for(lambda: set(answers(shop, "machines.test", 5)) == {"v1"}, "the first machine")
    apply(shop, machine("second", second))
    wait_for(lambda: set(answers(shop, "machines.test", 20)) == {"v1", "v2"}, "both machines")
    assert shop.weft("get", "we").split()[:3] == ["NAME", "ADDRESS", "ACCEPTED"]
    shop.weft("delete", "workloadentry", "first")
    wait_for(lambda: set(answers(shop, "machines.test", 10)) == {"v2"}, "the second machine")
