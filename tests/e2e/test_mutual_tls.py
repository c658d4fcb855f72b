"""Calls between machines as a user meets them: identities, policies, new roots, strangers."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.instance import wait_for
from tests.e2e.machines import Fabric, Machine
from tests.e2e.manifests import echo, service

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


class Two:
    """A server `a` with callers, and a node `b` with a server; certificates of half a minute."""

    def __init__(self, fabric: Fabric) -> None:
        self.a, self.b = fabric.machine("a"), fabric.machine("b")
        self.a.weft(
            "server", "--listen", self.a.address, "--name", "a", "--detach",
            "--isolation", "netns", "--gateway-address", self.a.address,
            "--workload-cert-ttl", "24s",
        )  # fmt: skip
        self.b.join(self.a, self.a.weft("token", "create").strip())
        manifests = (
            on("a", "near", echo("near")) + on("a", "other", echo("other"))
            + on("b", "far", echo("far")) + service("far")
        )  # fmt: skip
        self.a.weft("apply", "-f", "-", stdin=manifests)
        wait_for(lambda: all(self.a.ready_pods(f"app={n}") for n in ("near", "other", "far")),
                 "all pods ready")  # fmt: skip

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
    assert two.calls("near", 20) == [200] * 20
    assert two.calls("other", 20) == [403] * 20
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


def test_strict_takes_calls_of_the_mesh_and_no_others(two: Two) -> None:
    two.a.weft(
        "apply", "-f", "-", stdin=policy("PeerAuthentication", "far", {"mtls": {"mode": "STRICT"}})
    )
    (pod,) = two.a.ready_pods("app=far")
    address = f"http://{pod['status']['podIP']}:8080/who"
    # From machine a, which is no node to the pod: b's own programs are.
    wait_for(lambda: two.a.fetch(address, timeout=2)[0] == 0, "who has no identity is refused", 10)
    assert two.calls("near", 5) == [200] * 5
    two.a.kubectl("delete", "peerauthentication", "far")
    wait_for(lambda: two.a.fetch(address, timeout=2)[0] == 200, "PERMISSIVE lets anybody in", 10)


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


def test_certificates_and_roots_change_under_load(two: Two) -> None:
    """Certificates of 24 seconds are renewed, a root is replaced, and no call fails."""
    first = {a["name"]: a["state"] for a in two.ca("show")["authorities"]}
    two.ca("rotate", "--now")
    statuses: list[int] = []
    until = time.monotonic() + 14
    while time.monotonic() < until:
        statuses += two.calls("near", 60)
    assert set(statuses) == {200}, statuses
    found = {a["name"]: a["state"] for a in two.ca("show")["authorities"]}
    (signing,) = [name for name, state in found.items() if state == "signing"]
    assert first.get(signing) is None, "another root signs"
    roots = two.a.kubectl("get", "cm", "-n", "kube-system", "istio-ca-root-cert", "-o", "json")
    assert json.loads(roots)["data"]["root-cert.pem"].count("BEGIN CERTIFICATE") == 2
