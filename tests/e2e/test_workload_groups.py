"""Machines that weft does not run register themselves in a WorkloadGroup, and get calls while they
are healthy and alive."""

import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import WEFT, Instance, ask, wait_for

pytestmark = pytest.mark.e2e

HOST = "machines.example"
GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: machines}
spec:
  metadata: {labels: {app: machine}}
  template: {serviceAccount: machine, ports: {http: %d}}
  probe:
    periodSeconds: 1
    failureThreshold: 1
    httpGet: {path: /health, port: %d}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: machines}
spec:
  hosts: [machines.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: machine}}
  ports: [{number: 80, name: http, protocol: HTTP}]
"""


class Machine:
    """A server of this machine at a loopback address of its own, and its registration."""

    def __init__(self, weft: Instance, address: str, port: int = 0) -> None:
        self.address = address
        self.sick = False
        machine = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(500 if machine.sick and self.path == "/health" else 200)
                self.end_headers()
                self.wfile.write(address.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((address, port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self._weft = weft

    def register(self) -> None:
        options = f"--group machines --address {self.address} --heartbeat-seconds 1 --kubeconfig"
        command = [*WEFT, "workload", "register", *options.split(), str(self._weft.kubeconfig)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def machines(weft: Instance) -> Iterator[tuple[Instance, list[Machine]]]:
    first = Machine(weft, "127.0.0.21")
    second = Machine(weft, "127.0.0.22", first.port)
    text = GROUP % (first.port, first.port) + m.gateway("machines", HOST)
    text += m.routes("machines", m.to("machines.internal"), HOST, "machines")
    weft.weft("apply", "-f", "-", stdin=text)
    both = [first, second]
    for each in both:
        each.register()
    yield weft, both
    for each in both:
        each.close()


def answering(weft: Instance, count: int = 20) -> set[str]:
    try:
        said = [ask(weft, "/", HOST) for _ in range(count)]
    except OSError:
        return set()
    return {body for status, body in said if status == 200} | {
        str(status) for status, _ in said if status != 200
    }


def test_registered_machines_get_calls(machines: tuple[Instance, list[Machine]]) -> None:
    weft, both = machines
    everyone = {each.address for each in both}
    wait_for(lambda: answering(weft) == everyone, "both machines answer")
    names = {e["metadata"]["name"] for e in weft.items("workloadentries")}
    assert names == {"machines-127-0-0-21", "machines-127-0-0-22"}
    (one,) = [e for e in weft.items("workloadentries") if e["spec"]["address"] == both[0].address]
    assert one["metadata"]["labels"] == {"app": "machine"}
    kinds = {c["type"]: c["status"] for c in one["status"]["conditions"]}
    assert kinds["Healthy"] == "True"
    wait_for(lambda: "Programmed" in str(weft.items("workloadentries")[0]["status"]), "its status")


def test_an_unhealthy_machine_gets_none_until_it_is_well(
    machines: tuple[Instance, list[Machine]],
) -> None:
    weft, (first, second) = machines
    first.sick = True
    wait_for(lambda: answering(weft) == {second.address}, "only the healthy one answers")
    first.sick = False
    wait_for(lambda: len(answering(weft)) == 2, "both answer again")


def test_a_machine_that_dies_is_forgotten_and_one_that_leaves_at_once(
    machines: tuple[Instance, list[Machine]],
) -> None:
    weft, (first, second) = machines
    os.kill(first.process.pid, signal.SIGKILL)
    wait_for(lambda: len(weft.items("workloadentries")) == 1, "the silent one is forgotten")
    wait_for(lambda: answering(weft) == {second.address}, "the other answers")
    second.process.terminate()
    assert second.process.wait(10) == 0
    assert weft.items("workloadentries") == []
    wait_for(lambda: answering(weft, 3) == {"503"}, "nobody is left")
