"""Calls between machines as a user meets them: identities, policies, new roots, strangers."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.instance import wait_for
from tests.e2e.machines import Fabric, Machine
from tests.e2e.manifests import echo, service
from weft.node.envoy import admin_socket
from weft.pki.ca import Authority, Credential, name_of
from weft.pki.identity import parse

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
]


def on(node: str, account: str, manifest: str) -> str:
    """A deployment on one node, in the name of a service account."""
    place = f"      nodeSelector: {{kubernetes.io/hostname: {node}}}\n"
    place += f"      serviceAccountName: {account}\n      terminationGrace"
    given = f"---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}}}\n---"
    return given + manifest.replace("      terminationGrace", place)


def policy(kind: str, name: str, spec: Any, namespace: str = "default") -> str:
    return json.dumps(
        {
            "apiVersion": "security.istio.io/v1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": namespace},
        }
    )  # fmt: skip


LOAD = """
import collections, json, select, sys, urllib.error as e, urllib.request as u
found = collections.Counter()
while not select.select([sys.stdin], [], [], 0.03)[0]:
    try:
        found[u.urlopen("{url}", timeout=10).status] += 1
    except e.HTTPError as x:
        found[f"{{x.code}} {{x.read()[:99]}}"] += 1
    except OSError as x:
        found[repr(x)] += 1
print(json.dumps(found))
"""


class Calling:
    """A program in a pod that calls until it is asked what came of it."""

    def __init__(self, machine: Machine, caller: str, url: str) -> None:
        command = ["exec", "-i", f"deploy/{caller}-v1", "--", "python3", "-c", LOAD.format(url=url)]
        self._process = machine.kubectl_beside(*command)

    def ended(self) -> dict[str, int]:
        """Answers (statuses, or what went wrong) and how often."""
        out, error = self._process.communicate("\n", 30)
        assert self._process.returncode == 0, error
        found: dict[str, int] = json.loads(out)
        return found


class Two:
    """A server `a` with callers, and a node `b` with a server. Nothing lives long: leaves 12 s,
    intermediates 15 s, roots a minute; all are renewed while the tests run, and calls go on."""

    def __init__(self, fabric: Fabric) -> None:
        self.a, self.b = fabric.machine("a"), fabric.machine("b")
        self.serve()
        self.b.join(self.a, self.a.weft("token", "create").strip())
        manifests = (
            on("a", "near", echo("near")) + on("a", "other", echo("other"))
            + on("b", "far", echo("far")) + service("far") + service("near")
        )  # fmt: skip
        self.a.weft("apply", "-f", "-", stdin=manifests)
        wait_for(lambda: all(self.a.ready_pods(f"app={n}") for n in ("near", "other", "far")),
                 "all pods ready")  # fmt: skip
        wait_for(lambda: self.call("near") == self.call("far", "http://near/x") == 200,
                 "calls reach the other node", 20)  # fmt: skip
        self.first = self.in_use()
        self.load = [
            Calling(self.a, "near", "http://far/x"), Calling(self.a, "far", "http://near/x")
        ]  # fmt: skip

    def serve(self, *options: str) -> None:
        self.a.weft(
            "server", "--listen", self.a.address, "--name", "a", "--detach",
            "--isolation", "netns", "--gateway-address", self.a.address,
            "--workload-cert-ttl", "12s", "--root-cert-ttl", "60s", *options,
        )  # fmt: skip

    def in_use(self) -> dict[str, tuple[str, ...]]:
        """By node: serial numbers of all certificates that its proxy shows, intermediates too."""
        found = {}
        for machine in (self.a, self.b):
            page = http_over(admin_socket(machine.run_dir), "/certs")
            every = [each["cert_chain"] for each in json.loads(page)["certificates"]]
            shown = {
                one["serial_number"]
                for chain in every
                for one in chain
                if any("spiffe://" in name.get("uri", "") for name in one["subject_alt_names"])
            }
            found[machine.name] = tuple(sorted(shown))
        return found

    def states(self) -> dict[str, str]:
        """State of each authority, by name."""
        return {a["name"]: a["state"] for a in self.ca("show")["authorities"]}

    def signing(self) -> str:
        return next(name for name, state in self.states().items() if state == "signing")

    def shown_by(self, pod: Any, credential: Credential | None = None) -> "Shown":
        """What the proxy of node b shows, and answers, to who connects for a pod."""
        uid, port = pod["metadata"]["uid"], 8080
        return self.a.do(lambda: shown((self.b.address, 15008), f"p{port}.{uid}", credential))

    def call(self, caller: str, url: str = "http://far/x") -> int:
        """The status that a program in a pod gets, 0 for none."""
        return self.calls(caller, 1, url)[0]

    def calls(self, caller: str, count: int, url: str = "http://far/x") -> list[int]:
        program = (
            "import urllib.request as u, urllib.error as e, time\n"
            f"for _ in range({count}):\n"
            f" try: print(u.urlopen('{url}', timeout=5).status)\n"
            " except e.HTTPError as x: print(x.code)\n"
            " except OSError: print(0)\n"
            f" {'time.sleep(0.02)' if count > 1 else 'pass'}\n"
        )
        out = self.a.kubectl("exec", f"deploy/{caller}-v1", "--", "python3", "-c", program)
        return [int(word) for word in out.split()]

    def ca(self, *command: str) -> Any:
        return json.loads(self.a.weft("ca", *command, "-o", "json"))


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    fabric = Fabric()
    try:
        yield Two(fabric)
    finally:
        fabric.close()


def test_calls_are_encrypted_and_have_their_callers_name(two: Two) -> None:
    """The certificate decides on the other node: nothing else there knows who calls."""
    wait_for(lambda: two.call("near") == 200, "a call reaches the other node", 20)
    heard = sniff(two.b, lambda: two.calls("near", 5))
    assert b"GET /x" not in heard
    assert len(heard) > 1000
    source = {"source": {"principals": ["cluster.local/ns/default/sa/near"]}}
    spec = {"selector": {"matchLabels": {"app": "far"}}, "rules": [{"from": [source]}]}
    two.a.weft("apply", "-f", "-", stdin=policy("AuthorizationPolicy", "far", spec))
    wait_for(lambda: two.call("other") == 403, "another account is refused", 10)
    assert two.calls("near", 5) == [200] * 5
    assert two.calls("other", 5) == [403] * 5
    two.a.kubectl("delete", "authorizationpolicy", "far")
    wait_for(lambda: two.call("other") == 200, "and let in again", 10)


def sniff(machine: Machine, work: Any) -> bytes:
    """All that passes the machine's interface while something is done."""
    program = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))\n"
        "s.bind(('eth0', 0)); print('ready', flush=True)\n"
        "while True: sys.stdout.buffer.write(s.recv(65535)); sys.stdout.flush()\n"
    )
    command = [*machine.enter(), "python3", "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    work()
    process.kill()
    heard, _ = process.communicate()
    return heard


def python(machine: Machine, program: str) -> str:
    """What a program on a machine prints."""
    command = [*machine.enter(), "python3", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stranger_is_not_spoken_with(two: Two) -> None:
    """Who reaches the port and has no certificate of the mesh learns nothing."""
    out = python(
        two.a,
        "import socket, ssl\n"
        "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname = False\n"
        "c.verify_mode = ssl.CERT_NONE; c.set_alpn_protocols(['http/1.1'])\n"
        f"s = socket.create_connection(('{two.b.address}', 15008), 5)\n"
        "try:\n"
        " s = c.wrap_socket(s, server_hostname='p8080.x'); s.send(b'GET / HTTP/1.1\\r\\n\\r\\n')\n"
        " print('heard', s.recv(99))\n"
        "except OSError as e: print('refused')\n",
    )
    assert out.startswith("refused")


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"mtls": {"mode": "STRICT"}}, 0),
        ({"mtls": {"mode": "DISABLE"}}, 200),
        ({"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}}, 200),
        ({"mtls": {"mode": "DISABLE"}, "portLevelMtls": {"8080": {"mode": "STRICT"}}}, 0),
    ],
    ids=["strict", "disable", "open port", "strict port"],
)
def test_what_one_workload_asks_of_its_callers(two: Two, spec: Any, wanted: int) -> None:
    """The namespace asks for the opposite; calls of the mesh are served in any case."""
    (pod,), (other,) = two.a.ready_pods("app=far"), two.a.ready_pods("app=near")
    opposite = "STRICT" if wanted else "PERMISSIVE"
    whole = policy("PeerAuthentication", "default", {"mtls": {"mode": opposite}})
    own = {"selector": {"matchLabels": {"app": "far"}}, **spec}
    two.a.weft("apply", "-f", "-", "--wait",
               stdin=f"{whole}\n---\n{policy('PeerAuthentication', 'far', own)}")  # fmt: skip
    far, near = (f"http://{p['status']['podIP']}:8080/who" for p in (pod, other))
    wait_for(lambda: two.a.fetch(far, timeout=2)[0] == wanted, "as the workload asks", 10)
    at_near = 0 if wanted else 200
    wait_for(lambda: two.b.fetch(near, timeout=2)[0] == at_near, "the namespace's holds", 10)
    assert two.calls("near", 3) == [200] * 3
    two.a.kubectl("delete", "peerauthentication", "far", "default")


def root_of(two: Two) -> Authority:
    """The mesh's own root with its key, which root on the machine alone may read."""
    path = two.a.data_dir / "pki" / "mesh" / "roots.json"
    (stored,) = [
        r for r in json.loads(path.read_text())["roots"] if r["root"]["name"] == two.signing()
    ]
    certificate = x509.load_pem_x509_certificate(stored["certificate"].encode())
    key = serialization.load_pem_private_key(stored["key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Authority(certificate, key, roots=stored["certificate"])


def test_certificates_of_other_trust_domains_count_where_they_are_aliases(two: Two) -> None:
    """Signed by the mesh's own root all the same."""
    (pod,) = two.a.ready_pods("app=far")

    def status(name: str, made_at: float = 0.0) -> int:
        made = root_of(two).workload(parse(name), made_at or time.time(), 10.0)
        return two.shown_by(pod, made).status

    near = "/ns/default/sa/near"
    assert status(f"spiffe://cluster.local{near}") == 200
    assert status(f"spiffe://cluster.local{near}", time.time() - 15) == 0, "it has ended"
    assert status(f"spiffe://old.example{near}") == 0
    source = {"source": {"principals": [f"cluster.local{near}"]}}
    spec = {"selector": {"matchLabels": {"app": "far"}}, "rules": [{"from": [source]}]}
    mesh = {
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": 'trustDomainAliases: ["old.example"]'},
    }  # fmt: skip
    objects = (json.dumps(mesh), policy("AuthorizationPolicy", "far", spec))
    two.a.weft("apply", "-f", "-", stdin="\n---\n".join(objects))
    wait_for(lambda: status(f"spiffe://old.example{near}") == 200, "an alias counts", 10)
    assert status("spiffe://old.example/ns/default/sa/other") == 403
    assert status(f"spiffe://other.example{near}") == 0
    two.a.kubectl("delete", "-n", "istio-system", "configmap", "istio")
    two.a.kubectl("delete", "authorizationpolicy", "far")
    wait_for(lambda: status(f"spiffe://old.example{near}") == 0, "and no longer", 10)


def test_everything_is_renewed_by_itself_and_no_call_fails(two: Two) -> None:
    """Leaves, intermediates and the root, under load in both directions since the tests began."""
    # No order was given: the first root's life is a minute, and its four fifths are over.
    following = wait_for(lambda: next((n for n, s in two.states().items() if s == "retiring"), ""),
                         "another root signs by itself", 70)  # fmt: skip
    second = two.signing()
    two.ca("rotate", "--now")
    wait_for(lambda: two.signing() != second, "and another, by command", 20)
    wait_for(lambda: not {following, second} & two.states().keys(), "the old ones have ended", 60)
    third = two.signing()

    def renewed() -> bool:
        """Every certificate that proxies show is new."""
        found = two.in_use()
        return all(found[n] and not set(found[n]) & set(two.first[n]) for n in ("a", "b"))

    wait_for(renewed, "no old certificate is in use", 20)
    (pod,) = two.a.ready_pods("app=far")
    leaf, intermediate = two.shown_by(pod).chain
    leaf.verify_directly_issued_by(intermediate)
    (root,) = [
        r for r in x509.load_pem_x509_certificates(published_roots(two)) if name_of(r) == third
    ]
    intermediate.verify_directly_issued_by(root)
    for load in two.load:
        found = load.ended()
        assert set(found) == {"200"}, found
        assert found["200"] > 200, found


def published_roots(two: Two) -> bytes:
    """The ConfigMap from which others take them."""
    found = two.a.kubectl("get", "cm", "-n", "kube-system", "istio-ca-root-cert", "-o", "json")
    text: str = json.loads(found)["data"]["root-cert.pem"]
    return text.encode()


def test_a_policy_says_which_nodes_enforce_it(two: Two) -> None:
    """All nodes do whose proxies acknowledged it: callers may be on any. While one does not
    answer, the policy is not said to be in force."""
    spec = {"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/closed"]}}]}]}
    path = "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies/closed"

    def told() -> tuple[Any, dict[str, str]]:
        found = two.a.read(path).get("status", {})
        states = {c["type"]: c["status"] for c in found.get("conditions", [])}
        return found.get("nodes"), states

    pid = next(p["pid"] for p in two.a.status()["proxies"] if p["node"] == "b")
    os.kill(pid, signal.SIGSTOP)
    try:
        two.a.weft("apply", "-f", "-", stdin=policy("AuthorizationPolicy", "closed", spec))
        nodes, states = wait_for(lambda: t if (t := told())[0] else None, "the status is written")
        assert nodes == {"total": 2, "acknowledged": 1, "names": ["a"], "missing": ["b"]}
        assert states == {"Accepted": "True", "Programmed": "False"}
    finally:
        os.kill(pid, signal.SIGCONT)
    nodes, states = wait_for(
        lambda: t if (t := told())[1]["Programmed"] == "True" else None, "b has it as well"
    )
    assert nodes == {"total": 2, "acknowledged": 2, "names": ["a", "b"]}
    assert two.call("near", "http://far/closed") == 403, "as a enforces it"
    assert two.call("far", "http://near/closed") == 403, "and b"
    two.a.kubectl("delete", "authorizationpolicy", "closed")


def test_an_authority_of_others(two: Two, tmp_path: Path) -> None:
    """Taken over at a start, replaced under load; what does not fit, or ends soon, is told."""
    root, after = (Authority.create("cluster.local", time.time()) for _ in range(2))
    plug(tmp_path, root, root.intermediate("one", time.time()), root.roots)
    two.a.weft("down", "--keep-pods")
    two.serve("--ca-dir", str(tmp_path))
    wait_for(lambda: two.call("near") == 200, "calls go on under the new authority", 60)
    reach_in = ("exec", "deploy/far-v1", "--", "true")
    wait_for(lambda: not two.a.kubectl(*reach_in, check=False), "node b is connected again", 60)
    (pod,) = two.a.ready_pods("app=far")

    def signer() -> str:
        """The authority right above what the pod's proxy shows."""
        chain = two.shown_by(pod).chain
        return name_of(chain[1]) if len(chain) > 1 else ""

    first = signer()
    loads = [Calling(two.a, "near", "http://far/x"), Calling(two.a, "far", "http://near/x")]
    plug(tmp_path, after, after.intermediate("two", time.time()), root.roots)
    wait_for(lambda: "no chain" in two.ca("show")["problem"], "files that do not fit are told", 20)
    assert "WEFT2630" in two.a.weft("status", check=False)
    assert two.call("near") == 200
    # First both roots are to be trusted, then the new one signs: as Istio's users do it.
    plug(tmp_path, root, root.intermediate("one", time.time()), root.roots + after.roots)
    wait_for(lambda: published_roots(two).count(b"BEGIN") == 2, "both roots are trusted", 20)
    wait_for(lambda: signer() != first, "certificates are made anew", 40)
    time.sleep(1)
    second = signer()
    # It has lived for nine tenths of its life and more.
    old = after.intermediate("two", time.time() - 3600, 3700.0)
    plug(tmp_path, after, old, root.roots + after.roots)
    wait_for(lambda: signer() != second, "the other root's authority signs", 40)
    for load in loads:
        found = load.ended()
        assert set(found) == {"200"}, found
    assert two.ca("show")["alarms"]
    assert "WEFT2630" in two.a.weft("status", check=False)
    wait_for(lambda: "AuthorityEnds" in two.a.kubectl("get", "events", "-n", "kube-system"),
             "an Event tells it", 20)  # fmt: skip
    metrics = two.a.kubectl("get", "--raw", "/weft/v1/proxy-metrics")
    ends = re.search(r"^citadel_server_cert_chain_expiry_timestamp (\d+)", metrics, re.MULTILINE)
    assert ends
    assert int(ends[1]) < time.time() + 3600


def plug(directory: Path, root: Authority, signer: Authority, bundle: str) -> None:
    """Files as of Istio's `cacerts`, each put there whole."""
    texts = {
        "ca-cert.pem": signer.certificate_pem, "ca-key.pem": signer.key_pem,
        "cert-chain.pem": signer.certificate_pem, "root-cert.pem": bundle,
    }  # fmt: skip
    for name, text in texts.items():
        (directory / f".{name}").write_text(text)
        (directory / f".{name}").rename(directory / name)


class Shown(NamedTuple):
    """What a server shows of itself, and answers; 0 where it hangs up."""

    chain: list[x509.Certificate]
    status: int


def shown(place: tuple[str, int], name: str, credential: Credential | None) -> Shown:
    """Connect to a node's proxy as another node's would."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    if credential is not None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(credential.certificate + credential.key)
            file.flush()
            context.load_cert_chain(file.name)
    with socket.create_connection(place, 10) as raw:
        try:
            with context.wrap_socket(raw, server_hostname=name) as stream:
                sent = stream._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
                pem = "".join(each.public_bytes() for each in sent)
                chain = x509.load_pem_x509_certificates(pem.encode())
                try:
                    stream.sendall(b"GET /x HTTP/1.1\r\nhost: far\r\nconnection: close\r\n\r\n")
                    line = stream.recv(4096).split(b" ")
                except OSError:
                    line = []
                return Shown(chain, int(line[1]) if len(line) > 1 else 0)
        except OSError:
            return Shown([], 0)


def http_over(path: str, page: str) -> str:
    """GET over a Unix socket."""
    connection = http.client.HTTPConnection("envoy", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(path)
    with contextlib.closing(connection):
        connection.request("GET", page)
        return connection.getresponse().read().decode()
