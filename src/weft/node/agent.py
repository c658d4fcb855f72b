"""The node agent: runs the pods that are bound to this node, and adopts those it finds running.

Compose it with a client, informers, a runtime, a network, images, and the mesh's gate; then
`await agent.start()`. Pods outlive the agent: `close(keep_pods=True)` only lets go of them.
"""

import asyncio
import contextlib
import logging
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path

from msgspec import Struct, structs

from weft.api.errors import ApiError
from weft.api.gateway import v1 as gateway_api
from weft.api.istio.networking_v1 import Gateway
from weft.api.k8s.container_v1 import Container
from weft.api.k8s.core_v1 import ConfigMap, Node, Secret, Service, ServiceAccount
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.networking_v1 import Ingress, IngressClass
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.pod_references import CONFIG_MAPS, SECRETS, references
from weft.api.snapshot import meta
from weft.lib.aio import Tasks
from weft.mesh.ingresses import ingress_objects
from weft.node import dns_records, image_container, image_pulls, pod_resize, service_account
from weft.node import pod_state as ps
from weft.node.agent_settings import (
    AgentSettings,
    ImageSpace,
    InFlight,
    NoInFlight,
    Parts,
    Pulls,
)
from weft.node.container_start import offer_service_account, tokens_wanted, write_volumes
from weft.node.dns_keeper import NamesKeeper
from weft.node.environment import Refusal
from weft.node.etc_files import nameservers
from weft.node.gate import OpenGate, ProxyGate
from weft.node.local_volumes import LocalVolumes
from weft.node.logs import LogQuery, latest_log, pod_log_dir, read_log
from weft.node.machine_facts import machine_facts
from weft.node.node_ports import may_listen
from weft.node.node_registration import NodeRegistration
from weft.node.pod_runner import PodRunner
from weft.node.pressure_watch import PressureWatch
from weft.node.proxy_watch import ProxyWatch
from weft.node.runtime import ContainerRuntime, ContainerState, Images, Network, PodNetwork
from weft.node.streams import Streams
from weft.node.volumes import objects_read, reads_downward
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.informer import Informers
from weft.runtime.plan import RecordEvent

log = logging.getLogger("weft.node")

GATEWAY_CLASSES = (
    Gateway, gateway_api.Gateway, gateway_api.GatewayClass, gateway_api.ListenerSet, Ingress,
    IngressClass,
)  # fmt: skip
CLASSES: tuple[type[Struct], ...] = (
    *(Pod, ConfigMap, Secret, ServiceAccount, PersistentVolume, PersistentVolumeClaim),
    *GATEWAY_CLASSES,
    *dns_records.CLASSES,
)
"""What the agent reads of the API."""
EVENT_COMPONENT = "kubelet"
"""The source of pods' events that people filter by; weft's agent has kubelet's role."""
IMAGES_LOOK_SECONDS = 1.0
"""While a pod waits for an image: between two looks whether it is there."""
TOKENS_LOOK_SECONDS = 10.0
"""Between two looks whether a service account token is due."""
STOP_SECONDS_MAX = 30.0
"""For all pods to end when the node stops; those left are killed with the runtime."""
RUNTIME_RETRY_SECONDS = 0.5
ORPHAN_LISTENERS_SECONDS = 2.0
"""Wait for the proxy to let go of a pod that no longer exists."""
_PLURALS: dict[type[Struct], str] = {ConfigMap: CONFIG_MAPS, Secret: SECRETS}
_UID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


async def _at_once() -> object:
    return None


class NodeAgent:
    """One node. `informers` may be shared with others; it is started if it is not."""

    def __init__(
        self, *, client: Client, informers: Informers, runtime: ContainerRuntime,
        network: Network, images: Images, settings: AgentSettings,
        gate: ProxyGate | None = None, inflight: InFlight | None = None, pulls: Pulls | None = None,
        owner: Client | None = None, image_space: ImageSpace | None = None,
    ) -> None:  # fmt: skip
        """`owner` may remove a Node that says another pod network, which no node may itself."""
        Path(settings.data_dir).mkdir(parents=True, exist_ok=True, mode=0o700)
        machine = machine_facts(settings.data_dir)
        self._informers = informers
        self._recorder = EventRecorder(client, EVENT_COMPONENT)
        self._parts = Parts(
            client=client, runtime=runtime, network=network, images=images,
            gate=gate or OpenGate(), inflight=inflight or NoInFlight(), settings=settings,
            objects=informers.cache, machine=machine, recorder=self._recorder,
        )  # fmt: skip
        self._parts.host_resolv_conf = _read("/etc/resolv.conf")
        self._parts.host_hosts = _read("/etc/hosts")
        self._parts.pulls = pulls
        self._registration = NodeRegistration(client, settings, machine, owner)
        self._settings = settings
        self._tasks = Tasks()
        self._pods: dict[str, PodRunner] = {}
        self._found: dict[str, list[ContainerState]] = {}
        self._networks: dict[str, PodNetwork] = {}
        self.listed: Callable[[], Awaitable[object]] = _at_once
        """Returns when the pods in the cache are those of the control plane, not remembered ones:
        nothing is an orphan before."""
        self.names_served: Callable[[], Awaitable[object]] = _at_once
        """Returns when the node's DNS server answers; OSError when it cannot."""
        self._running = False
        resolvers = nameservers(self._parts.host_resolv_conf)
        self.streams = Streams(runtime, self._pods.get)
        """exec, attach and port-forward into this node's pods."""
        file = Path(settings.names_file)
        self._names = NamesKeeper(file, informers.cache, self._namespaces, resolvers)
        self._parts.placed = self._names.changed
        self._pressure = PressureWatch(runtime, machine, settings, lambda: self._pods, image_space)
        self._pressure.told = self._registration.pressed
        self._pressure.noted = self._note
        self._volumes = LocalVolumes(client, informers, settings.node_name)
        for cls in CLASSES:
            informers.add(cls)

    # --- life of the agent

    async def start(self) -> None:
        """Register the node, adopt what runs, run what is bound to it. Returns when the node is
        ready and every pod of the first list is taken care of. ApiError; OSError when the DNS
        server does not start."""
        parts = self._parts
        self._make_mount_point()
        self._recorder.start()
        self._informers.start()
        try:
            await self._registration.register()
        except ApiError as error:
            if not self._settings.starts_alone:
                raise
            log.warning("node is registered later error=%s", error.message)
        self._networks = dict(await parts.network.list())
        for state in await parts.runtime.list():
            if (uid := _pod_of(state.id)) is not None:
                self._found.setdefault(uid, []).append(state)
        await self._informers.synced(CLASSES)
        if self._settings.names_file:
            await self._names.write()
            await self.names_served()
            self._tasks.spawn(self._names.run(), "node-names")
        for pod in parts.objects.list(Pod):
            if pod.spec.node_name == self._settings.node_name:
                await self._adopt(pod)
        self._informers.subscribe(self._changed)
        self._running = True
        self._names.changed()
        self._catch_up()
        self._tasks.spawn(self._follow_runtime(), "node-runtime-events")
        self._tasks.spawn(self._registration.run(), "node-registration")
        self._tasks.spawn(self._look_for_images(), "node-images")
        self._tasks.spawn(self._renew_tokens(), "node-tokens")
        self._tasks.spawn(self._clean_orphans(), "node-orphans")
        self._tasks.spawn(self._volumes.run(), "node-volumes")
        self._tasks.spawn(self._pressure.run(), "node-pressure")
        self._tasks.spawn(ProxyWatch(parts.runtime, self._note_proxy).run(), "node-proxy-watch")
        self._registration.listeners_changed(self._parts.objects)
        self._gateways_changed()

    def _note(self, reason: str, text: str) -> None:
        node = Node(metadata=ObjectMeta(name=self._settings.node_name))
        self._recorder.record(RecordEvent(node, "Warning", reason, text))

    def _note_proxy(self, text: str) -> None:
        self._note("ProxyRestarted", text)

    def _make_mount_point(self) -> None:
        """Of service accounts; pods do without where it cannot be made."""
        settings = self._settings
        if settings.service_account_ca and settings.etc_overlay:
            try:
                service_account.make_mount_point()
            except OSError as error:
                log.info("no service account files in pods error=%s", error)

    def trust(self, roots: str) -> None:
        """Pods find these roots (PEM) of the API server from now on, also those that run."""
        self._parts.settings = structs.replace(self._parts.settings, service_account_ca=roots)
        for runner in tuple(self._pods.values()):
            try:
                offer_service_account(runner)
            except OSError as error:
                name = runner.state.pod.metadata.name
                log.warning("roots not told to a pod pod=%s error=%s", name, error)

    def _catch_up(self) -> None:
        """Tell pods what changed while they were adopted, or while no agent ran."""
        present = {pod.metadata.uid: pod for pod in self._parts.objects.list(Pod)}
        for uid, runner in tuple(self._pods.items()):
            if uid not in present:
                runner.feed(ps.PodRemoved())
            elif objects_read(present[uid]) or reads_downward(present[uid]):
                self._rewrite_volumes(runner)
        for pod in present.values():
            self._pod_changed(None, pod)

    async def close(self, keep_pods: bool = True, *, report: bool = True) -> None:
        """Stop the agent; pods go on unless told otherwise. Idempotent. Without `report` nobody
        wants to know what became of them."""
        if not keep_pods:
            await self.stop_all(report=report)
        self._running = False
        await self._tasks.close()
        if self._settings.names_file:
            await self._names.close()
        for runner in tuple(self._pods.values()):
            await runner.close()
        self._pods.clear()
        await self._recorder.close()
        await self._parts.prober.close()
        if self._parts.pulls is not None:
            await self._parts.pulls.close()

    async def stop_all(self, *, report: bool = True) -> None:
        """End all pods of the node, gracefully, and keep their objects: they run again when the
        node is back."""
        runners = tuple(self._pods.values())
        for runner in runners:
            runner.feed(ps.NodeStopped())
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                for runner in runners:
                    await runner.stopped.wait()
                    if report:
                        await runner.flush()
        except TimeoutError:
            left = [r.state.pod.metadata.name for r in runners if not r.stopped.is_set()]
            log.warning("pods did not end in time pods=%s", ",".join(left))

    def _namespaces(self) -> dict[str, str]:
        """Of pods by address: whose question it is. Also of those that are not adopted yet."""
        found = {}
        for pod in self._parts.objects.list(Pod) if self._networks else ():
            if (network := self._networks.get(pod.metadata.uid)) is not None:
                found[network.address] = pod.metadata.namespace
        for runner in self._pods.values():
            if runner.state.sandbox.address and not runner.state.host_network:
                found[runner.state.sandbox.address] = runner.state.pod.metadata.namespace
        return found

    @property
    def pods(self) -> tuple[ps.PodState, ...]:
        """What is known of every pod, for status views and debugging."""
        return tuple(runner.state for runner in self._pods.values())

    # --- the API changed

    def _changed(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if not self._running:
            return
        self._names.object_changed(cls, before, after)
        if cls is Pod:
            self._pod_changed(before, after)
            self._listeners_changed(before, after)
        elif cls is Service:
            self._listeners_changed(before, after)
        elif cls in GATEWAY_CLASSES:
            self._gateways_changed()
        elif cls in (ConfigMap, Secret, PersistentVolumeClaim):
            changed = after if after is not None else before
            if changed is not None:
                self._object_changed(cls, meta(changed).namespace, meta(changed).name)

    def _gateways_changed(self) -> None:
        objects = self._parts.objects
        edges = ingress_objects(objects.list(Ingress), objects.list(IngressClass))
        self._registration.gateways_changed(
            objects.list(Gateway),
            (*objects.list(gateway_api.Gateway), *edges.gateways),
            (*objects.list(gateway_api.GatewayClass), *edges.classes),
            (*objects.list(gateway_api.ListenerSet), *edges.listener_sets),
        )

    def _listeners_changed(self, before: Struct | None, after: Struct | None) -> None:
        if any(may_listen(obj) for obj in (before, after)):
            self._registration.listeners_changed(self._parts.objects)

    def _unfit(self, runner: PodRunner, pod: Pod) -> tuple[str, str] | None:
        """Why the node has no room for a pod whose containers ask for more than they have."""
        state = structs.replace(runner.state, pod=pod)
        if not pod_resize.differing(state):
            return None
        machine = self._parts.machine
        capacity = {"cpu": Decimal(machine.cpu_count), "memory": Decimal(machine.memory_bytes)}
        others = [r.state.pod for uid, r in self._pods.items() if uid != pod.metadata.uid]
        return pod_resize.unfit(pod, others, capacity)

    def _reconsider(self, uid: str) -> None:
        """Another pod changed or left: there may be room for what was deferred."""
        for runner in tuple(self._pods.values()):
            if runner.uid != uid and runner.state.unfit is not None:
                pod = runner.state.pod
                runner.feed(ps.PodObserved(pod, self._unfit(runner, pod)))

    def _pod_changed(self, before: Struct | None, after: Struct | None) -> None:
        if isinstance(before, Pod) and (
            not isinstance(after, Pod) or after.metadata.uid != before.metadata.uid
        ):
            runner = self._pods.get(before.metadata.uid)
            if runner is not None:
                runner.feed(ps.PodRemoved())
        if not isinstance(after, Pod) or after.spec.node_name != self._settings.node_name:
            return
        uid = after.metadata.uid
        runner = self._pods.get(uid)
        if runner is None and (uid in self._found or uid in self._networks):
            self._tasks.spawn(self._adopt(after), "node-adopt-pod")  # it ran, and was not known
        elif runner is None:
            self._start_runner(after, ps.Adopted())
        else:
            before_meta = runner.state.pod.metadata
            runner.feed(ps.PodObserved(after, self._unfit(runner, after)))
            self._reconsider(uid)
            if (before_meta.labels, before_meta.annotations) != (
                after.metadata.labels,
                after.metadata.annotations,
            ) and reads_downward(after):
                self._rewrite_volumes(runner)

    def _object_changed(self, cls: type[Struct], namespace: str, name: str) -> None:
        for runner in tuple(self._pods.values()):
            pod = runner.state.pod
            if pod.metadata.namespace != namespace:
                continue
            named = (_PLURALS.get(cls, ""), name) in references(pod)
            if (cls, name) in objects_read(pod):
                self._rewrite_volumes(runner)
            runner.feed(ps.DependenciesChanged(named))

    def _rewrite_volumes(self, runner: PodRunner) -> None:
        if runner.state.sandbox.stage not in ("waiting", "ready"):
            return
        made = write_volumes(runner)
        if isinstance(made, Refusal):
            log.info("volume kept pod=%s why=%s", runner.state.pod.metadata.name, made.message)

    # --- pods

    def _start_runner(self, pod: Pod, first: ps.Adopted) -> PodRunner:
        runner = PodRunner(self._parts, pod, self._forget)
        self._pods[pod.metadata.uid] = runner
        runner.feed(first)
        return runner

    async def _adopt(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if uid in self._pods:
            return
        runner = PodRunner(self._parts, pod, self._forget)
        self._pods[uid] = runner
        network = self._networks.get(uid)
        found = tuple(
            ps.FoundContainer(
                s.id, s.started_at, None if s.exit_code is None else runner.exit_of(s)
            )
            for s in self._found.get(uid, ())
        )
        if pod.spec.host_network and found:
            network = PodNetwork(self._settings.host_ip)
        if network is None:
            runner.feed(ps.Adopted(containers=found))
            return
        annotations = await runner.network_facts(network)
        runner.feed(ps.Adopted(network.address, network.netns, annotations, found))

    def _forget(self, runner: PodRunner) -> None:
        self._pods.pop(runner.uid, None)
        self._names.changed()
        self._reconsider(runner.uid)
        self._tasks.spawn(self._drop(runner), "node-forget-pod")

    async def _drop(self, runner: PodRunner) -> None:
        await runner.close()
        await asyncio.to_thread(runner.remove_files)

    # --- the machine changed

    async def _follow_runtime(self) -> None:
        """Ends of containers, for ever."""
        while True:
            try:
                async for state in self._parts.runtime.events():
                    self._ended(state)
            except Exception as error:
                log.warning("runtime events interrupted error=%r", error)
            await asyncio.sleep(RUNTIME_RETRY_SECONDS)

    def _ended(self, state: ContainerState) -> None:
        uid = _pod_of(state.id)
        runner = self._pods.get(uid) if uid is not None else None
        if runner is not None and state.exit_code is not None:
            runner.ended(state)

    async def _look_for_images(self) -> None:
        """Images come by a file that another command writes: look while somebody waits."""
        while True:
            await asyncio.sleep(IMAGES_LOOK_SECONDS)
            for runner in tuple(self._pods.values()):
                if any(self._may_be_there(each) for each in runner.waits_for):
                    runner.feed(ps.DependenciesChanged())

    def _may_be_there(self, container: Container) -> bool:
        """Whether it need not wait for its image any more."""
        image = self._parts.images.resolve(container.image)
        return image_pulls.may_be_there(image, container.image_pull_policy)

    async def _renew_tokens(self) -> None:
        """Service account tokens are replaced long before they end."""
        while True:
            for runner in tuple(self._pods.values()):
                if any(c.stage == "running" for c in runner.state.containers):
                    await self._renew_tokens_of(runner)
            await asyncio.sleep(TOKENS_LOOK_SECONDS)

    async def _renew_tokens_of(self, runner: PodRunner) -> None:
        pod = runner.state.pod
        try:
            if await self._parts.tokens.ensure(pod, tokens_wanted(runner)):
                offer_service_account(runner)
                self._rewrite_volumes(runner)
        except (ApiError, OSError) as error:
            log.warning("token not renewed pod=%s error=%s", pod.metadata.name, error)

    async def _clean_orphans(self) -> None:
        """Remove what belongs to pods that are not in the API, after the first full list."""
        await self.listed()
        for uid in (set(self._found) | set(self._networks)) - set(self._pods):
            try:
                await self._remove_orphan(uid)
            except Exception as error:
                log.warning("orphan not removed pod=%s error=%r", uid, error)
        self._found.clear()
        self._networks.clear()
        data_dir = Path(self._settings.data_dir)
        await asyncio.to_thread(_remove_strays, data_dir, lambda uid: uid in self._pods)

    async def _remove_orphan(self, uid: str) -> None:
        log.info("orphan removed pod=%s", uid)
        for state in self._found.get(uid, ()):
            await self._parts.runtime.remove(state.id)  # kills it if it runs
        pod_directory = Path(self._settings.data_dir) / "pods" / uid
        await self._parts.runtime.release(str(image_container.spaces_directory(pod_directory)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ORPHAN_LISTENERS_SECONDS):
                await self._parts.gate.listeners_removed(uid)
        await self._parts.network.delete(uid)

    # --- logs

    def logs(
        self, namespace: str, pod: str, uid: str, container: str, query: LogQuery,
        *, previous: bool = False,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        """A container's log; of the instance before the newest with `previous`. Empty when
        there is none."""
        directory = pod_log_dir(self._settings.data_dir, namespace, pod, uid)
        path = latest_log(directory, container, previous=previous)
        return read_log(path or directory / container / "0.log", query,
                        lambda: not previous and self._is_running(uid, container))  # fmt: skip

    def _is_running(self, uid: str, container: str) -> bool:
        runner = self._pods.get(uid)
        if runner is None:
            return False
        record = next((c for c in runner.state.containers if c.name == container), None)
        return record is not None and record.stage in ("starting", "running", "stopping")


def _pod_of(container_id: str) -> str | None:
    """The pod of an instance; None for the node's own daemons."""
    parsed = ps.parse_instance_id(container_id)
    return parsed[0] if parsed is not None and _UID.match(parsed[0]) else None


def _remove_strays(data_dir: Path, exists: Callable[[str], bool]) -> None:
    """Files of pods that are gone. A pod exists before its files do."""
    for directory in (data_dir / "pods").glob("*"):
        if not exists(directory.name) and _UID.match(directory.name):
            shutil.rmtree(directory, ignore_errors=True)
    for directory in (data_dir / "logs").glob("*_*_*"):
        if not exists(directory.name.rpartition("_")[2]):
            shutil.rmtree(directory, ignore_errors=True)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
