"""The machine's side of a node: pod host, network, Envoy; found again after a restart."""

import contextlib
import ipaddress
import logging
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from weft.api.wellknown import ISOLATION_HOST, ISOLATION_NETNS
from weft.lib import envoy_binary
from weft.lib.instance import Settings
from weft.node.dialing import HERE, Dialer, remove_sockets
from weft.node.dns_process import DnsProcess, is_dns
from weft.node.engine.api import EngineApi, EngineError, socket_of
from weft.node.engine.images import EngineImages
from weft.node.engine.runtime import EngineRuntime, Recorded, recorded
from weft.node.envoy import (
    RELAY,
    EnvoyAdmin,
    EnvoyError,
    EnvoyGoneError,
    EnvoySupervisor,
    admin_socket,
)
from weft.node.images import ImageStore
from weft.node.linux import userns
from weft.node.network_host import HostNetwork
from weft.node.network_netns import POD_RANGES, SERVICES, NetnsNetwork, NetworkError
from weft.node.podhost_client import PodhostError, PodhostRuntime, ensure_podhost
from weft.node.probe import AUTO, IsolationReport, choose
from weft.node.routed_runtime import RoutedRuntime
from weft.node.runtime import ContainerRuntime, ContainerState
from weft.telemetry.exposition import unfolded
from weft.xds.bootstrap import (
    BootstrapSettings,
    RemoteControlPlane,
    arguments,
    bootstrap,
    relay_bootstrap,
)
from weft.xds.server import relay_of

log = logging.getLogger("weft.node")

DNS_PORT = 15053
"""Of the node's DNS server; pods ask port 53 and are redirected."""
HOST_SERVICE_NETS = (64, 128)
"""Host isolation takes 127.N.0.0/16 for services, N from this range by instance."""
DAEMON_OOM_SCORE = -900
ALONE_WITHOUT_ROOT = (
    "without root, pods with networks of their own cannot call pods of other machines: run weft as"
    " root on each of them, give --isolation host, or leave out --listen and join nobody"
)


class Machine:
    """What pods run on. `open` before use, then `close` (all runs on) or `destroy`."""

    def __init__(
        self, settings: Settings, remote: RemoteControlPlane | None = None, subnet: str = ""
    ) -> None:
        """`remote` is where the node's proxy finds its control plane when it is not here; `subnet`
        is the node's part of the cluster's pod network when the control plane gave it one."""
        self._remote = remote
        self._subnet = subnet
        self.settings = settings
        self.report = IsolationReport(ISOLATION_NETNS)
        self.byte_streams: Callable[[], frozenset[str]] = frozenset
        """Names of the destinations whose connections carry no requests."""
        self.network: NetnsNetwork | HostNetwork
        self.runtime: PodhostRuntime
        self.engine: EngineRuntime | None = None
        """Runs containers from images in place of the pod host."""
        self.images = ImageStore(Path(settings.data_dir))
        self.engine_images: EngineImages | None = None
        self.envoy: EnvoySupervisor
        self.relay: EnvoySupervisor
        """Runs where the proxy is in a network of its own."""
        self.names: DnsProcess | None = None
        """Answers pods' questions for names; there is none in host isolation."""
        self._opened = False

    @property
    def rootless(self) -> bool:
        """Whether the node lives in a user namespace, and its proxy in a network of its own."""
        return self.report.rootless

    @property
    def home(self) -> str:
        """Path of that network namespace; empty is the machine's."""
        return userns.home(self.settings.run_dir) if self.rootless else ""

    @property
    def dialer(self) -> Dialer:
        """To pods and the node's address, from here."""
        return Dialer(self.home, self.pod_cidr) if self.rootless else HERE

    @property
    def relay_dir(self) -> str:
        """Where the sockets between the proxy and its relay are."""
        return str(Path(self.settings.run_dir) / RELAY)

    @property
    def isolated(self) -> bool:
        """Whether pods have network namespaces of their own."""
        return self.report.isolation == ISOLATION_NETNS

    async def open(self, with_envoy: bool = True) -> None:
        """Find or make everything; OSError and its kin say what the machine refuses."""
        run_dir = Path(self.settings.run_dir)
        self.report = await choose(self._isolation(), self.settings.run_dir)
        if not self.report.possible:
            raise OSError("; ".join(self.report.missing) or "this isolation cannot be had here")
        if self.rootless and (self.settings.listen or self.settings.join):
            raise OSError(ALONE_WITHOUT_ROOT)
        if self.rootless:
            remove_sockets(self.settings.run_dir)
        envoy_path = envoy_binary.envoy_path()
        self.runtime = await ensure_podhost(run_dir)
        if self.isolated:
            joined = bool(self.settings.address)
            self.network = NetnsNetwork(
                run_dir,
                dns_port=DNS_PORT,
                subnet=self._subnet,
                joined=joined,
                services=self.settings.service_cidr or SERVICES,
                home=self.home,
            )
        else:
            self.network = HostNetwork(run_dir)
        self._check_services()
        self.envoy = self._supervisor(run_dir, envoy_path)
        self.relay = self._relay_supervisor(run_dir, envoy_path)
        self._opened = True
        await self.network.open()
        missing = [*self.report.missing]
        if isinstance(self.network, NetnsNetwork) and self.network.missing:
            missing.append(self.network.missing)
        if self.rootless and self.runtime.cgroups == "none":
            why = self.runtime.cgroups_reason or "no control group is this user's"
            missing.append(f"Limits of containers are not enforced ({why}).")
        self.report = structs.replace(self.report, missing=tuple(missing))
        await self._open_engine()
        if isinstance(self.network, NetnsNetwork):
            self.names = self._dns(self.network, run_dir)
        if with_envoy:
            if self.names is not None:
                await self.names.start()
            await self._start_proxies()

    def _dns(self, network: NetnsNetwork, run_dir: Path) -> DnsProcess:
        return DnsProcess(
            *(self.runtime, run_dir, network.node_address, DNS_PORT),
            log_path=Path(self.settings.data_dir) / "log" / "dns.log",
            netns=self.home,
        )

    async def names_served(self) -> None:
        """Returns when the DNS server listens. OSError."""
        if self.names is not None:
            await self.names.ready()

    def _isolation(self) -> str:
        """Containers of an engine cannot enter networks of a user namespace."""
        asked = self.settings.isolation
        alone = self.settings.engine and os.geteuid() != 0
        return ISOLATION_HOST if alone and asked == AUTO else asked

    async def _start_proxies(self) -> None:
        """EnvoyError. A relay that takes over from another cannot ask callers to come back, the
        proxy can: it is replaced after the relay, and lets its own connections go."""
        if not self.rootless:
            await self.relay.stop()
            await self.envoy.start()
            return
        relay_runs = await self.relay.state()
        adopted = await self.relay.start()
        proxy_adopted = await self.envoy.start()
        if relay_runs is not None and not adopted and proxy_adopted:
            with contextlib.suppress(EnvoyError):
                await self.envoy.restart()

    async def _open_engine(self) -> None:
        """EngineError."""
        kind, before = self.settings.engine, recorded(Path(self.settings.data_dir))
        socket = self._engine_socket(kind) if kind else ""
        if before is not None and (before.kind, before.socket) != (kind, socket):
            await self._leave(before)
        if not kind:
            return
        if self.rootless:
            raise EngineError(
                f"pods of an earlier start run in a user namespace, where {kind} cannot start any;"
                " end them with `weft down`"
            )
        if self.settings.isolation == ISOLATION_NETNS and not self.isolated:
            raise EngineError(f"--isolation netns with --oci-runtime {kind} needs root")
        self.engine, self.engine_images = self._engine(kind, socket)
        try:
            await self.engine.open()
        except EngineError:
            await self.engine.close()
            self.engine = None
            raise
        missing = (*self.report.missing, *self.engine.api.missing)
        self.report = structs.replace(self.report, missing=missing)

    async def _leave(self, before: Recorded) -> None:
        """Remove what an engine has that is not used any more."""
        left = self._engine(before.kind, before.socket)[0]
        try:
            await left.open()
            await left.shutdown()
        except EngineError as error:
            text = f"containers of an earlier start may run on in {before.kind}: {error}"
            self.report = structs.replace(self.report, missing=(*self.report.missing, text))
            log.warning("%s", text)
        finally:
            await left.close()

    def _engine_socket(self, kind: str) -> str:
        return socket_of(kind, self.settings.engine_socket, os.environ, os.geteuid() == 0)

    def _engine(self, kind: str, socket: str) -> tuple[EngineRuntime, EngineImages]:
        api = EngineApi(kind, socket)
        images = EngineImages(self.images, api)
        data_dir = Path(self.settings.data_dir)
        return EngineRuntime(api, images, self.settings.instance, data_dir), images

    @property
    def pods_runtime(self) -> ContainerRuntime:
        """What runs pods' containers; Envoy is the pod host's."""
        if self.engine is None:
            return self.runtime
        return RoutedRuntime(self.runtime, self.engine)

    @property
    def summary(self) -> str:
        """How pods run, in a few words."""
        if self.engine is None:
            return self.report.isolation
        api = self.engine.api
        return f"{self.report.isolation}, containers by {api.kind} {api.version} at {api.socket}"

    @property
    def runtime_version(self) -> str:
        """What the Node says of it; empty is weft itself."""
        return f"{self.engine.api.kind}://{self.engine.api.version}" if self.engine else ""

    def _check_services(self) -> None:
        """Raises OSError for a network of Services that pods could not reach."""
        if not self.settings.service_cidr:
            return
        services = ipaddress.IPv4Network(self.settings.service_cidr)
        if self.isolated and any(services.overlaps(pods) for pods in POD_RANGES):
            raise OSError(f"--service-cidr {services}: pods have these addresses; name another one")
        if not self.isolated and not self.settings.join and not services.is_loopback:
            raise OSError(
                f"--service-cidr {services}: without networks of their own, pods reach Services in"
                " 127.0.0.0/8 only; name a part of it"
            )

    def _supervisor(self, run_dir: Path, envoy_path: str) -> EnvoySupervisor:
        wanted = BootstrapSettings(
            node=self.settings.node_name,
            xds_socket=self.settings.ads_socket,
            remote=self._remote,
            admin_socket=admin_socket(run_dir),
        )
        return EnvoySupervisor(
            self.runtime,
            run_dir,
            bootstrap(wanted),
            arguments=arguments(),
            log_path=Path(self.settings.data_dir) / "log" / "envoy.log",
            envoy_path=envoy_path,
            netns=self.home,
        )

    def _relay_supervisor(self, run_dir: Path, envoy_path: str) -> EnvoySupervisor:
        wanted = BootstrapSettings(
            node=relay_of(self.settings.node_name),
            xds_socket=self.settings.ads_socket,
            admin_socket=admin_socket(run_dir, RELAY),
        )
        return EnvoySupervisor(
            self.runtime,
            run_dir,
            relay_bootstrap(wanted),
            arguments=arguments(),
            log_path=Path(self.settings.data_dir) / "log" / "relay.log",
            envoy_path=envoy_path,
            name=RELAY,
        )

    @property
    def node_address(self) -> str:
        """From which the node proxy reaches pods."""
        return self.network.node_address if isinstance(self.network, NetnsNetwork) else "127.0.0.1"

    @property
    def pod_cidr(self) -> str:
        return str(self.network.subnet) if isinstance(self.network, NetnsNetwork) else ""

    @property
    def passthrough_address(self) -> str:
        return self.network.passthrough_address if isinstance(self.network, NetnsNetwork) else ""

    @property
    def admin(self) -> EnvoyAdmin:
        """Of this machine's Envoy."""
        return self.envoy.admin

    async def containers(self) -> tuple[ContainerState, ...]:
        """All that the pod host and the engine know."""
        return await self.pods_runtime.list()

    async def active(
        self, address: str, ports: tuple[int, ...] = (), *, connections: bool = False
    ) -> int:
        """Requests in flight at a pod (at some of its ports, or all); 0 when Envoy is gone. One
        that is too busy to answer is an EnvoyError: its requests must not be taken for ended.

        Connections of TCP services are not waited for: clients keep them open for ever, and only
        the server, told by SIGTERM, knows when one is done. `connections` counts them all the same.
        """
        ignored = frozenset[str]() if connections else self.byte_streams()
        try:
            return await self.envoy.admin.active_requests(address, ports, ignored)
        except EnvoyGoneError:
            return 0

    async def active_by_cluster(self, address: str, ports: tuple[int, ...] = ()) -> dict[str, int]:
        """Requests in flight at a pod at this node's proxy. EnvoyError."""
        return await self.envoy.admin.active_by_cluster(address, ports)

    async def envoy_pid(self) -> int:
        state = await self.envoy.state()
        return state.pid if state is not None and state.exit_code is None else 0

    async def relay_pid(self) -> int:
        """0 where there is none."""
        state = await self.relay.state() if self.rootless else None
        return state.pid if state is not None and state.exit_code is None else 0

    async def restart_envoy(self) -> None:
        """EnvoyError."""
        if self.rootless:
            await self.relay.restart()
        await self.envoy.restart()

    async def metrics(self) -> bytes:
        """Envoy's metrics page; empty when it does not answer."""
        with contextlib.suppress(EnvoyError):
            return unfolded((await self.envoy.admin.prometheus()).decode()).encode()
        return b""

    async def close(self) -> None:
        """Let go; containers and Envoy run on."""
        await self.envoy.close()
        await self.relay.close()
        if self.engine is not None:
            await self.engine.close()
        await self.runtime.close()

    async def destroy(self) -> None:
        """End everything that `open` and the pods made on this machine."""
        await self.relay.stop()
        await self.envoy.stop()
        await self._end_engine()
        await self.runtime.shutdown()
        await self.runtime.close()
        await self.network.destroy()

    async def _end_engine(self) -> None:
        if self.engine is None:
            return
        try:
            await self.engine.shutdown()
        except EngineError as error:
            log.error("containers left in the engine: %s", error)
        await self.engine.close()

    async def abandon(self) -> None:
        """After a start that failed: end what serves no pod; pods of an earlier start run on."""
        if not self._opened:
            return
        with contextlib.suppress(PodhostError, EnvoyError, NetworkError, OSError):
            running = [c for c in await self.containers() if c.exit_code is None]
            unseen = self.engine is None and recorded(Path(self.settings.data_dir)) is not None
            own = [self.envoy.owns, self.relay.owns, is_dns]
            known = all(any(owns(container.id) for owns in own) for container in running)
            if known and not unseen:
                await self.destroy()
            else:
                await self.close()


def host_services(settings: Settings) -> str:
    """Network of Services in host isolation."""
    first, last = HOST_SERVICE_NETS
    return f"127.{first + int(settings.instance[:6], 16) % (last - first)}.0.0/16"


def protect_from_oom() -> None:
    """Under memory pressure the kernel shall end pods before the control plane (needs root)."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{os.getpid()}/oom_score_adj").write_text(str(DAEMON_OOM_SCORE))
