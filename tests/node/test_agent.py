"""The agent against a real API (memory store) and a machine in memory."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.node.fakes import FakeImages, FakeMesh, FakeNetwork, FakeRuntime
from tests.waiting import until
from weft.api.errors import ApiError
from weft.api.istio.networking_v1 import Gateway
from weft.api.k8s.coordination_v1 import Lease
from weft.api.k8s.core_v1 import ConfigMap, Event, Namespace, Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.registry import kind_for
from weft.apiserver.addresses import Ranges
from weft.apiserver.local_client import LocalClient
from weft.apiserver.resources import Resources
from weft.apiserver.watching import Watches
from weft.lib.aio import now
from weft.node import node_registration
from weft.node.agent import NodeAgent
from weft.node.agent_settings import AgentSettings
from weft.node.logs import LogOptions, container_log, pod_log_dir
from weft.node.pod_runner import PodRunner
from weft.node.runtime import ContainerSpec, ContainerState, PodNetwork
from weft.runtime.informer import Informers
from weft.store.memory import MemoryStore

POD, NODE = kind_for(Pod), kind_for(Node)


class World:
    """A cluster of one node. `restart` replaces the agent and nothing else."""

    def __init__(self, directory: Path) -> None:
        store = MemoryStore()
        resources = Resources(store, clock=now, random=random.Random(7).randrange, ranges=Ranges())
        self.client = LocalClient(resources, Watches(store))
        self.runtime, self.network, self.mesh = FakeRuntime(), FakeNetwork(), FakeMesh()
        self.images = FakeImages("web:1.0")
        self.settings = AgentSettings(
            node_name="node-1", data_dir=str(directory / "data"), host_ip="192.0.2.1",
            node_address="10.244.0.1", dns_address="10.244.0.1",
            names_file=str(directory / "run" / "names"),
        )  # fmt: skip
        self.agent: NodeAgent | None = None
        self.informers: Informers | None = None

    async def start(self) -> None:
        self.informers = Informers(self.client)
        self.agent = NodeAgent(
            client=self.client, informers=self.informers, runtime=self.runtime,
            network=self.network, images=self.images, settings=self.settings,
            gate=self.mesh, inflight=self.mesh,
        )  # fmt: skip
        await self.agent.start()

    async def stop(self, keep_pods: bool = True) -> None:
        if self.agent is not None and self.informers is not None:
            await self.agent.close(keep_pods)
            await self.informers.close()
        self.agent = None

    async def create_pod(self, name: str = "web", **spec: Any) -> dict[str, Any]:
        spec.setdefault("containers", [{"name": "web", "image": "web:1.0"}])
        spec.setdefault("nodeName", "node-1")
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        made: dict[str, Any] = orjson.loads(await self.client.create(POD, body, "default"))
        return made

    async def pod(self, name: str = "web") -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(await self.client.get(POD, name, "default"))
        return found

    async def when(self, check: Any, name: str = "web", seconds: float = 5.0) -> dict[str, Any]:
        """The pod, once its status is so."""
        async with asyncio.timeout(seconds):
            while True:
                found = await self.pod(name)
                try:
                    if check(found):
                        return found
                except (KeyError, IndexError, TypeError):
                    pass
                await asyncio.sleep(0.005)

    async def gone(self, name: str = "web", seconds: float = 5.0) -> None:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    await self.pod(name)
                except ApiError as error:
                    if error.code == 404:
                        return
                    raise
                await asyncio.sleep(0.005)


def ready(pod: dict[str, Any]) -> bool:
    return condition(pod, "Ready") == "True"


def condition(pod: dict[str, Any], kind: str) -> str:
    return next((c["status"] for c in pod["status"]["conditions"] if c["type"] == kind), "")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    for name in ("default", "kube-node-lease"):
        await made.client.create(kind_for(Namespace), {"metadata": {"name": name}})
    await made.start()
    yield made
    await made.stop()


async def test_node_registers_itself(world: World) -> None:
    node = orjson.loads(await world.client.get(NODE, "node-1"))
    assert node["metadata"]["annotations"]["weft.dev/isolation"] == "netns"
    assert node["metadata"]["annotations"]["weft.dev/node-address"] == "10.244.0.1"
    assert {"type": "InternalIP", "address": "192.0.2.1"} in node["status"]["addresses"]
    assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["True"]
    assert int(node["status"]["allocatable"]["pods"]) > 0
    lease = orjson.loads(await world.client.get(kind_for(Lease), "node-1", "kube-node-lease"))
    assert lease["spec"]["holderIdentity"] == "node-1"


async def test_a_deleted_node_registers_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.stop()
    monkeypatch.setattr(node_registration, "HEARTBEAT_SECONDS", 0.05)
    await world.start()
    before = orjson.loads(await world.client.get(NODE, "node-1"))["metadata"]["uid"]
    await world.client.delete(NODE, "node-1")

    async def again() -> bool:
        try:
            found = orjson.loads(await world.client.get(NODE, "node-1"))
        except ApiError:
            return False
        lease = orjson.loads(await world.client.get(kind_for(Lease), "node-1", "kube-node-lease"))
        assert found["metadata"]["uid"] != before
        return bool(found.get("status")) and bool(lease["spec"]["renewTime"])

    async with asyncio.timeout(5):
        while not await again():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_pod_runs_and_its_status_tells(world: World) -> None:
    made = await world.create_pod()
    pod = await world.when(ready)
    status = pod["status"]
    assert (status["phase"], status["podIP"], status["hostIP"]) == (
        "Running", "127.77.0.1", "192.0.2.1",
    )  # fmt: skip
    assert pod["metadata"]["annotations"]["weft.dev/netns"] == "/run/netns/1"
    assert status["containerStatuses"][0]["restartCount"] == 0
    (container_id,) = world.runtime.running
    spec = world.runtime.specs[container_id]
    assert container_id == f"{made['metadata']['uid']}_web_0"
    assert spec.argv == ("serve",)
    assert spec.netns == "/run/netns/1"
    assert Path(spec.etc_dir, "resolv.conf").read_text().startswith("nameserver 10.244.0.1\n")
    assert condition(pod, "PodScheduled") == "True"


async def test_no_process_before_listeners_and_none_sees_traffic_before(world: World) -> None:
    world.mesh.hold("ready")
    await world.create_pod()
    await until(lambda: "ready" in world.mesh.asked)
    pod = await world.when(lambda p: condition(p, "PodReadyToStartContainers") == "True")
    await asyncio.sleep(0.05)
    assert not world.runtime.running
    assert condition(pod, "Ready") == "False"
    world.mesh.release("ready")
    await world.when(ready)


async def test_deletion_waits_for_proxies_and_requests_in_flight(world: World) -> None:
    made = await world.create_pod()
    await world.when(ready)
    world.mesh.hold("draining")
    world.mesh.hold("removed")
    world.mesh.requests = 2
    await world.client.delete(POD, "web", "default")
    await until(lambda: "draining" in world.mesh.asked)
    await asyncio.sleep(0.05)
    assert not world.runtime.signals, "proxies have not acknowledged"
    world.mesh.release("draining")
    await asyncio.sleep(0.1)
    assert not world.runtime.signals, "requests are in flight"
    world.mesh.requests = 0
    await until(lambda: world.runtime.signals)
    await until(lambda: "removed" in world.mesh.asked)
    await world.when(lambda p: condition(p, "PodReadyToStartContainers") == "False")
    assert world.network.pods, "the network stays until the proxy let go"
    world.mesh.release("removed")
    await world.gone()
    assert not world.network.pods
    await until(lambda: not Path(world.settings.data_dir, "pods", made["metadata"]["uid"]).exists())


async def test_agent_restart_leaves_pods_running_and_adopts_them(world: World) -> None:
    await world.create_pod()
    await world.create_pod("other")
    await world.when(ready)
    before = (await world.when(ready, "other"))["status"]["conditions"]
    running = world.runtime.running
    await world.stop()
    assert world.runtime.running == running
    world.runtime.end(running[0], 7)
    world.mesh.asked.clear()
    await world.start()
    pod = await world.when(lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 7
    assert (await world.pod("other"))["status"]["conditions"] == before
    assert running[1] in world.runtime.running
    assert "ready" not in world.mesh.asked, "listeners stayed: nobody waits for them again"


async def test_pods_that_change_while_others_are_adopted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is labelled, one is deleted, one is new: none is mistaken for what it is not."""
    uids = {name: (await world.create_pod(name))["metadata"]["uid"] for name in ("a", "b", "c")}
    for name in uids:
        await world.when(lambda p: p["status"].get("phase") == "Running", name)
    await world.stop()
    started: list[str] = []
    start, facts = world.runtime.start, PodRunner.network_facts

    async def counted(spec: ContainerSpec) -> ContainerState:
        started.append(spec.id)
        return await start(spec)

    async def slow(runner: PodRunner, network: PodNetwork) -> dict[str, str]:
        if runner.state.pod.metadata.name == "a":
            assert world.informers is not None
            cache = world.informers.cache
            await world.client.patch(POD, "b", {"metadata": {"labels": {"x": "y"}}}, "default")
            await world.client.delete(POD, "c", "default", grace_period_seconds=0)
            await world.create_pod("d")
            await until(lambda: cache.get(Pod, "d", "default") is not None)
        return await facts(runner, network)

    monkeypatch.setattr(world.runtime, "start", counted)
    monkeypatch.setattr(PodRunner, "network_facts", slow)
    await world.start()
    await world.when(lambda p: p["status"].get("phase") == "Running", "d")
    await until(lambda: not any(uids["c"] in container for container in world.runtime.running))
    assert world.agent is not None
    known = {state.pod.metadata.name: state.pod for state in world.agent.pods}
    assert set(known) == {"a", "b", "d"}
    assert known["b"].metadata.labels == {"x": "y"}
    assert not [container for container in started if uids["b"] in container]


async def test_orphans_are_removed_after_the_first_list(world: World) -> None:
    made = await world.create_pod()
    await world.when(ready)
    await world.stop()
    await world.client.delete(POD, "web", "default", grace_period_seconds=0)
    await world.start()
    await until(lambda: not world.runtime.states and not world.network.pods)
    directory = Path(world.settings.data_dir, "pods", made["metadata"]["uid"])
    await until(lambda: not directory.exists())


async def test_pod_of_the_same_name_is_another_pod(world: World) -> None:
    first = await world.create_pod()
    await world.when(ready)
    await world.client.delete(POD, "web", "default", grace_period_seconds=0)
    second = await world.create_pod()
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    await world.when(ready)
    await until(lambda: world.runtime.running == [f"{second['metadata']['uid']}_web_0"])


async def test_unknown_image_says_what_to_do_and_starts_when_added(world: World) -> None:
    await world.create_pod(containers=[{"name": "web", "image": "web:1.1"}])
    pod = await world.when(lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]
                           ["reason"] == "ErrImagePull")  # fmt: skip
    message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message == (
        'no image "web:1.1" on this node: weft image add web:1.1 --dir DIR -- COMMAND '
        '(there is "web:1.0")'
    )
    world.images.images["web:1.1"] = world.images.images["web:1.0"]
    await world.when(ready)


async def test_config_map_that_comes_later_starts_the_pod_and_updates_its_volume(
    world: World,
) -> None:
    mount = {"name": "cfg", "mountPath": "/etc/app"}
    await world.create_pod(
        containers=[{"name": "web", "image": "web:1.0", "volumeMounts": [mount]}],
        volumes=[{"name": "cfg", "configMap": {"name": "cfg"}}],
    )
    pod = await world.when(lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]
                           ["reason"] == "CreateContainerConfigError")  # fmt: skip
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == 'volume "cfg": configmap "cfg" not found'
    kind = kind_for(ConfigMap)
    await world.client.create(kind, {"metadata": {"name": "cfg"}, "data": {"k": "1"}}, "default")
    await world.when(ready)
    (container_id,) = world.runtime.running
    mounted, message = world.runtime.specs[container_id].mounts
    assert (message.target, message.optional) == ("/dev/termination-log", True)
    assert mounted.read_only
    file = Path(mounted.source, "k")
    assert file.read_text() == "1"
    await world.client.patch(kind, "cfg", {"data": {"k": "2"}}, "default")
    await until(lambda: file.read_text() == "2")


async def test_config_map_that_changed_while_no_agent_ran(world: World) -> None:
    kind = kind_for(ConfigMap)
    made = {"metadata": {"name": "settings"}, "data": {"level": "1"}}
    await world.client.create(kind, made, "default")
    mount = {"name": "settings", "mountPath": "/settings"}
    containers = [{"name": "web", "image": "web:1.0", "volumeMounts": [mount]}]
    volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
    await world.create_pod(containers=containers, volumes=volumes)
    await world.when(ready)
    (spec,) = world.runtime.specs.values()
    level = Path(next(m.source for m in spec.mounts if m.target == "/settings"), "level")
    assert level.read_text() == "1"
    await world.stop()
    await world.client.patch(kind, "settings", {"data": {"level": "2"}}, "default")
    await world.start()
    assert level.read_text() == "2"


async def test_crash_is_restarted_and_told(world: World) -> None:
    await world.create_pod()
    await world.when(ready)
    world.runtime.end(world.runtime.running[0], 3)
    await world.when(lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
    await world.when(ready)
    world.runtime.end(world.runtime.running[0], 3)
    pod = await world.when(lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]
                           ["reason"] == "CrashLoopBackOff")  # fmt: skip
    assert not ready(pod)
    async with asyncio.timeout(2):
        while True:
            listed = await world.client.list(kind_for(Event), "default")
            if "BackOff" in {orjson.loads(e)["reason"] for e in listed.items}:
                break
            await asyncio.sleep(0.01)


async def test_node_stop_keeps_objects_and_pods_run_again(world: World) -> None:
    await world.create_pod()
    await world.when(ready)
    await world.stop(keep_pods=False)
    assert not world.runtime.running
    assert not world.network.pods
    pod = await world.pod()
    assert pod["status"]["phase"] == "Running"
    assert not ready(pod)
    await world.start()
    pod = await world.when(ready)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
    assert pod["status"]["podIPs"] == [{"ip": pod["status"]["podIP"]}], "not merged with the old"


async def test_labels_in_a_downward_volume_follow_the_pod(world: World) -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    mount = {"name": "info", "mountPath": "/info"}
    await world.create_pod(
        containers=[{"name": "web", "image": "web:1.0", "volumeMounts": [mount]}],
        volumes=[{"name": "info", "downwardAPI": {"items": [item]}}],
    )
    await world.when(ready)
    file = Path(world.runtime.specs[world.runtime.running[0]].mounts[0].source, "labels")
    assert file.read_text() == ""
    await world.client.patch(POD, "web", {"metadata": {"labels": {"track": "new"}}}, "default")
    await until(lambda: file.read_text() == 'track="new"')


async def test_gateways_get_host_ports_and_keep_them(world: World) -> None:
    async def ports() -> dict[str, int]:
        node = orjson.loads(await world.client.get(NODE, "node-1"))
        text = node["metadata"]["annotations"].get("weft.dev/gateway-ports", "{}")
        found: dict[str, int] = orjson.loads(text)
        return found

    server = {"port": {"number": 18080, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    body = {"metadata": {"name": "gw"}, "spec": {"servers": [server]}}
    await world.client.create(kind_for(Gateway), body, "default")
    async with asyncio.timeout(5):
        found = await ports()
        while not found:
            await asyncio.sleep(0.01)
            found = await ports()
    assert list(found) == ["18080"]
    await world.stop()
    await world.start()
    await asyncio.sleep(0.05)
    assert await ports() == found


async def test_logs_of_the_newest_and_the_previous_instance(world: World) -> None:
    made = await world.create_pod()
    uid = made["metadata"]["uid"]
    await world.when(ready)
    directory = pod_log_dir(world.settings.data_dir, "default", "web", uid)
    for restarts in (0, 1):
        path = container_log(directory, "web", restarts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"2026-11-21T00:00:00.000000000Z stdout F run {restarts}\n")

    async def read(previous: bool) -> bytes:
        assert world.agent is not None
        stream = world.agent.logs("default", "web", uid, "web", LogOptions(), previous=previous)
        return b"".join([chunk async for chunk in stream])

    assert await read(False) == b"run 1\n"
    assert await read(True) == b"run 0\n"


@pytest.mark.parametrize("count", [30])
async def test_many_pods_start_fast(world: World, count: int) -> None:
    started = time.process_time()
    for index in range(count):
        await world.create_pod(f"web-{index}")
    await until(lambda: len(world.runtime.running) == count)
    took = time.process_time() - started  # of this process: what else the machine does is not meant
    assert took < count * 0.05, f"{took / count * 1000:.1f} ms per pod"


async def test_pod_in_the_nodes_network(world: World) -> None:
    ports = [{"containerPort": 8080, "protocol": "UDP"}]  # nothing will listen here
    container = {"name": "web", "image": "web:1.0", "ports": ports}
    await world.create_pod(hostNetwork=True, containers=[container])
    pod = await world.when(ready)
    assert pod["status"]["podIP"] == pod["status"]["hostIP"] == "192.0.2.1"
    assert "weft.dev/netns" not in pod["metadata"].get("annotations", {})
    assert await world.network.list() == {}
    (container_id,) = world.runtime.running
    spec = world.runtime.specs[container_id]
    assert (spec.netns, spec.hostname) == ("", "")
    assert (spec.env["HOSTNAME"], spec.env["PORT"]) == ("node-1", "8080")
    await world.stop()
    await world.start()
    pod = await world.pod()
    assert pod["status"]["podIP"] == "192.0.2.1"
    assert world.runtime.running == [container_id]
    await world.client.delete(POD, "web", "default")
    await world.gone()
    assert not world.runtime.states
    assert not {"ready", "removed"} & set(world.mesh.asked)
    assert "draining" in world.mesh.asked


def message_file(world: World, container_id: str) -> Path:
    mounts = world.runtime.specs[container_id].mounts
    return Path(next(m.source for m in mounts if m.target == "/dev/termination-log"))


async def test_last_words_of_containers(world: World) -> None:
    await world.create_pod()
    await world.when(ready)
    (first,) = world.runtime.running
    message_file(world, first).write_text("out of luck")
    world.runtime.end(first, 3)
    pod = await world.when(
        lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1 and ready(p)
    )
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["message"]) == (3, "out of luck")
    (second,) = world.runtime.running
    assert message_file(world, second).read_text() == ""
    await until(lambda: not message_file(world, first).exists())
    await world.stop()
    message_file(world, second).write_text("while nobody looked")
    world.runtime.end(second, 4)
    await world.start()
    pod = await world.when(
        lambda p: (
            "terminated" in p["status"]["containerStatuses"][0]["lastState"]
            and p["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 4
        )
    )
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["message"] == "while nobody looked"
