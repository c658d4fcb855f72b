"""Features of the Gateway API beyond routes of HTTP: what its conformance suite asks for, with real
traffic and exact statuses."""

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_for

pytestmark = pytest.mark.e2e

APPS = Path(__file__).parent / "apps"
GROUP = "gateway.networking.k8s.io"
API = f"/apis/{GROUP}/v1"
NAMES = ("server", "client", "stranger")
Json = dict[str, Any]


# --- objects


def obj(kind: str, name: str, spec: Any = None, namespace: str = "default", **more: Any) -> Json:
    group = {"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "Gateway"}
    group |= {"ListenerSet", "BackendTLSPolicy", "GatewayClass"}
    version = f"{GROUP}/v1" if kind in group else "v1"
    version = "apps/v1" if kind == "Deployment" else version
    meta = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    made: Json = {"apiVersion": version, "kind": kind, "metadata": meta, **more}
    return made if spec is None else {**made, "spec": spec}


def gateway(name: str, *listeners: Json, **spec: Any) -> Json:
    body = {"gatewayClassName": "weft", "listeners": list(listeners), **spec}
    return obj("Gateway", name, body)


def http(name: str = "http", port: int = 80, **more: Any) -> Json:
    return {"name": name, "port": port, "protocol": "HTTP", **more}


def https(name: str, port: int = 443, **more: Any) -> Json:
    tls = {"certificateRefs": [{"name": "server"}]}
    return {"name": name, "port": port, "protocol": "HTTPS", "tls": tls, **more}


def route(
    name: str, parent: str | Json, rules: list[Json] | Json, kind: str = "HTTPRoute", **spec: Any
) -> Json:
    parent = {"name": parent} if isinstance(parent, str) else parent
    rules = [rules] if isinstance(rules, dict) else rules
    return obj(kind, name, {"parentRefs": [parent], "rules": rules, **spec})


def to(*names: str, port: int = 80, **more: Any) -> Json:
    return {"backendRefs": [{"name": name, "port": port, **more} for name in names]}


def back_end(version: str) -> list[Json]:
    pod = {
        "containers": [
            {
                "name": "app",
                "image": "edge:1",
                "env": [{"name": "VERSION", "value": version}],
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                "volumeMounts": [{"name": "tls", "mountPath": "/etc/tls"}],
            }
        ],
        "volumes": [{"name": "tls", "secret": {"secretName": "server"}}],
    }
    labels = {"app": version}
    deployment = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "https", "port": 443, "targetPort": 8443},
        {"name": "again", "port": 444, "targetPort": 8443},
        {"name": "tcp", "port": 7000},
        {"name": "dns", "port": 53, "targetPort": 5353, "protocol": "UDP"},
    ]
    return [
        obj("Deployment", version, deployment),
        obj("Service", version, {"selector": labels, "ports": ports}),
    ]


def apply(weft: Instance, *objects: Json) -> None:
    text = "\n---\n".join(json.dumps(each) for each in objects)
    weft.kubectl("apply", "-f", "-", stdin=text)


# --- the world


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, and for each of NAMES `<name>.pem` and `<name>.key`; the stranger's is signed by
    itself."""
    folder = tmp_path_factory.mktemp("keys")

    def run(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    run("req", "-x509", *new, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    for name in NAMES:
        hosts = "DNS:abc.test,DNS:*.wild.test,DNS:one.test,URI:spiffe://x/y"
        if name == "stranger":
            run("req", "-x509", *new, "-subj", "/CN=stranger", "-keyout", "stranger.key",
                "-out", "stranger.pem")  # fmt: skip
            continue
        run("req", *new[:5], "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "r.csr")
        (folder / "ext").write_text(f"subjectAltName={hosts}\n")
        run("x509", "-req", "-in", "r.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-CAcreateserial", "-extfile", "ext", "-out", f"{name}.pem")  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def world(isolated: Instance, keys: Path) -> Instance:
    weft = isolated
    weft.image("edge:1", APPS / "edge", sys.executable, "app.py")
    ca = (keys / "ca.pem").read_text()
    pairs = {
        name: {
            "tls.crt": (keys / f"{name}.pem").read_text(),
            "tls.key": (keys / f"{name}.key").read_text(),
            "ca.crt": ca,
        }
        for name in ("server", "client")
    }
    apply(
        weft,
        *(obj("Secret", n, stringData=d, type="kubernetes.io/tls") for n, d in pairs.items()),
        obj("ConfigMap", "ca", data={"ca.crt": ca}),
        obj("ConfigMap", "bad-ca", data={"ca.crt": "nonsense"}),
        *back_end("one"),
        *back_end("two"),
    )
    for name in ("one", "two"):
        weft.wait_ready(f"app={name}", 1)
    return weft


def status(weft: Instance, kind: str, name: str) -> Any:
    return weft.read(f"{API}/namespaces/default/{kind}/{name}").get("status", {})


def words(conditions: list[Json]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in conditions}


def await_words(
    weft: Instance, kind: str, name: str, part: str = "", **expected: tuple[str, str]
) -> Any:
    """Wait for conditions of an object, or of its listener `part`; its status."""

    def there() -> Any:
        whole = weft.read(f"{API}/namespaces/default/{kind}/{name}")
        found = whole.get("status", {})
        holder = found
        if part:
            holder = next((x for x in found.get("listeners", ()) if x["name"] == part), {})
        elif "parents" in found or "ancestors" in found:
            entries = found.get("parents") or found.get("ancestors") or [{}]
            holder = entries[0]
        conditions = holder.get("conditions", [])
        seen = words(conditions)
        fresh = all(
            c.get("observedGeneration") == whole["metadata"]["generation"]
            for c in conditions
            if "/" not in c["type"]
        )
        good = all(seen.get(kind_) == pair for kind_, pair in expected.items())
        return found if fresh and good and conditions else None

    try:
        return wait_for(there, f"{kind} {name} {part} {expected}", 20)
    except AssertionError as error:
        raise AssertionError(f"{error}: {json.dumps(status(weft, kind, name))}") from None


def programmed(weft: Instance, name: str) -> str:
    """The address of a Gateway that is programmed."""
    found = await_words(weft, "gateways", name, Programmed=("True", "Programmed"))
    return str(found["addresses"][0]["value"])


# --- traffic


class Answer:
    def __init__(self, text: str) -> None:
        head, _, self.text = text.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {k.lower(): v for k, v in (x.split(": ", 1) for x in lines if ": " in x)}
        self.json: Json = {}
        if self.text.startswith("{"):
            self.json = json.loads(self.text)

    @property
    def version(self) -> str:
        return str(self.json.get("version", ""))


def ask(
    place: tuple[str, int],
    host: str,
    path: str = "/",
    *,
    tls: ssl.SSLContext | None = None,
    sni: str = "",
    method: str = "GET",
    headers: dict[str, str] | None = None,
) -> Answer:
    lines = "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
    with socket.create_connection(place, timeout=10) as plain:
        stream = tls.wrap_socket(plain, server_hostname=sni or host) if tls else plain
        stream.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n{lines}connection: close\r\n\r\n".encode()
        )
        got = b""
        while not whole(got) and (piece := stream.recv(65536)):
            got += piece
    return Answer(got.decode())


def whole(answer: bytes) -> bool:
    """By its length: Envoy leaves a connection open for a second after an answer of its own."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end and length and len(body) >= int(length[1]))


def answers(place: tuple[str, int], host: str, path: str = "/", **more: Any) -> int:
    """The status, 0 when there is none."""
    try:
        return ask(place, host, path, **more).status
    except OSError:
        return 0


def client(keys: Path, name: str = "") -> ssl.SSLContext:
    """Trusts the test's authority; shows the certificate of `name`."""
    made = ssl.create_default_context(cafile=str(keys / "ca.pem"))
    made.check_hostname = False
    if name:
        made.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
    return made


def eventually(condition: Any, what: str) -> Any:
    return wait_for(condition, what, 20)


# --- addresses


def test_each_gateway_has_an_address_of_its_own(world: Instance) -> None:
    for name in ("one", "two"):
        apply(world, gateway(f"own-{name}", http()), route(f"own-{name}", f"own-{name}", to(name)))
    places = [world.bound(80, f"default/own-{name}") for name in ("one", "two")]
    assert places[0][0] != places[1][0]
    for name, place in zip(("one", "two"), places, strict=True):
        eventually(lambda p=place: answers(p, "any.test") == 200, name)
        assert ask(place, "any.test").version == name
        assert programmed(world, f"own-{name}") == place[0]
    accounts = world.read(
        f"/api/v1/namespaces/default/serviceaccounts?labelSelector={GROUP}/gateway-name=own-one"
    )["items"]
    assert [a["metadata"]["name"] for a in accounts] == ["own-one-weft"]


def test_addresses_that_are_asked_for(world: Instance) -> None:
    usable, unusable = "127.200.7.7", "192.0.2.77"
    strange = {"type": "example.com/strange", "value": "x"}
    named = {"type": "Hostname", "value": usable}
    wanted = [strange, {"type": "Hostname", "value": unusable}, named]
    extra = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    more = {"infrastructure": extra}
    apply(world, gateway("static", http(port=8080), addresses=wanted, **more))
    await_words(world, "gateways", "static", Accepted=("False", "UnsupportedAddress"))
    apply(world, gateway("static", http(port=8080), addresses=wanted[1:], **more))
    await_words(
        world, "gateways", "static", Accepted=("True", "Accepted"),
        Programmed=("False", "AddressNotUsable"),
    )  # fmt: skip
    apply(world, gateway("static", http(port=8080), addresses=wanted[2:], **more))
    found = await_words(world, "gateways", "static", Programmed=("True", "Programmed"))
    assert found["addresses"] == [named]
    assert answers((usable, 8080), "any.test") == 404
    account = world.read("/api/v1/namespaces/default/serviceaccounts/static-weft")["metadata"]
    assert account["labels"]["team"] == "a"
    assert account["annotations"]["note"] == "b"
    apply(world, gateway("empty", http(port=8080), addresses=[{"type": "IPAddress"}]))
    assert programmed(world, "empty")
    parameters = {"parametersRef": {"group": "x.test", "kind": "Y", "name": "z"}}
    apply(world, gateway("strange", http(), infrastructure=parameters))
    await_words(world, "gateways", "strange", Accepted=("False", "InvalidParameters"))


# --- sessions


def test_sessions_stay_at_one_endpoint(world: Instance) -> None:
    """By a cookie, and by a header; what weft does not watch is said."""
    pods = [world.ready_pods(f"app={name}")[0]["status"]["podIP"] for name in ("one", "two")]
    labels = {"kubernetes.io/service-name": "both"}
    slices: Json = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "both", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in pods],
        "ports": [{"name": "http", "port": 8080}],
    }
    lasting = {"absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}}
    apply(
        world,
        slices,
        obj("Service", "both", {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}),
        gateway("sessions", http()),
        route("cookie", "sessions", {**to("both"), "sessionPersistence": lasting},
              hostnames=["cookie.test"]),
        route("header", "sessions",
              {**to("both"), "sessionPersistence": {"type": "Header", "sessionName": "x-own"}},
              hostnames=["header.test"]),
        route("idle", "sessions", {**to("both"), "sessionPersistence": {"idleTimeout": "1m"}},
              hostnames=["idle.test"]),
    )  # fmt: skip
    place = world.bound(80, "default/sessions")
    for host, given, sent in (
        ("cookie.test", "set-cookie", "cookie"),
        ("header.test", "x-own", "x-own"),
    ):
        eventually(lambda h=host: answers(place, h) == 200, host)
        kept: dict[str, str] = {}
        while len(kept) < 2:
            found = ask(place, host)
            kept[found.version] = found.headers[given].partition(";")[0]
        for version, session in kept.items():
            seen = {ask(place, host, headers={sent: session}).version for _ in range(6)}
            assert seen == {version}, host
    cookie = ask(place, "cookie.test").headers["set-cookie"]
    assert "Max-Age=3600" in cookie
    assert "HttpOnly" in cookie
    await_words(world, "httproutes", "idle", Accepted=("False", "UnsupportedValue"))


# --- HTTPS


def test_misdirected_requests(world: Instance, keys: Path) -> None:
    apply(
        world,
        gateway(
            "sni", https("any"), https("exact", hostname="abc.test"),
            https("wide", hostname="*.wild.test"),
        ),
        route("sni-any", {"name": "sni", "sectionName": "any"}, to("one"), hostnames=["one.test"]),
        route("sni-exact", {"name": "sni", "sectionName": "exact"}, to("two")),
        route("sni-wide", {"name": "sni", "sectionName": "wide"}, to("two"),
              hostnames=["a.wild.test"]),
    )  # fmt: skip
    place, tls = world.bound(443, "default/sni"), client(keys)
    eventually(lambda: answers(place, "abc.test", tls=tls) == 200, "HTTPS")
    for sni, host, expected in (
        ("one.test", "one.test", 200),
        ("one.test", "abc.test", 421),
        ("one.test", "other.test", 404),
        ("abc.test", "abc.test", 200),
        ("abc.test", "one.test", 421),
        ("abc.test", "other.test", 421),
        ("a.wild.test", "a.wild.test", 200),
        ("a.wild.test", "b.wild.test", 404),
        ("a.wild.test", "abc.test", 421),
        ("other.test", "one.test", 200),
    ):
        assert answers(place, host, tls=tls, sni=sni) == expected, (sni, host)
    found = status(world, "gateways", "sni")["listeners"]
    overlapping = [words(x["conditions"]).get("OverlappingTLSConfig") for x in found]
    assert overlapping == [("True", "OverlappingHostnames")] * 3


def test_certificates_of_clients(world: Instance, keys: Path) -> None:
    def checks(name: str, mode: str = "AllowValidOnly") -> Json:
        ref = {"group": "", "kind": "ConfigMap", "name": name}
        return {"validation": {"caCertificateRefs": [ref], "mode": mode}}

    insecure = {"port": 8443, "tls": checks("ca", "AllowInsecureFallback")}
    frontend = {"default": checks("ca"), "perPort": [insecure]}
    apply(
        world,
        gateway("mtls", https("a"), https("b", 8443), tls={"frontend": frontend}),
        route("mtls", "mtls", to("one")),
    )
    strict, loose = (world.bound(port, "default/mtls") for port in (443, 8443))
    eventually(lambda: answers(strict, "abc.test", tls=client(keys, "client")) == 200, "mTLS")
    assert answers(strict, "abc.test", tls=client(keys)) == 0
    assert answers(strict, "abc.test", tls=client(keys, "stranger")) == 0
    for name in ("", "client", "stranger"):
        assert answers(loose, "abc.test", tls=client(keys, name)) == 200, name
    await_words(
        world, "gateways", "mtls",
        InsecureFrontendValidationMode=("True", "ConfigurationChanged"),
    )  # fmt: skip
    for name, reason in (
        ("bad-ca", "InvalidCACertificateRef"),
        ("none", "InvalidCACertificateRef"),
    ):
        apply(
            world, gateway("mtls", https("a"), http(), tls={"frontend": {"default": checks(name)}})
        )
        await_words(
            world, "gateways", "mtls", "a", Accepted=("False", "NoValidCACertificate"),
            ResolvedRefs=("False", reason), Programmed=("False", "Invalid"),
        )  # fmt: skip
        await_words(world, "gateways", "mtls", "http", Programmed=("True", "Programmed"))
    eventually(lambda: answers(strict, "abc.test", tls=client(keys, "client")) == 0, "closed")
    assert "InsecureFrontendValidationMode" not in words(
        status(world, "gateways", "mtls")["conditions"]
    )


AUTO = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: auto}
spec:
  selector: {istio: eastwestgateway}
  servers:
    - port: {number: 15443, name: tls, protocol: TLS}
      bind: 127.200.9.4
      hosts: ["*.local"]
      tls: {mode: AUTO_PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: one}
spec:
  host: one
  trafficPolicy: {tls: {mode: SIMPLE}}
  subsets: [{name: some, labels: {app: one}}, {name: none, labels: {app: nobody}}]
"""


def test_server_names_that_say_where_to_go(world: Instance, keys: Path) -> None:
    """AUTO_PASSTHROUGH: no route is written, TLS ends at the back end, and rules add none."""
    world.weft("apply", "-f", "-", stdin=AUTO)
    place, tls = world.bound(15443, "bind 127.200.9.4"), client(keys)
    name = "outbound_.443_.{}_.{}.default.svc.cluster.local"

    def served(subset: str, service: str) -> int:
        return answers(place, "any.test", tls=tls, sni=name.format(subset, service))

    eventually(lambda: served("", "one") == 200, "a server name with a port and a host")
    sni = name.format("some", "one")
    found = ask(place, "any.test", tls=tls, sni=sni)
    assert (found.version, found.json["sni"]) == ("one", sni)
    assert served("", "two") == 200
    assert (served("none", "one"), served("", "nobody")) == (0, 0)
    world.weft("delete", "-f", "-", stdin=AUTO)


def test_certificates_of_another_namespace(world: Instance, keys: Path) -> None:
    """Not without a ReferenceGrant, and no longer when it is gone."""
    pair = {
        "tls.crt": (keys / "server.pem").read_text(),
        "tls.key": (keys / "server.key").read_text(),
    }
    far = {"certificateRefs": [{"name": "far", "namespace": "vault"}]}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "vault"}}
    grant: Json = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "front", "namespace": "vault"},
        "spec": {
            "from": [{"group": GROUP, "kind": "Gateway", "namespace": "default"}],
            "to": [{"group": "", "kind": "Secret", "name": "far"}],
        },
    }
    apply(
        world,
        space,
        obj("Secret", "far", namespace="vault", stringData=pair, type="kubernetes.io/tls"),
        gateway("vault", {**https("https"), "tls": far}, http()),
        route("vault", "vault", to("one")),
    )
    refused = {"ResolvedRefs": ("False", "RefNotPermitted"), "Programmed": ("False", "Invalid")}
    await_words(world, "gateways", "vault", "https", **refused)
    apply(world, grant)
    await_words(
        world, "gateways", "vault", "https", ResolvedRefs=("True", "ResolvedRefs"),
        Programmed=("True", "Programmed"),
    )  # fmt: skip
    place, tls = world.bound(443, "default/vault"), client(keys)
    eventually(lambda: answers(place, "one.test", tls=tls) == 200, "the certificate is shown")
    world.kubectl("delete", "referencegrant", "front", "-n", "vault")
    await_words(world, "gateways", "vault", "https", **refused)
    eventually(lambda: answers(place, "one.test", tls=tls) == 0, "no longer shown")
    assert answers(world.bound(80, "default/vault"), "one.test") == 200


# --- host names of listeners


def test_each_listener_keeps_its_host_names(world: Instance) -> None:
    """A request belongs to the listener with the most specific host name, and to no route of the
    others, also when that listener's routes do not take it."""
    hosts = {
        "any": "",
        "wide": "*.iso.test",
        "narrow": "*.foo.iso.test",
        "exact": "abc.foo.iso.test",
    }
    listeners = [http(name, **({"hostname": host} if host else {})) for name, host in hosts.items()]
    routes = [
        route(f"iso-{name}", {"name": "iso", "sectionName": name}, under(f"/{name}", **to("one")))
        for name in hosts
    ]
    apply(world, gateway("iso", *listeners), *routes)
    place = world.bound(80, "default/iso")
    of = {
        "any.test": "any", "iso.test": "any", "bar.iso.test": "wide", "foo.iso.test": "wide",
        "bar.foo.iso.test": "narrow", "a.b.foo.iso.test": "narrow", "abc.foo.iso.test": "exact",
    }  # fmt: skip
    for host, name in of.items():
        eventually(lambda h=host, n=name: answers(place, h, f"/{n}") == 200, f"{host} /{name}")
    for host, name in of.items():
        others = [answers(place, host, f"/{other}") for other in hosts if other != name]
        assert others == [404, 404, 404], host


# --- TLS to back ends


def policy(name: str, service: str, authority: str = "ca", **more: Any) -> Json:
    target = {"group": "", "kind": "Service", "name": service, **more.pop("target", {})}
    validation = {"hostname": "abc.test", **more}
    if authority:
        refs = [{"group": "", "kind": more.pop("kind", "ConfigMap"), "name": authority}]
        validation = {
            "caCertificateRefs": refs,
            **{k: v for k, v in validation.items() if k != "kind"},
        }
    return obj("BackendTLSPolicy", name, {"targetRefs": [target], "validation": validation})


def test_tls_to_back_ends(world: Instance) -> None:
    shown = {"backend": {"clientCertificateRef": {"name": "client"}}}
    apply(
        world,
        gateway("plain", http()),
        gateway("shows", http(), tls=shown),
        route("tls-one", "plain", to("one", port=443), hostnames=["tls.test"]),
        route("tls-again", "plain", to("one", port=444), hostnames=["again.test"]),
        route("tls-shown", "shows", to("one", port=443)),
        policy("one", "one", target={"sectionName": "https"}),
    )
    place, shows = (world.bound(80, f"default/{name}") for name in ("plain", "shows"))
    eventually(lambda: answers(place, "tls.test") == 200, "TLS to the back end")
    found = ask(place, "tls.test").json
    assert (found["sni"], found["client"]) == ("abc.test", "()")
    eventually(lambda: answers(shows, "tls.test") == 200, "TLS with a certificate")
    assert "'client'" in ask(shows, "tls.test").json["client"]
    await_words(world, "gateways", "shows", ResolvedRefs=("True", "ResolvedRefs"))
    good = await_words(
        world, "backendtlspolicies", "one", Accepted=("True", "Accepted"),
        ResolvedRefs=("True", "ResolvedRefs"),
    )  # fmt: skip
    assert {a["ancestorRef"]["name"] for a in good["ancestors"]} == {"plain", "shows"}
    # The younger policy for the same port has to yield; one for another port has not.
    time.sleep(1.1)
    apply(world, policy("younger", "one", "bad-ca", target={"sectionName": "https"}))
    apply(world, policy("other-port", "one", target={"sectionName": "again"}))
    await_words(world, "backendtlspolicies", "younger", Accepted=("False", "Conflicted"))
    await_words(world, "backendtlspolicies", "other-port", Accepted=("True", "Accepted"))
    assert answers(place, "tls.test") == 200
    secret = {"backend": {"clientCertificateRef": {"name": "nothing"}}}
    apply(world, gateway("shows", http(), tls=secret))
    await_words(
        world, "gateways", "shows", Accepted=("True", "Accepted"),
        ResolvedRefs=("False", "InvalidClientCertificateRef"),
    )  # fmt: skip


def test_names_and_authorities_of_back_ends(world: Instance) -> None:
    names = [{"type": "Hostname", "hostname": "one.test"}]
    uri = [{"type": "URI", "uri": "spiffe://x/y"}]
    wrong = [{"type": "Hostname", "hostname": "wrong.test"}]
    apply(
        world,
        gateway("names", http()),
        route("names", "names", to("two", port=443)),
        policy("two", "two", subjectAltNames=names, hostname="other.test"),
    )
    place = world.bound(80, "default/names")
    eventually(lambda: answers(place, "x.test") == 200, "by a name of the certificate")
    assert ask(place, "x.test").json["sni"] == "other.test"
    apply(world, policy("two", "two", subjectAltNames=wrong))
    eventually(lambda: answers(place, "x.test") == 503, "no name fits")
    apply(world, policy("two", "two", subjectAltNames=uri))
    eventually(lambda: answers(place, "x.test") == 200, "by a URI")
    apply(world, policy("two", "two", "", wellKnownCACertificates="System"))
    eventually(lambda: answers(place, "x.test") == 503, "not signed by a known authority")
    for authority, kind, reason in (
        ("none", "ConfigMap", "InvalidCACertificateRef"),
        ("bad-ca", "ConfigMap", "InvalidCACertificateRef"),
        ("ca", "Service", "InvalidKind"),
    ):
        apply(world, policy("two", "two", authority, kind=kind))
        await_words(
            world, "backendtlspolicies", "two", Accepted=("False", "NoValidCACertificate"),
            ResolvedRefs=("False", reason),
        )  # fmt: skip
        eventually(lambda: answers(place, "x.test") == 500, "refused")
    world.kubectl("delete", "backendtlspolicy", "two")


# --- ListenerSets


def listener_set(name: str, parent: str, *listeners: Json) -> Json:
    return obj("ListenerSet", name, {"parentRef": {"name": parent}, "listeners": list(listeners)})


def test_listener_sets(world: Instance) -> None:
    allowed = {"allowedListeners": {"namespaces": {"from": "Same"}}}
    apply(
        world,
        gateway("sets", http(hostname="own.test"), **allowed),
        listener_set("more", "sets", http("a", hostname="a.test"), http("x", hostname="own.test"),
                     http("other", 8081)),
        gateway("closed", http()),
        listener_set("refused", "closed", http("a", hostname="a.test")),
        route("in-set", {"kind": "ListenerSet", "name": "more"}, to("two")),
        route("in-gateway", "sets", to("one")),
        route("not-in-gateway", {"name": "sets", "sectionName": "a"}, to("one")),
    )  # fmt: skip
    place, other = (world.bound(port, "default/sets") for port in (80, 8081))
    eventually(lambda: answers(place, "a.test") == 200, "a listener of the set")
    assert ask(place, "a.test").version == "two"
    assert ask(place, "own.test").version == "one"
    assert ask(other, "any.test").version == "two"
    assert answers(place, "nobody.test") == 404
    found = await_words(
        world, "listenersets", "more", Accepted=("True", "ListenersNotValid"),
        Programmed=("True", "Programmed"),
    )  # fmt: skip
    conflicted = words(found["listeners"][1]["conditions"])
    assert conflicted["Accepted"] == ("False", "HostnameConflict")
    assert conflicted["Conflicted"] == ("True", "HostnameConflict")
    for kind, name, routes in (("listenersets", "more", [1, 1, 1]), ("gateways", "sets", [1])):
        eventually(
            lambda k=kind, n=name, r=routes:
            [x["attachedRoutes"] for x in status(world, k, n)["listeners"]] == r,
            f"the routes of {name}",
        )  # fmt: skip
    assert status(world, "gateways", "sets")["attachedListenerSets"] == 1
    await_words(
        world, "listenersets", "refused", Accepted=("False", "NotAllowed"),
        Programmed=("False", "NotAllowed"),
    )  # fmt: skip
    await_words(world, "httproutes", "not-in-gateway", Accepted=("False", "NoMatchingParent"))
    younger = listener_set("younger", "sets", http("a", hostname="a.test"))
    time.sleep(1.1)
    apply(world, younger)
    await_words(
        world, "listenersets", "younger", Accepted=("False", "ListenersNotValid"),
        Programmed=("False", "ListenersNotValid"),
    )  # fmt: skip


# --- connections and datagrams


def first_line(place: tuple[str, int]) -> str:
    try:
        with socket.create_connection(place, timeout=5) as stream:
            return stream.recv(100).decode().strip()
    except OSError:
        return ""


def datagram(place: tuple[str, int], text: str = "hello") -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.settimeout(2)
        stream.sendto(text.encode(), place)
        try:
            return stream.recv(100).decode()
        except OSError:
            return ""


def test_udp_routes(world: Instance) -> None:
    udp = {"port": 5300, "protocol": "UDP"}
    apply(
        world,
        gateway("udp", {"name": "dns", **udp}, {"name": "more", "port": 5301, "protocol": "UDP"},
                {"name": "tcp", "port": 5300, "protocol": "TCP"}),
        route("udp", {"name": "udp", "sectionName": "dns"}, to("one", port=53), "UDPRoute"),
    )  # fmt: skip
    place = world.bound(5300, "default/udp", "udpPorts")
    eventually(lambda: datagram(place) == "one hello", "a datagram and its answer")
    found = await_words(
        world, "gateways", "udp", "dns", Accepted=("True", "Accepted"),
        Programmed=("True", "Programmed"),
    )  # fmt: skip
    assert found["listeners"][0]["supportedKinds"] == [{"group": GROUP, "kind": "UDPRoute"}]

    def counted() -> list[int]:
        return [x["attachedRoutes"] for x in status(world, "gateways", "udp")["listeners"]]

    eventually(lambda: counted() == [1, 0, 0], "routes counted")
    # A younger route is accepted and counted, and gets nothing.
    time.sleep(1.1)
    apply(world, route("udp-late", {"name": "udp", "port": 5300}, to("two", port=53), "UDPRoute"))
    await_words(world, "udproutes", "udp-late", Accepted=("True", "Accepted"))
    assert {datagram(place) for _ in range(5)} == {"one hello"}
    shares = [
        {"name": "one", "port": 53, "weight": 3},
        {"name": "two", "port": 53, "weight": 1},
        {"name": "one", "port": 80, "weight": 0},
    ]
    more = {"name": "udp", "port": 5301}
    apply(world, route("udp-shares", more, {"backendRefs": shares}, "UDPRoute"))
    weighted = world.bound(5301, "default/udp", "udpPorts")
    eventually(lambda: datagram(weighted), "a weighted answer")
    counts = Counter(datagram(weighted).split(" ")[0] for _ in range(60))
    assert counts["one"] + counts["two"] == 60
    assert 35 <= counts["one"] <= 55, counts
    await_words(world, "udproutes", "udp-shares", ResolvedRefs=("False", "BackendNotFound"))


def test_tcp_and_tls_routes(world: Instance, keys: Path) -> None:
    passed = {"name": "passed", "port": 8883, "protocol": "TLS", "hostname": "one.test"}
    ended = {"name": "ended", "port": 8883, "protocol": "TLS", "hostname": "abc.test"}
    ended["tls"] = {"mode": "Terminate", "certificateRefs": [{"name": "server"}]}  # type: ignore[assignment]
    shares = [
        {"name": "one", "port": 7000, "weight": 7},
        {"name": "two", "port": 7000, "weight": 3},
        {"name": "two", "port": 7000, "weight": 0},
    ]
    for_tcp = {"name": "for-tcp", "port": 8884, "protocol": "TLS", "tls": ended["tls"]}
    apply(
        world,
        gateway("bytes", {**passed, "tls": {"mode": "Passthrough"}}, ended, for_tcp,
                {"name": "tcp", "port": 7000, "protocol": "TCP"}),
        route("passed", {"name": "bytes", "sectionName": "passed"}, to("one", port=443),
              "TLSRoute", hostnames=["one.test"]),
        route("ended", {"name": "bytes", "sectionName": "ended"}, to("two", port=80),
              "TLSRoute", hostnames=["abc.test"]),
        route("for-tcp", {"name": "bytes", "sectionName": "for-tcp"}, to("two"), "TCPRoute"),
        route("tcp", {"name": "bytes", "port": 7000}, {"backendRefs": shares}, "TCPRoute"),
    )  # fmt: skip
    mixed, tls = world.bound(8883, "default/bytes"), client(keys)
    eventually(lambda: answers(mixed, "abc.test", tls=tls) == 200, "TLS ends at the gateway")
    assert ask(mixed, "abc.test", tls=tls).json["sni"] == ""
    eventually(lambda: answers(mixed, "one.test", tls=tls) == 200, "TLS is passed on")
    assert ask(mixed, "one.test", tls=tls).json["sni"] == "one.test"
    assert answers(mixed, "nobody.test", tls=tls) == 0
    plain = world.bound(8884, "default/bytes")
    eventually(lambda: answers(plain, "x.test", tls=tls) == 200, "TCPRoute behind TLS")
    tcp = world.bound(7000, "default/bytes")
    eventually(lambda: first_line(tcp), "TCP")
    counts = Counter(first_line(tcp) for _ in range(100))
    assert counts["one"] + counts["two"] == 100
    assert 50 <= counts["one"] <= 88, counts
    found = status(world, "gateways", "bytes")["listeners"]
    kinds = [[k["kind"] for k in x["supportedKinds"]] for x in found]
    assert kinds == [["TLSRoute"], ["TLSRoute", "TCPRoute"], ["TLSRoute", "TCPRoute"], ["TCPRoute"]]


# --- HTTP


def redirect(**fields: Any) -> Json:
    return {"type": "RequestRedirect", "requestRedirect": fields}


def rewrite(path: str) -> Json:
    replaced = {"type": "ReplaceFullPath", "replaceFullPath": path}
    return {"type": "URLRewrite", "urlRewrite": {"path": replaced, "hostname": "inner.test"}}


def under(path: str, **rule: Any) -> Json:
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}}], **rule}


def test_filters_of_back_ends(world: Instance) -> None:
    def share(name: str, weight: int, *filters: Json) -> Json:
        return {"name": name, "port": 80, "weight": weight, "filters": list(filters)}

    added = {"set": [{"name": "x-who", "value": "two"}]}
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": added}
    rules = [
        under("/rewrite", backendRefs=[share("one", 1), share("two", 3, rewrite("/new"), header)]),
        under("/redirect", backendRefs=[share("one", 1), share("two", 1, redirect(port=8080))]),
    ]
    apply(world, gateway("filters", http()), route("filters", "filters", rules))
    place = world.bound(80, "default/filters")
    eventually(lambda: answers(place, "f.test", "/rewrite") == 200, "filters")
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(80):
        found = ask(place, "f.test", "/rewrite").json
        seen[found["version"], found["path"]] += 1
        if found["version"] == "two":
            assert found["headers"]["host"] == "inner.test"
            assert found["headers"]["x-who"] == "two"
    assert set(seen) == {("one", "/rewrite"), ("two", "/new")}
    assert 45 <= seen["two", "/new"] <= 73, seen
    statuses = Counter(answers(place, "f.test", "/redirect") for _ in range(60))
    assert set(statuses) == {200, 302}
    assert statuses[302] > 12


def test_mirrors_and_names(world: Instance) -> None:
    def mirror(**more: Any) -> Json:
        ref = {"name": "two", "port": 80}
        return {"type": "RequestMirror", "requestMirror": {"backendRef": ref, **more}}

    rules = [
        under("/seen/twice", filters=[mirror(), mirror()], name="twice", **to("one")),
        under("/seen/half", filters=[mirror(percent=50)], **to("one")),
        under("/seen/none", filters=[mirror(fraction={"numerator": 0})], **to("one")),
        under("/count", **to("two")),
    ]
    apply(world, gateway("mirrors", http()), route("mirrors", "mirrors", rules))
    place = world.bound(80, "default/mirrors")
    eventually(lambda: answers(place, "m.test", "/count/x") == 200, "routes")

    def count(name: str) -> int:
        return int(ask(place, "m.test", f"/count/seen/{name}").json["count"])

    for name in ("twice", "half", "none"):
        for _ in range(40):
            assert ask(place, "m.test", f"/seen/{name}").version == "one"
    eventually(lambda: count("twice") == 80, "both copies of each request")
    assert 6 <= count("half") <= 34
    assert count("none") == 0


def test_time_outs_and_retries(world: Instance) -> None:
    retry = {"attempts": 2, "codes": [500]}
    rules = [
        under("/slow/request", timeouts={"request": "300ms"}, **to("one")),
        under("/slow/once", timeouts={"backendRequest": "300ms"}, retry={"attempts": 0},
              **to("one")),
        under("/slow/first", timeouts={"request": "5s", "backendRequest": "400ms"},
              retry={"attempts": 3, "codes": [504]}, **to("one")),
        under("/reset", retry={"attempts": 2}, **to("one")),
        under("/plain", retry=retry, **to("one")),
    ]  # fmt: skip
    apply(world, gateway("limits", http()), route("limits", "limits", rules))
    place = world.bound(80, "default/limits")
    eventually(lambda: answers(place, "l.test", "/plain") == 200, "routes")
    for path in ("/slow/request/9", "/slow/once/9"):
        started = time.monotonic()
        assert answers(place, "l.test", path) == 504
        assert time.monotonic() - started < 8
    assert answers(place, "l.test", "/slow/first/1") == 200
    assert answers(place, "l.test", "/reset/connection/1") == 200
    assert answers(place, "l.test", "/reset/always/9") == 503


def test_routes_in_the_mesh(world: Instance) -> None:
    service = {"group": "", "kind": "Service", "name": "one", "port": 80}
    prefix = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}
    added = {"set": [{"name": "x-who", "value": "mesh"}]}
    header = {"type": "RequestHeaderModifier", "requestHeaderModifier": added}
    parameter = {"queryParams": [{"name": "to", "value": "two"}]}
    filters = [{"type": "URLRewrite", "urlRewrite": {"path": prefix}}]
    rules = [
        under("/old", filters=filters, name="rewritten", **to("one")),
        under("/moved", filters=[redirect(path=prefix, port=8443, scheme="https", statusCode=301)]),
        under("/who", backendRefs=[{"name": "one", "port": 80, "filters": [header]}]),
        {"matches": [parameter], **to("two")},
        under("/", **to("one")),
    ]
    apply(world, route("mesh", service, rules), gateway("calls", http()),
          route("calls", "calls", to("two")))  # fmt: skip
    place = world.bound(80, "default/calls")
    eventually(lambda: answers(place, "calls.test", "/call/one/old/x") == 200, "a caller")

    def inside(path: str) -> Json:
        return dict(ask(place, "calls.test", f"/call/one{path}").json)

    def rewritten() -> bool:
        return bool(inside("/old/x").get("path") == "/new/x")

    eventually(rewritten, "routes in the mesh")
    assert inside("/who")["headers"]["x-who"] == "mesh"
    assert inside("/any?to=two")["version"] == "two"
    assert inside("/any")["version"] == "one"
    moved = inside("/moved/x")
    assert (moved["status"], moved["location"]) == (301, "https://one:8443/new/x")
    address = world.read("/api/v1/namespaces/default/services/one")["spec"]["clusterIP"]
    assert ask(place, "calls.test", f"/call/{address}/old/x").json["path"] == "/new/x"
    await_words(world, "httproutes", "mesh", Accepted=("True", "Accepted"))


def test_retries_and_cors(world: Instance) -> None:
    retry = {"attempts": 3, "codes": [503], "backoff": "10ms"}
    cors = {
        "type": "CORS",
        "cors": {
            "allowOrigins": ["https://www.a.test", "https://*.b.test"],
            "allowMethods": ["GET", "PUT"], "allowHeaders": ["x-a"], "exposeHeaders": ["x-b"],
            "maxAge": 60, "allowCredentials": True,
        },
    }  # fmt: skip
    rules = [under("/fail", retry=retry, **to("one")), under("/cors", filters=[cors], **to("one"))]
    apply(world, gateway("more", http()), route("more", "more", rules))
    place = world.bound(80, "default/more")
    eventually(lambda: answers(place, "m.test", "/cors") == 200, "routes")
    assert answers(place, "m.test", "/fail/three/3") == 200
    assert answers(place, "m.test", "/fail/five/9") == 503

    def preflight(origin: str) -> Answer:
        asked = {"origin": origin, "access-control-request-method": "PUT"}
        return ask(place, "m.test", "/cors", method="OPTIONS", headers=asked)

    good = preflight("https://x.b.test")
    assert good.status in (200, 204)
    assert good.headers["access-control-allow-origin"] == "https://x.b.test"
    assert good.headers["access-control-allow-methods"].replace(" ", "") == "GET,PUT"
    assert good.headers["access-control-max-age"] == "60"
    assert good.headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-origin" not in preflight("https://c.test").headers


def test_conditions_of_others_stay(world: Instance) -> None:
    apply(world, gateway("shared", http()))
    programmed(world, "shared")
    path = f"{API}/namespaces/default/gateways/shared/status"
    theirs = {
        "type": "example.com/Checked", "status": "True", "reason": "Fine", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
    known = status(world, "gateways", "shared")["conditions"]
    code, text = world.api(path, "PATCH", {"status": {"conditions": [*known, theirs]}})
    assert code == 200, text
    apply(world, gateway("shared", http(), http("more", 8080)))
    found = await_words(world, "gateways", "shared", Programmed=("True", "Programmed"))
    assert words(found["conditions"])["example.com/Checked"] == ("True", "Fine")
    assert len(found["listeners"]) == 2
