"""What the agent is told and given: settings, and the parts it works with."""

from collections.abc import Callable, Collection, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.node.dialing import Dialer
from weft.node.environment import Refusal
from weft.node.gate import ProxyGate
from weft.node.pressure import TRANSITION_SECONDS_DEFAULT, Options
from weft.node.probes import Prober
from weft.node.runtime import ContainerRuntime, Images, Network
from weft.node.tokens import Tokens
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder


class InFlight(Protocol):
    """Counts requests, by asking the proxies."""

    async def active(self, address: str, ports: tuple[int, ...] = ()) -> int:
        """Requests in flight at a pod's address (at some of its ports, or all), on every proxy
        that can be asked."""


class HostPorts(Protocol):
    """What a Network of host isolation also gives: ports, kept per pod."""

    async def allocate_ports(
        self, pod_uid: str, container_ports: tuple[int, ...]
    ) -> dict[int, int]:
        """A host port for each container port; the same ones when asked again."""

    async def proxy_port(self, pod_uid: str) -> int:
        """The port on 127.0.0.1 of the pod's own HTTP proxy."""


Say = Callable[[Literal["Normal", "Warning"], str, str], None]
"""Records an Event of a pod: type, reason, message."""


class Pulls(Protocol):
    """Brings images that pods wait for."""

    async def ready(
        self,
        pod: Pod,
        container: Container,
        objects: Snapshot,
        say: Say,
    ) -> Refusal | None:
        """Returns when the container's image is present; why it cannot be."""

    async def close(self) -> None: ...


class ImageSpace(Protocol):
    """Removes images that no pod needs. Blocking. `used` are names of images that some do."""

    @property
    def directory(self) -> str:
        """Where the images are."""

    def look(self, used: Collection[str], now: float) -> list[str]:
        """Some, when the disk is nearly full; their names."""

    def free(self, used: Collection[str], now: float) -> list[str]:
        """All that can be had again."""


class NoInFlight:
    """No mesh: nothing is ever in flight."""

    async def active(self, address: str, ports: tuple[int, ...] = ()) -> int:
        return 0


class AgentSettings(Struct, frozen=True):
    """One node. Addresses are IPs without a port."""

    node_name: str
    data_dir: str
    """Pods' files and logs live below it."""
    isolation: Literal["netns", "host"] = "netns"
    host_ip: str = "127.0.0.1"
    """The node's InternalIP, and hostIP of its pods."""
    node_address: str = ""
    """From which the node proxy and probes reach pods (annotation weft.dev/node-address)."""
    passthrough_address: str = ""
    gateway_address: str = "127.0.0.1"
    gateway_pool: str = ""
    """Network (CIDR) that further addresses for Gateways come from; empty is none."""
    dns_address: str = ""
    """Name server of pods (port 53, as they see it); empty leaves them the machine's."""
    names_file: str = ""
    """Where the agent writes the names that the DNS server at `dns_address` answers; empty: there
    is none."""
    etc_overlay: bool = True
    """Pods get their own /etc files (the runtime can lay them over)."""
    memory_dir: str = ""
    """A directory on a memory file system, for Secrets; empty keeps them with the other files."""
    base_env: Mapping[str, str] = {}
    """Lowest layer of every container's environment, e.g. PATH."""
    first_port: int = 0
    """Host isolation: the lowest port that the node proxy may bind; 0 is no limit."""
    service_account_ca: str = ""
    """PEM of who signs the API server's certificate; empty: pods get no service account files."""
    as_root: bool = False
    """Containers without a user of their own run as root."""
    home: str = ""
    """Path of the node's network namespace; empty: the machine's network is the node's."""
    dialer: Dialer = Dialer()
    hidden: tuple[str, ...] = ()
    """Directories of the machine in which processes of pods see nothing."""
    rootless: bool = False
    """Containers' namespaces need a user namespace."""
    oci_runtime: str = ""
    """Path of runc or crun, which starts containers from images; empty: the pod host does."""
    engine: str = ""
    """The container engine that runs containers from images, in place of those."""
    runtime_version: str = ""
    """containerRuntimeVersion of the Node; empty is weft's own."""
    labels: Mapping[str, str] = {}
    """Further labels of the Node object."""
    starts_alone: bool = False
    """Pods are taken over also when the control plane cannot be reached at the start."""
    pod_cidr: str = ""
    """The node's part of the pod network; empty in host isolation."""
    eviction: Options = Options()
    """Below what pods are evicted."""
    eviction_max_pod_grace_seconds: float = 0.0
    """For pods that go by a soft threshold; their own is the most."""
    eviction_transition_seconds: float = TRANSITION_SECONDS_DEFAULT
    """How long a pressure is reported after it was last seen."""
    reserved: Mapping[str, float] = {}
    """What is not for pods, by resource."""
    enforce_allocatable: bool = True
    """Pods together get no more memory and processes than that leaves."""
    pod_pids_max: int = 0
    """Processes and threads of a container; 0 is no limit."""


class MachineFacts(Struct, frozen=True):
    """What the machine is; read once."""

    cpu_count: int
    memory_bytes: int
    disk_bytes: int
    pods_max: int
    architecture: str
    kernel_version: str
    os_image: str
    machine_id: str
    boot_id: str


class Parts:
    """Everything a pod's runner works with."""

    def __init__(
        self, *, client: Client, runtime: ContainerRuntime, network: Network, images: Images,
        gate: ProxyGate, inflight: InFlight, settings: AgentSettings, objects: Snapshot,
        machine: MachineFacts, recorder: EventRecorder,
    ) -> None:  # fmt: skip
        self.client = client
        self.runtime = runtime
        self.network = network
        self.images = images
        self.gate = gate
        self.inflight = inflight
        self.settings = settings
        self.objects = objects
        self.machine = machine
        self.recorder = recorder
        self.pulls: Pulls | None = None
        """None: only what is present is run."""
        self.prober = Prober(runtime, settings.dialer)
        self.tokens = Tokens(client)
        self.placed: Callable[[], None] = lambda: None
        """Told when a pod has an address."""
        self.host_resolv_conf = ""
        """The machine's /etc/resolv.conf, for pods that want it."""
        self.host_hosts = ""
        """The machine's /etc/hosts, for pods in its network."""
