"""One running instance: every part made, connected, started and stopped in order."""

import asyncio
import errno
import gc
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weft import __version__
from weft.api.gateway import v1 as gateway_api
from weft.api.istio.networking_v1 import Gateway
from weft.api.k8s.core_v1 import Namespace, Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.manifests import Document
from weft.api.wellknown import ISOLATION_HOST
from weft.apiserver.addresses import Ranges
from weft.apiserver.app import ApiServer
from weft.apiserver.app import Settings as ApiSettings
from weft.apiserver.removed_nodes import RemovedNodes
from weft.apiserver.removed_nodes_follower import RemovedNodesFollower
from weft.cli import manifest_analysis
from weft.cli.apply import BadManifests, apply_files, read_documents
from weft.controllers import root_ca
from weft.controllers.catalog import controllers
from weft.daemon import access_log_keeper, files, own_metrics, rate_limits, status
from weft.daemon.alerting import Alerting
from weft.daemon.all_nodes import AllInFlight, AllLogs, AllStreams, facts, handlers_of
from weft.daemon.analyst import Analyst
from weft.daemon.api_authority import ApiAuthority
from weft.daemon.autoscaler import Autoscaler
from weft.daemon.ca_pages import CaPages
from weft.daemon.canaries import Canaries
from weft.daemon.certificate_signer import CertificateSigner, WorkloadAuthority
from weft.daemon.credentials import Credentials
from weft.daemon.forecasts import Forecasts
from weft.daemon.gateway_status import GatewayStatusWriter
from weft.daemon.history import HISTORY, HistoryKeeper
from weft.daemon.hold_service import HoldService
from weft.daemon.issuer_keys import IssuerKeyKeeper
from weft.daemon.machine import Machine, host_services, protect_from_oom
from weft.daemon.mesh_admission import MeshAdmission
from weft.daemon.mesh_loop import MeshLoop
from weft.daemon.no_machine import NoMachine
from weft.daemon.node import LocalStreams, NodeLogs, make_agent
from weft.daemon.node_entrance import NodeEntrance, node_unless_removed
from weft.daemon.node_gates import NodeGates
from weft.daemon.node_links import NodeLinks
from weft.daemon.node_watch import NodeWatch
from weft.daemon.object_status import ObjectStatusWriter
from weft.daemon.protocol_learning import ProtocolLearner
from weft.daemon.proxy_gate import AdsGate
from weft.daemon.queue_page import QUEUES, QueuePage
from weft.daemon.relay_feed import RelayFeed
from weft.daemon.route_keeper import RouteKeeper
from weft.daemon.scale_admission import ScaleAdmission
from weft.daemon.scale_to_zero import ScaleToZero
from weft.daemon.telemetry import REQUESTS, SERVICE, TOPOLOGY, TRACES, TRAFFIC, Telemetry
from weft.daemon.trace_export import HEADERS_VARIABLE
from weft.daemon.usage import Readings, UsageSampler, read_all, read_joined
from weft.daemon.wall_keeper import WallKeeper
from weft.daemon.why import WhyPage
from weft.dashboard.server import Dashboard
from weft.lib.aio import Tasks, now
from weft.lib.instance import Running, Settings, process_start
from weft.mesh.build import BuildSettings
from weft.mesh.mesh_config import MODES
from weft.mesh.model import ClientLimits, MeshModel
from weft.mesh.object_status import Rejection, blamed, consequence, reason
from weft.node.engine.api import EngineError
from weft.node.envoy import EnvoyError
from weft.node.network_netns import SERVICES, NetnsNetwork, NetworkError
from weft.node.podhost_client import PodhostError
from weft.pki import signing_keys
from weft.pki.ca import CaError
from weft.ratelimit.service import RateLimitService
from weft.runtime.events import EventRecorder
from weft.runtime.informer import Informers
from weft.runtime.loop import ControllerLoop
from weft.runtime.plan import Key, RecordEvent
from weft.scheduler.controller import controller as scheduler
from weft.scheduler.kueue.controller import CONTROLLER as KUEUE_CONTROLLER
from weft.scheduler.queues.controller import CONTROLLER as QUEUE_CONTROLLER
from weft.store.interface import StoreError
from weft.store.sqlite import SqliteStore
from weft.xds.relay import RelaySettings
from weft.xds.server import AdsServer, certified_node

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - only when asked for
PROXY_METRICS = "/weft/v1/proxy-metrics"
STATUS = "/weft/v1/status"
ALERTS = "/weft/v1/alerts"
WHY = "/weft/v1/why"
PROXY_RESTART = "/weft/v1/proxy-restart"

GATEWAYS_SECONDS_MAX = 2.0
"""How long `weft up -f` waits to say where gateways are bound."""
GC_THRESHOLD = 50_000
"""Allocations between collections: values here are mostly frozen and without cycles."""
CANNOT_START = (
    files.InstanceTaken, files.BadTokens, files.BadAuditPolicy, files.BadSchedulerConfig,
    BadManifests, StoreError, CaError, PodhostError, EngineError,
    NetworkError, EnvoyError, rate_limits.NoCounters, OSError,
)  # fmt: skip
"""What a person can mend; each says how."""

Say = Callable[[str], None]


class Instance:
    """Everything of one data directory. `start`, then `close`."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self.say = say
        self.started_at = now()
        self.tasks = Tasks()
        self.machine = NoMachine(settings) if settings.no_node else Machine(settings)
        self.removed = RemovedNodes()
        self.ads = AdsServer(node_of=self._node_of)
        self.removed.on_removed.append(self.ads.cut)
        self.links = NodeLinks(handlers_of(self.ads, lambda: self.inflight, self._walls_in_force))
        self.telemetry = Telemetry(self._certified)
        counters = rate_limits.counters(os.environ)
        self.rate_limits = RateLimitService(counters, certified=self._certified)
        self.dashboard = Dashboard(settings.api_socket)
        self.holds = HoldService(settings.node_name)
        self.loops: list[ControllerLoop] = []
        self.lock = 0

    def _node_of(self, pem: bytes) -> str:
        return node_unless_removed(pem, self.removed)

    def _certified(self, context: Any) -> str:
        return certified_node(context, self._node_of)

    async def start(self, manifests: Sequence[str]) -> None:
        """Bring everything up; raises what made it impossible."""
        files.prepare_directories(self.settings)
        self.lock = files.lock_instance(self.settings)
        protect_from_oom()
        gc.disable()  # everything that is loaded stays: looking for garbage in it takes seconds
        try:
            self.settings = self.machine.settings = files.with_service_cidr(self.settings)
            self.scheduler = scheduler(files.scheduler_profiles(self.settings))
            await self._start(read_documents(manifests) if manifests else ())
        except BaseException:
            await self.ads.close()
            await self.machine.abandon()
            files.remove_run_directory(self.settings)
            raise
        finally:
            gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)

    async def _start(self, documents: Sequence[Document]) -> None:
        # Both are waited for, also when one fails: what was begun can then be undone.
        opened, store = await asyncio.gather(
            self.machine.open(),
            SqliteStore.open(Path(self.settings.data_dir) / "store.db"),
            return_exceptions=True,
        )
        if isinstance(opened, BaseException):
            raise opened
        if isinstance(store, BaseException):
            raise store
        self.store = store
        ca = self.ca = ApiAuthority(self.settings, self._server_names())
        handlers = (
            *(self.rate_limits.handler(), self.holds.handler()),
            *self.telemetry.handlers(),
        )
        self.following = RemovedNodesFollower(store, self.removed)
        await self.following.start()
        self.entrance = NodeEntrance(self.settings, self.links, ca)
        await self.entrance.start_proxies(self.ads, handlers)
        await self._start_api()
        await self._start_mesh_and_node()
        self._start_controllers()
        await self.dashboard.start(self.api.port + 1)
        self._announce()
        if documents:
            await apply_files(self.client, documents, "default", self.say)
            for line in manifest_analysis.lines(documents, "default", self.informers.cache):
                self.say(line)
            await self._announce_gateways()
        files.publish_running(self.settings, self._running())

    def _ranges(self) -> Ranges:
        plain = self.machine.report.isolation == ISOLATION_HOST
        usual = host_services(self.settings) if plain else SERVICES
        return Ranges(service_cidr=self.settings.service_cidr or usual)

    def _server_names(self) -> tuple[str, ...]:
        """Addresses by which clients know this server."""
        own = (self._ranges().kubernetes_ip, self.settings.address, self.settings.listen)
        return tuple(name for name in own if name and name != EVERY_ADDRESS)

    async def _start_api(self) -> None:
        token, tokens = files.admin_token(self.settings)
        ranges = self._ranges()
        api_settings = ApiSettings(
            tokens=tokens,
            ranges=ranges,
            weft_version=__version__,
            audit=files.audit_settings(self.settings),
            signing_keys=signing_keys.load_or_create(Path(self.settings.data_dir) / "pki"),
        )
        self.api = ApiServer(
            self.store,
            api_settings,
            removed=self.removed,
            socket_factory=self.machine.dialer.socket_factory,
        )
        self.client = self.api.local_client()
        self.writer = self.api.local_client("mesh")
        self.informers = Informers(self.client)
        self.api.roots = self.ca.current.roots
        self.ca.on_change = self._roots_changed
        self.credentials = Credentials(self.settings, self.api, self.ca, self._nodes_behind)
        self.identity = files.mesh_identity(self.settings, self.ads)
        workloads = WorkloadAuthority(
            self.identity.authority,
            self.settings.workload_cert_ttl,
            lambda: self.mesh.model.trust_domain,
        )
        self.signer = CertificateSigner(
            *(self.writer, self.informers, self.api.authorizer),
            *(lambda: self.ca.current, workloads),
            seconds=self.settings.node_cert_ttl,
        )
        self.tasks.spawn(self.signer.run(), "certificate-signer")
        self.entrance.open(self.api, self.telemetry.collector.take_spans)
        self.api.add_page(STATUS, self._status_page)
        self.api.add_page(PROXY_METRICS, self._metrics_page)
        self.api.add_metrics(self.telemetry.metrics)
        self.api.add_metrics(lambda: own_metrics.page(self.ads, self.loops))
        self.api.add_question(TRAFFIC, self.telemetry.traffic_page)
        self.api.add_question(REQUESTS, self.telemetry.requests_page)
        self.api.add_question(TOPOLOGY, self.telemetry.topology_page)
        self.api.add_question(SERVICE, self.telemetry.service_page)
        self.history = HistoryKeeper(self.store, self.api.authorizer)
        await self.history.load()
        self.tasks.spawn(self.history.run(), "history")
        self.api.add_personal_question(HISTORY, self.history.page)
        self.api.add_question(QUEUES, QueuePage(self.informers.cache))
        self.api.add_tree(TRACES, self.telemetry.traces_tree)
        self.api.add_action(PROXY_RESTART, self._restart_proxy)
        CaPages(self.identity).add_to(self.api)
        try:
            listen = self.settings.listen
            every = listen == EVERY_ADDRESS
            await self.api.start(
                EVERY_ADDRESS if every else "127.0.0.1",
                self.settings.port,
                self.ca.context,
                also="" if every or listen == "127.0.0.1" else listen,
                advertise=self.settings.address or "127.0.0.1",
                socket=self.settings.api_socket,
            )
        except OSError as error:
            raise _port_error(self.settings.port, error) from error
        files.keep_first_choices(self.settings, self.machine.report.isolation)
        files.publish_kubeconfig(self.settings, self.api.port, self.ca.current, token)

    def _roots_changed(self, roots: str) -> None:
        self.api.trust(roots, self.ca.believes())
        if agent := getattr(self, "agent", None):
            agent.trust(roots)
        for loop in self.loops:
            if loop.controller.name == root_ca.NAME:
                for namespace in self.informers.cache.list(Namespace):
                    loop.wake(Key("", namespace.metadata.name))

    async def _nodes_behind(self, roots: str) -> list[str]:
        """Joined nodes that do not use these roots yet, or cannot be asked."""
        names = (node.metadata.name for node in self.informers.cache.list(Node))
        joined = sorted(name for name in names if name != self.settings.node_name)
        known = await asyncio.gather(*(self.links.uses(node, roots) for node in joined))
        return [node for node, uses in zip(joined, known, strict=True) if not uses]

    async def _start_mesh_and_node(self) -> None:
        build_settings = BuildSettings(
            trust_domain=self.settings.trust_domain,
            unknown_hosts=MODES[self.settings.outbound_traffic_policy],
            connection_seconds=files.lives(self.settings).connection,
            clients=ClientLimits(
                request_seconds_max=self.settings.client_request_timeout,
                idle_seconds_max=self.settings.client_idle_timeout,
            ),
        )
        network = self.machine.network
        own_network = network if isinstance(network, NetnsNetwork) else None
        self.walls = WallKeeper(self.settings.node_name, own_network, self.links)
        self.tasks.spawn(self.walls.run(), "network-policies")
        self.mesh = MeshLoop(self.informers, self.ads, build_settings)
        self.issuers = IssuerKeyKeeper(
            *(self.informers.cache, self.settings.issuer_keys, self.settings.jwks_refresh),
            self.mesh.know_issuers,
        )
        self.tasks.spawn(self.issuers.run(), "issuer-keys")
        self.mesh.own_node = self.settings.node_name
        self._feed_relay()
        self.mesh.on_model = self._on_model
        self.mesh.access_log = str(self.settings.access_log)
        self.telemetry.tap = self.mesh.tap
        self.mesh.secrets = self.identity.secrets_of
        self.mesh.on_forget = self.identity.forget
        self.identity.on_change = self.mesh.wake
        self.tasks.spawn(self.identity.run(), "mesh-identity")
        self.mesh.trace(self.settings.trace_percent)
        objects = ObjectStatusWriter(self.writer, self.informers.cache, self.mesh, self.ads)
        self.mesh.before_first_build = objects.resume
        self.mesh.on_refused = self._record_refusal
        self.api.add_admission(MeshAdmission(self.informers, build_settings))
        self.api.add_admission(ScaleAdmission(self.informers))
        why = WhyPage(self.informers.cache, self.mesh, self.ads, self.machine.admin)
        self.api.add_question(WHY, why)
        self.machine.byte_streams = self.mesh.byte_streams
        self.recorder = EventRecorder(self.writer, "weft")
        self.recorder.start()
        self.inflight = AllInFlight(self.machine, self.links, self.ads)
        self.scale_to_zero = ScaleToZero(
            *(self.writer, self.informers, self.recorder),
            ads=self.ads,
            traffic=self.telemetry.traffic,
            inflight=self.inflight,
        )
        self.holds.hold = self.scale_to_zero.hold
        self.ads.on_missing = self.scale_to_zero.on_missing
        self.tasks.spawn(self.mesh.run(), "mesh-loop")
        statuses = GatewayStatusWriter(self.writer, self.informers.cache, self.mesh, self.ads)
        self.tasks.spawn(statuses.run(), "gateway-status")
        self.tasks.spawn(objects.run(), "object-status")
        self.tasks.spawn(self.identity.publish(self.writer, self.recorder), "roots-published")
        self.learner = ProtocolLearner(
            self.writer, self.informers.cache, self.recorder, self.machine.dialer
        )
        self.tasks.spawn(self.learner.run(), "protocol-learner")
        await self._open_telemetry()
        self.watch = NodeWatch(self.writer, self.informers.cache, self.links, self.ads)
        self.links.on_change = self._link_changed
        self.api.add_usage(self._usage_sampler())
        if self.settings.no_node:
            self.api.log_source = AllLogs("", None, self.links)
            self.api.node_streams = AllStreams("", None, self.links)
        else:
            await self._start_node()

    def _feed_relay(self) -> None:
        """Where the node's proxy is in a network of its own."""
        if self.machine.rootless:
            ways = RelaySettings(self.machine.relay_dir, self.api.port)
            self.mesh.relay = RelayFeed(self.ads, self.settings.node_name, ways)
            self.tasks.spawn(self.mesh.relay.run(), "relay")

    async def _open_telemetry(self) -> None:
        await self.telemetry.open(
            "" if self.settings.no_node else self.machine.node_address,
            self.settings.trace_export,
            os.environ.get(HEADERS_VARIABLE, ""),
            self.machine.dialer,
        )

    async def _start_node(self) -> None:
        own = self.settings.node_name
        reopen = self.machine.admin.reopen_logs
        self.tasks.spawn(access_log_keeper.keep(self.settings.access_log, reopen), "access-log")
        self.agent = make_agent(
            *(self.settings, self.machine, self.api.node_client(own), self.informers),
            gate=AdsGate(self.ads, own, self._walls_in_force),
            api_ca=self.ca.current.roots,
            inflight=self.inflight,
            otlp=self.telemetry.otlp_endpoint,
            owner=self.client,
        )
        self.api.log_source = AllLogs(own, NodeLogs(self.agent), self.links)
        self.api.node_streams = AllStreams(own, LocalStreams(self.agent), self.links)
        if self.settings.listen:
            self.routes = RouteKeeper(self.informers, own)
            self.tasks.spawn(self.routes.run(), "node-routes")
        if isinstance(self.machine.network, NetnsNetwork):
            gates = NodeGates(self.informers, self.machine.network, self.settings.node_name)
            self.tasks.spawn(gates.run(), "node-gates")
        await self.agent.start()

    async def _read_usage(self) -> Readings:
        settings = self.settings
        if settings.no_node:
            return await read_joined(self.links)
        return await read_all(
            self.machine.pods_runtime, settings.data_dir, settings.node_name, self.links
        )

    def _usage_sampler(self) -> UsageSampler:
        """Of all nodes' pods."""
        return UsageSampler(
            self._read_usage,
            lambda: {p.metadata.uid: p.spec.node_name for p in self.informers.cache.list(Pod)},
        )

    async def _walls_in_force(self, node: str, pod_uid: str) -> None:
        await self.walls.in_force(node, pod_uid)

    def _link_changed(self, node: str, connected: bool) -> None:
        self.walls.link_changed(node, connected)
        self.watch.link_changed(node, connected)

    def _on_model(self, model: MeshModel) -> None:
        self.rate_limits.update(rate_limits.rules(model))
        self.learner.on_model(model)
        self.issuers.on_model(model)
        self.walls.on_model(model)
        self.scale_to_zero.on_model(model, self.mesh.number)

    def _record_refusal(self, obj: Struct, rejection: Rejection) -> None:
        text = f"{blamed(rejection)}, {consequence(rejection)}: {rejection.error}"
        self.recorder.record(RecordEvent(obj, "Warning", reason(rejection), text))

    def _start_controllers(self) -> None:
        publisher = root_ca.controller(lambda: self.ca.current.roots)
        queues = (QUEUE_CONTROLLER, KUEUE_CONTROLLER)
        for controller in (*controllers(), publisher, *queues, self.scheduler):
            client = self.api.local_client(controller.name)
            self.loops.append(ControllerLoop(controller, client, self.informers, self.recorder))
        self.alerting = Alerting(
            *(self.writer, self.informers, self.recorder, self.telemetry.traffic),
            ads=self.ads,
            data_dir=Path(self.settings.data_dir),
            measure=self._read_usage,
        )
        self.api.add_question(ALERTS, self.alerting.page)
        self.api.add_metrics(self.alerting.metrics)
        scaler = Autoscaler(
            *(
                self.api.local_client("horizontalpodautoscaler"),
                self.informers,
                self.recorder,
                self._usage_sampler(),
            ),
            traffic=self.telemetry.traffic,
            forecasts=Forecasts(Path(self.settings.data_dir), self.tasks),
        )
        sources = (self.informers, self.recorder, self.telemetry.traffic, self.machine.dialer)
        analyst = Analyst(self.api.local_client("analysis"), *sources)
        canaries = Canaries(self.api.local_client("canary"), *sources, mesh=self.mesh, ads=self.ads)
        self.loops.append(canaries.loop)
        self.informers.start()
        for loop in self.loops:
            loop.start()
        self.tasks.spawn(scaler.run(), "autoscaler")
        self.tasks.spawn(analyst.run(), "analyst")
        self.tasks.spawn(canaries.run(), "canaries")
        self.tasks.spawn(self.alerting.run(), "alerting")
        self.tasks.spawn(self.scale_to_zero.run(), "scale-to-zero")

    def _announce(self) -> None:
        seconds = now() - self.started_at
        self.say(f"weft {__version__} is up after {seconds:.2f} s")
        self.say(f"  API         https://127.0.0.1:{self.api.port}")
        if self.settings.listen:
            self.say(f"  for nodes   https://{self.settings.address}:{self.api.port}")
            self.say("              `weft token create` prints the command with which one joins")
        self.say(f"  dashboard   {self.dashboard.url}  (`weft dashboard` logs in)")
        self.say(f"  kubeconfig  {self.settings.kubeconfig}")
        if self.settings.no_node:
            where = "run on machines that join" if self.settings.listen else "stay Pending"
            self.say(f"  node        none (--no-node): pods {where}")
            return
        self.say(f"  isolation   {self.machine.summary}")
        for sentence in self.machine.report.missing:
            self.say(f"              {sentence}")

    async def _announce_gateways(self) -> None:
        """Where the ports of the applied Gateways are bound on this machine."""
        cache = self.informers.cache
        deadline = now() + GATEWAYS_SECONDS_MAX
        kinds: tuple[type[Struct], ...] = (Gateway, gateway_api.Gateway)
        while any(cache.list(kind) for kind in kinds) and now() < deadline:
            for node in status.node_rows(cache):
                for port, bound in node["gatewayPorts"].items():
                    self.say(f"  gateway     {self.settings.gateway_address}:{bound} (port {port})")
                if node["gatewayPorts"]:
                    return
            await asyncio.sleep(0.02)

    def _running(self) -> Running:
        return Running(
            pid=os.getpid(),
            port=self.api.port,
            isolation=self.machine.report.isolation,
            started_at=self.started_at,
            gateway_address=self.settings.gateway_address,
            process_start=process_start(os.getpid()),
            dashboard_port=self.dashboard.port,
            node=self.settings.node_name,
        )

    async def _status_page(self) -> tuple[str, bytes]:
        remote = await facts(self.links)
        containers = [*await self.machine.containers()]
        for found in remote.values():
            containers += found.containers
        pids = {node: found.envoy_pid for node, found in remote.items()}
        if not self.settings.no_node:
            pids[self.settings.node_name] = await self.machine.envoy_pid()
        cache = self.informers.cache
        more = self.identity.findings()
        body = status.document(
            *(cache, tuple(containers), self.ads, self.mesh, pids),
            more=more,
            own_node=self.settings.node_name,
            relay_pid=await self.machine.relay_pid(),
        )
        return "application/json", body

    async def _restart_proxy(self) -> tuple[str, bytes]:
        before = await self.machine.envoy_pid()
        try:
            await self.machine.restart_envoy()
        except EnvoyError as error:
            return "application/json", msgspec.json.encode({"error": str(error)})
        after = await self.machine.envoy_pid()
        return "application/json", msgspec.json.encode({"before": before, "after": after})

    async def _metrics_page(self) -> tuple[str, bytes]:
        counted = rate_limits.exposition(self.rate_limits).encode()
        counted += (self.identity.exposition() + self.mesh.faults.exposition()).encode()
        counted += self.scale_to_zero.exposition().encode()
        return "text/plain; version=0.0.4", await self.machine.metrics() + counted

    async def close(self, keep_pods: bool) -> None:
        """Stop. Unless `keep_pods`, pods end gracefully first, then everything else."""
        files.unpublish_running(self.settings)
        for loop in self.loops:
            await loop.close()
        await self.watch.close()
        await self.scale_to_zero.close()
        if not self.settings.no_node:
            await self.agent.close(keep_pods=keep_pods)
        await self.tasks.close()
        await self.alerting.close()
        await self.telemetry.close()
        await self.recorder.close()
        await self.informers.close()
        if keep_pods:
            await self.machine.close()
        else:
            if self.settings.listen and not self.settings.no_node:
                await self.routes.remove()
            await self.machine.destroy()
        await self.links.close()
        await self.dashboard.close()
        await self.api.close()
        await self.ads.close()
        await self.following.close()
        await self.rate_limits.close()
        await self.store.close()
        if not keep_pods:
            files.remove_run_directory(self.settings)


def _port_error(port: int, error: OSError) -> OSError:
    """The API's port cannot be had: what to do."""
    if error.errno == errno.EADDRINUSE:
        return OSError(f"port {port} is taken; choose another with --port (0 takes a free one)")
    if error.errno == errno.EACCES:
        return OSError(f"port {port} needs root; choose a higher one with --port")
    return error


async def run_until_signal(settings: Settings, manifests: tuple[str, ...], say: Say) -> int:
    """Run an instance until SIGINT or SIGTERM (stop all) or SIGUSR2 (leave pods running)."""
    stopped = files.stop_signals()
    instance = Instance(settings, say)
    await instance.start(manifests)
    keep_pods = await stopped
    say("stopping" + (" (pods run on)" if keep_pods else ""))
    await instance.close(keep_pods)
    return 0


async def clean_up(settings: Settings, say: Say) -> None:
    """End what a killed instance left running."""
    files.prepare_directories(settings)
    lock = files.lock_instance(settings)
    machine = Machine(settings)
    await machine.open(with_envoy=False)
    left = [state for state in await machine.containers() if state.exit_code is None]
    await machine.destroy()
    files.remove_run_directory(settings)
    ended = f"{len(left)} {'process' if len(left) == 1 else 'processes'} of it ended"
    say(f"weft did not run on {settings.data_dir}; {ended}")
    files.unlock_instance(lock)
