"""Pods as real processes in real network namespaces: the agent on the pod host."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from msgspec.structs import replace

from tests.node.fakes import FakeMesh
from tests.node.test_agent import POD, World, ready
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Secret, Service
from weft.api.registry import kind_for
from weft.node.agent_settings import AgentSettings
from weft.node.dns_process import DnsProcess, is_dns, names_file
from weft.node.images import ImageStore
from weft.node.logs import LogOptions
from weft.node.network_host import HostNetwork
from weft.node.network_netns import NetnsNetwork
from weft.node.podhost_client import PodhostRuntime, ensure_podhost
from weft.node.runtime import ContainerState

pytestmark = [pytest.mark.slow]

APP = """
import http.server, json, os, signal, sys
def end(*_):
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = not os.path.exists("/tmp/" + os.environ["HOSTNAME"] + ".sick")
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200 if ok else 500)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        print("served", self.path, flush=True)
address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ["PORT"]))
print("up", flush=True)
http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""


class RealWorld(World):
    """Real processes; the network is chosen by `open`."""

    runtime: PodhostRuntime  # type: ignore[assignment]

    async def open(self, run_dir: Path, isolation: Any) -> None:
        self.run_dir = run_dir
        self.runtime = await ensure_podhost(run_dir)
        self.mesh = FakeMesh()
        home = Path(self.settings.data_dir)
        source = home / "app"
        source.mkdir(parents=True)
        (source / "app.py").write_text(APP)
        self.images = ImageStore(home)  # type: ignore[assignment]
        self.images.add("web:1.0", source, (sys.executable, "app.py"))  # type: ignore[attr-defined]
        self.settings = AgentSettings(
            node_name="node-1", data_dir=str(home), isolation=isolation,
            host_ip="127.0.0.1", etc_overlay=self.runtime.privilege != "none",
        )  # fmt: skip
        if isolation == "host":
            self.network = HostNetwork(run_dir)  # type: ignore[assignment]
        else:
            name = uuid.uuid4().hex[:8]
            network = NetnsNetwork(run_dir, dns_port=15053, instance=name)
            await network.open()
            self.network = network  # type: ignore[assignment]
            names = DnsProcess(
                *(self.runtime, run_dir, network.node_address, 15053),
                log_path=home / "dns.log",
            )
            await names.start()
            await names.ready()
            self.settings = replace(
                self.settings, node_address=network.node_address, host_ip=network.node_address,
                dns_address=network.node_address, names_file=str(names_file(run_dir)),
            )  # fmt: skip
        if isolation == "host":
            await self.network.open()  # type: ignore[attr-defined]
        for name in ("default", "kube-node-lease"):
            await self.client.create(kind_for(Namespace), {"metadata": {"name": name}})
        await self.start()

    async def shut(self) -> None:
        await self.stop(keep_pods=False)
        await self.runtime.shutdown()
        await self.runtime.close()
        await self.network.destroy()  # type: ignore[attr-defined]

    async def containers(self) -> list[ContainerState]:
        """Of pods."""
        return [one for one in await self.runtime.list() if not is_dns(one.id)]

    async def fetch(self, pod: dict[str, Any], port: int = 8080) -> tuple[int, dict[str, str]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{pod['status']['podIP']}:{port}/") as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    async def log(self, pod: dict[str, Any], follow: bool = False) -> bytes:
        assert self.agent is not None
        meta = pod["metadata"]
        stream = self.agent.logs(
            "default", meta["name"], meta["uid"], "web", LogOptions(follow=follow)
        )
        return b"".join([chunk async for chunk in stream])


def container(**more: Any) -> dict[str, Any]:
    return {"name": "web", "image": "web:1.0", "ports": [{"containerPort": 8080}]} | more


@pytest_asyncio.fixture
async def run_dir() -> AsyncIterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="wfn-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture
async def netns(tmp_path: Path, run_dir: Path) -> AsyncIterator[RealWorld]:
    world = RealWorld(tmp_path)
    await world.open(run_dir, "netns")
    yield world
    await world.shut()


@pytest.mark.root
async def test_pod_with_files_names_probes_logs_and_a_graceful_end(netns: RealWorld) -> None:
    await netns.client.create(
        kind_for(ConfigMap), {"metadata": {"name": "cfg"}, "data": {"GREETING": "hi"}}, "default"
    )
    await netns.client.create(
        kind_for(Secret),
        {"metadata": {"name": "key"}, "data": {"password": "aHVudGVyMg=="}}, "default",
    )  # fmt: skip
    service = {
        "metadata": {"name": "shop"},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}], "selector": {"app": "web"}},
    }
    await netns.client.create(kind_for(Service), service, "default")
    command = (
        "cat /secrets/password; echo; cat /etc/hostname; "
        "python3 -c 'import socket; print(socket.gethostbyname(\"shop\"))' 2>&1 | tail -1; "
        f"exec {sys.executable} app.py"
    )
    await netns.create_pod(
        containers=[container(
            command=["/bin/sh", "-c", command],
            envFrom=[{"configMapRef": {"name": "cfg"}}],
            volumeMounts=[{"name": "key", "mountPath": "/secrets"}],
            readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
            livenessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1},
        )],
        volumes=[{"name": "key", "secret": {"secretName": "key"}}],
        terminationGracePeriodSeconds=10,
    )  # fmt: skip
    pod = await netns.when(ready, seconds=20)
    status, env = await netns.fetch(pod)
    assert status == 200
    assert (env["GREETING"], env["HOSTNAME"], env["PORT"]) == ("hi", "web", "8080")
    address = env["SHOP_SERVICE_HOST"]
    text = (await netns.log(pod)).decode()
    assert text.startswith(f"hunter2\nweb\n{address}\nup\n"), text
    await netns.client.delete(POD, "web", "default")
    await netns.gone(seconds=10)
    assert await netns.network.list() == {}
    assert await netns.containers() == []


@pytest.mark.root
async def test_agent_restart_leaves_the_process_alone(netns: RealWorld) -> None:
    await netns.create_pod(containers=[container()])
    pod = await netns.when(ready, seconds=20)
    (before,) = await netns.containers()
    await netns.stop()
    assert (await netns.fetch(pod))[0] == 200
    await netns.start()
    await asyncio.sleep(0.2)
    (after,) = await netns.containers()
    assert (after.id, after.pid) == (before.id, before.pid)
    assert ready(await netns.pod())
    os.kill(after.pid, signal.SIGKILL)
    again = await netns.when(
        lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1 and ready(p), seconds=20
    )
    last = again["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (137, "Error")


@pytest.mark.root
async def test_liveness_probe_restarts_and_pre_stop_runs_first(netns: RealWorld) -> None:
    sick = Path("/tmp/web.sick")
    sick.unlink(missing_ok=True)
    hook = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "rm -f /tmp/web.sick"]}}}
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    await netns.create_pod(containers=[container(livenessProbe=probe, lifecycle=hook)])
    pod = await netns.when(ready, seconds=20)
    try:
        sick.touch()
        await netns.when(
            lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1, seconds=20
        )
        assert not sick.exists(), "the hook ran in the container"
        assert b"bye" in await netns.log(pod) or ready(await netns.when(ready, seconds=20))
    finally:
        sick.unlink(missing_ok=True)


async def test_host_isolation_gives_each_pod_a_port(tmp_path: Path, run_dir: Path) -> None:
    world = RealWorld(tmp_path)
    await world.open(run_dir, "host")
    try:
        await world.create_pod(containers=[container()])
        await world.create_pod("two", containers=[container()])
        for name in ("web", "two"):
            pod = await world.when(ready, name, seconds=20)
            ports = json.loads(pod["metadata"]["annotations"]["weft.dev/host-ports"])
            status, env = await world.fetch(pod, ports["8080"])
            assert status == 200
            assert env["HOST"] == pod["status"]["podIP"]
            proxy = pod["metadata"]["annotations"]["weft.dev/http-proxy"]
            assert env["http_proxy"] == f"http://{proxy}"
    finally:
        await world.shut()


@pytest.mark.root
async def test_time_from_creation_to_running_process(netns: RealWorld) -> None:
    """Our own part of a start is small: measured with a program that starts at once."""
    netns.images.add("true:1.0", Path("/"), ("/bin/sleep", "60"))  # type: ignore[attr-defined]
    await netns.create_pod("warm-up", containers=[{"name": "web", "image": "true:1.0"}])
    await netns.when(ready, "warm-up", seconds=20)
    loop = asyncio.get_running_loop()
    took = []
    for index in range(5):
        at = loop.time()
        await netns.create_pod(f"p{index}", containers=[{"name": "web", "image": "true:1.0"}])
        await netns.when(ready, f"p{index}", seconds=20)
        took.append(loop.time() - at)
    assert min(took) < 1, [f"{t * 1000:.0f} ms" for t in took]
