"""One node of another machine's control plane: the agent, its pods, its network, its proxy."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from weft import __version__
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap, Node, Secret, ServiceAccount
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.pod_references import ACCOUNTS, CLAIMS, CONFIG_MAPS, SECRETS, references
from weft.api.registry import kind_for
from weft.apiserver.logs import LogOptions
from weft.apiserver.streams import Connection, Options, Place, Process
from weft.daemon import files, joining
from weft.daemon.agent_link import AgentLink, StreamServer
from weft.daemon.joining import CannotJoin, ClusterFacts, Credentials
from weft.daemon.machine import Machine, protect_from_oom
from weft.daemon.node import LocalStreams, NodeLogs, make_agent, on_tmpfs
from weft.daemon.node_gates import NodeGates
from weft.daemon.node_link import CLUSTER_PATH, ROOTS
from weft.daemon.node_spans import NodeSpans
from weft.daemon.remembering_client import RememberingClient
from weft.daemon.remote_gate import LinkGate, LinkInFlight
from weft.daemon.route_keeper import RouteKeeper
from weft.daemon.server_images import ServerImages
from weft.daemon.usage import METHOD as USAGE
from weft.daemon.usage import read_machine
from weft.daemon.wall_keeper import METHOD, read_walls
from weft.lib.aio import Tasks, now
from weft.lib.files import replace_file
from weft.lib.instance import Running, Settings, process_start
from weft.node.envoy import EnvoyError, EnvoyGoneError
from weft.node.images import ImageStore
from weft.node.network_netns import NetnsNetwork
from weft.runtime.informer import Informers
from weft.xds.bootstrap import RemoteControlPlane

log = logging.getLogger("weft.nodes")

RETRY_SECONDS = 1.0
CIDR_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1
NAMED: Mapping[type[Struct], str] = {
    Secret: SECRETS, ConfigMap: CONFIG_MAPS, ServiceAccount: ACCOUNTS,
    PersistentVolumeClaim: CLAIMS,
}  # fmt: skip
"""What a node may read by name only."""


class AgentInstance:
    """Everything of one data directory. `start`, then `close`."""

    def __init__(self, settings: Settings, say: joining.Say) -> None:
        self.settings = settings
        self.say = say
        self.started_at = now()
        self.tasks = Tasks()
        self.machine = Machine(settings)
        self.lock = 0
        self.removed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done when the server says that it removed this node: in which words."""
        self.look = asyncio.Event()
        """Set: look at the server's roots and the own certificate now."""

    async def start(self) -> None:
        """Join, or come back, and run what is bound to this node. Raises why it cannot."""
        files.prepare_directories(self.settings)
        self.lock = files.lock_instance(self.settings)
        protect_from_oom()
        try:
            found = await self._join()
            await self._open(found)
        except BaseException:
            await self.machine.abandon()
            files.remove_run_directory(self.settings)
            raise
        files.publish_running(self.settings, self._running())
        self.tasks.spawn(self._serve(found), "agent")

    async def _join(self) -> Credentials:
        """As a part of the cluster, anew if the node was removed meanwhile. Raises CannotJoin."""
        found = await joining.join(self.settings, self.say)
        try:
            self.facts = await self._meet(found)
            return found
        except ApiError as error:
            if not joining.is_removed(error):
                raise CannotJoin(f"{self.settings.join}: {error.message} [WEFT2684]") from error
            self.say(error.message)
        await self.client.close()
        machine = Machine(self.settings)
        await machine.open(with_envoy=False)
        await machine.destroy()  # pods of the node that was
        self.forget()
        found = await joining.join(self.settings, self.say)
        self.facts = await self._meet(found)
        return found

    async def _meet(self, found: Credentials) -> ClusterFacts:
        run_dir = self.settings.run_dir
        self.client = RememberingClient(
            found.connection(self.settings.join),
            Path(run_dir) / "remembered",
            secrets=on_tmpfs(run_dir),
        )
        return await joining.cluster_facts(self.client, found, CLUSTER_PATH)

    def forget(self) -> None:
        """What made this machine a node."""
        joining.credentials(self.settings).forget()
        self._cidr_file.unlink(missing_ok=True)

    @property
    def _cidr_file(self) -> Path:
        return Path(self.settings.data_dir) / "pod-cidr"

    async def _open(self, found: Credentials) -> None:
        """The machine's side: pods that run are found, and the proxy; the server may be away."""
        found.trust(found.ca.read_text())
        facts = self.facts
        subnet = await self._subnet()
        self.settings = joining.as_node(self.settings, facts)
        remote = RemoteControlPlane(
            host=urlsplit(self.settings.join).hostname or "",
            port=facts.xds_port,
            server_name=facts.server_name,
            trust_file=str(found.trust_secret),
            sds_file=str(found.secret),
        )
        self.machine = Machine(self.settings, remote, subnet)
        await self.machine.open()
        if not self.machine.isolated:
            raise CannotJoin(
                "a node of several needs network namespaces for its pods, which this machine does"
                f" not allow: {'; '.join(self.machine.report.missing)} [WEFT2685]"
            )

    async def _subnet(self) -> str:
        """This node's part of the pod network: as it was, as it is told, or as it is given."""
        kept = self._cidr_file
        if kept.exists():
            return kept.read_text().strip()
        kind, name = kind_for(Node), self.settings.node_name
        spec = {"podCIDR": self.settings.pod_cidr, "podCIDRs": [self.settings.pod_cidr]}
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "spec": spec if self.settings.pod_cidr else {},
        }
        try:
            await self.client.create(kind, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        try:
            async with asyncio.timeout(CIDR_SECONDS_MAX):
                while True:
                    found = msgspec.json.decode(await self.client.get(kind, name))
                    if cidr := (found.get("spec") or {}).get("podCIDR"):
                        replace_file(kept, str(cidr).encode())
                        return str(cidr)
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise CannotJoin(
                f"node {name} got no pod network within {CIDR_SECONDS_MAX:.0f} s;"
                " give one with --pod-cidr [WEFT2687]"
            ) from error

    async def _serve(self, found: Credentials) -> None:
        """As soon as the server can be reached; until then pods and proxy run as they are."""
        informers = self._informers()
        session, server = self.client.session, self.client.server
        link = AgentLink(session, server, self._handlers(found))
        link.on_lost = self._look_whether_removed
        link.on_connected = self.look.set
        routes = RouteKeeper(informers, self.settings.node_name)
        self.spans = NodeSpans(self.machine.node_address, session, server)
        await self.spans.start()
        self.agent = make_agent(
            *(self.settings, self.machine, self.client, informers),
            gate=LinkGate(link),
            api_ca=found.ca.read_text(),
            inflight=LinkInFlight(link),
            otlp=self.spans.endpoint,
            upstream=ServerImages(session, server, ImageStore(Path(self.settings.data_dir))),
        )
        self.informers = informers
        self._streams = self._stream_server()
        self.routes = routes
        self.tasks.spawn(link.run(), "node-link")
        await self._reached()
        self.agent.listed = self._listed
        self.tasks.spawn(self.client.keep(), "remembering")
        informers.start()
        self.tasks.spawn(routes.run(), "node-routes")
        if isinstance(self.machine.network, NetnsNetwork):
            gates = NodeGates(informers, self.machine.network, self.settings.node_name)
            self.tasks.spawn(gates.run(), "node-gates")
        name = self.settings.node_name
        renewed = joining.keep_renewed(self.client, found, name, self.agent.trust, self.look)
        self.tasks.spawn(renewed, "certificate")
        await self.agent.start()
        seconds = now() - self.started_at
        self.say(f"weft {__version__} runs node {name} after {seconds:.2f} s")
        self.say(f"  server      {self.settings.join}")
        self.say(f"  pods        {self.machine.pod_cidr}")

    async def _look_whether_removed(self) -> None:
        """The server cuts the connections of a node that it removes."""
        try:
            await self.client.read(CLUSTER_PATH)
        except ApiError as error:
            if joining.is_removed(error) and not self.removed.done():
                self.removed.set_result(error.message)

    async def _listed(self) -> None:
        """Wait until the server's word about pods is known."""
        while kind_for(Pod).plural in self.client.stale:  # noqa: ASYNC110 - rare, and not urgent
            await asyncio.sleep(RETRY_SECONDS)
        self.client.forget()

    async def _reached(self) -> None:
        """Wait for the server, unless what it said last is remembered."""
        said = False
        while True:
            try:
                await self.client.get(kind_for(Node), self.settings.node_name)
                return
            except ApiError as error:
                if error.code == 404 or self.client.remembers(kind_for(Pod).plural):
                    return
                if not said:
                    said = True
                    self.say(f"waiting for {self.settings.join}; pods run on ({error.message})")
                await asyncio.sleep(RETRY_SECONDS)

    # --- what a node reads

    def _informers(self) -> Informers:
        informers = Informers(self.client)
        informers.select(Pod, f"spec.nodeName={self.settings.node_name}")
        for cls in NAMED:
            informers.by_name(cls)
        informers.prepare[Pod] = self._follow
        informers.subscribe(self._on_change)
        return informers

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if cls is Pod and after is None:
            self.tasks.spawn(self._follow(None), "follow-references")

    async def _follow(self, coming: Pod | None) -> None:
        """Read what the node's pods name, before a pod that names it appears."""
        pods = {p.metadata.uid: p for p in self.informers.cache.list(Pod)}
        if coming is not None:
            pods[coming.metadata.uid] = coming
        found = [(r, pod.metadata.namespace) for pod in pods.values() for r in references(pod)]
        for cls, plural in NAMED.items():
            names = frozenset((ns, name) for (kind, name), ns in found if kind == plural)
            await self.informers.follow(cls, names)

    # --- what the control plane may ask

    def _handlers(self, found: Credentials) -> dict[str, Any]:
        async def active(args: Mapping[str, Any]) -> dict[str, int]:
            try:
                ports = tuple(int(port) for port in args["ports"])
                return await self.machine.active_by_cluster(str(args["address"]), ports)
            except EnvoyGoneError:
                return {}
            except EnvoyError as error:
                raise OSError(str(error)) from error

        async def facts(_: Mapping[str, Any]) -> dict[str, Any]:
            states = await self.machine.containers()
            pid = await self.machine.envoy_pid()
            return {"containers": msgspec.to_builtins(states), "envoy_pid": pid}

        async def clusters(_: Mapping[str, Any]) -> Any:
            try:
                return await self.machine.envoy.admin.clusters()
            except EnvoyError as error:
                raise OSError(str(error)) from error

        async def metrics(_: Mapping[str, Any]) -> str:
            return (await self.machine.metrics()).decode(errors="replace")

        async def restart_proxy(_: Mapping[str, Any]) -> dict[str, int]:
            before = await self.machine.envoy_pid()
            try:
                await self.machine.envoy.restart()
            except EnvoyError as error:
                raise OSError(str(error)) from error
            return {"before": before, "after": await self.machine.envoy_pid()}

        async def usage(_: Mapping[str, Any]) -> Any:
            found = await read_machine(self.machine.pods_runtime, self.settings.data_dir)
            return msgspec.to_builtins(found)

        async def walls(args: Mapping[str, Any]) -> None:
            if isinstance(self.machine.network, NetnsNetwork):
                await self.machine.network.enforce(read_walls(args))

        async def stream(args: Mapping[str, Any]) -> None:
            await self._streams.open(args)

        async def roots(_: Mapping[str, Any]) -> dict[str, Any]:
            self.look.set()
            return {"trusted": found.ca.read_text(), "shown": found.from_the_signing_root()}

        return {
            "active": active, "facts": facts, "clusters": clusters, "metrics": metrics,
            "restart-proxy": restart_proxy, "stream": stream, USAGE: usage, METHOD: walls,
            ROOTS: roots,
        }  # fmt: skip

    def _stream_server(self) -> StreamServer:
        local, logs = LocalStreams(self.agent), NodeLogs(self.agent)

        async def start(kind: str, place: Place, options: Options) -> Process:
            return await (local.attach if kind == "attach" else local.exec)(place, options)

        async def connect(place: Place, port: int) -> Connection:
            return await local.connect(place, port)

        def read_log(place: Place, options: LogOptions) -> AsyncIterator[bytes]:
            return logs.read(place.node, place.namespace, place.pod, place.uid, options)

        return StreamServer(
            self.client.session, self.client.server,
            start=start, connect=connect, read_log=read_log,
        )  # fmt: skip

    def _running(self) -> Running:
        return Running(
            pid=os.getpid(),
            port=0,
            isolation=self.machine.report.isolation,
            started_at=self.started_at,
            gateway_address=self.settings.gateway_address,
            process_start=process_start(os.getpid()),
        )

    async def close(self, keep_pods: bool) -> None:
        """Stop. Unless `keep_pods`, pods end gracefully first, then everything else."""
        files.unpublish_running(self.settings)
        if agent := getattr(self, "agent", None):
            await agent.close(keep_pods=keep_pods, report=not self.removed.done())
            await self._streams.close()
            await self.informers.close()
        if spans := getattr(self, "spans", None):
            await spans.close()
        await self.tasks.close()
        if keep_pods:
            await self.machine.close()
        else:
            if routes := getattr(self, "routes", None):
                await routes.remove()
            await self.machine.destroy()
        with contextlib.suppress(ApiError, OSError):
            await self.client.close()
        if not keep_pods:
            files.remove_run_directory(self.settings)


async def run_agent(settings: Settings, say: joining.Say) -> int:
    """Run a node until SIGINT or SIGTERM (stop all) or SIGUSR2 (leave pods running)."""
    stopped = files.stop_signals()
    instance = AgentInstance(settings, say)
    starting = asyncio.ensure_future(instance.start())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 0
    starting.result()
    await asyncio.wait((stopped, instance.removed), return_when=asyncio.FIRST_COMPLETED)
    if instance.removed.done():
        say(f"stopping: {instance.removed.result()}")
        await instance.close(keep_pods=False)
        instance.forget()
        return 0
    keep_pods = stopped.result()
    say("stopping" + (" (pods run on)" if keep_pods else ""))
    await instance.close(keep_pods)
    return 0
