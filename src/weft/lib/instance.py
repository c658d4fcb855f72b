"""Where an instance of weft lives and how it is told to behave."""

import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

API_PORT_DEFAULT = 6443
XDS_PORT_DEFAULT = 15012
ENGINES = ("docker", "podman")
"""Container engines that can run containers."""
ENGINE_RECORD = "engine.json"
"""In the data directory: which engine has containers of this instance."""
# Unix socket paths are limited to 107 bytes by the kernel, so sockets live under a short path
# that is derived from the data directory, not inside it.
RUN_DIR_HASH_CHARS = 10
_START_FIELD = 19
"""Of /proc/PID/stat after the program's name, which may hold blanks (proc_pid_stat(5), 22)."""


class Settings(Struct, frozen=True):
    """One instance: its data directory is its identity."""

    data_dir: str
    run_dir: str
    port: int = API_PORT_DEFAULT
    """Of the API server on 127.0.0.1; 0 takes a free one."""
    isolation: str = "auto"
    """auto, netns or host."""
    listen: str = ""
    """Address at which other machines reach the API and the control plane of proxies; empty: only
    this machine does. 0.0.0.0 is every address."""
    address: str = ""
    """The node's address for other nodes (InternalIP); empty on a machine of its own."""
    xds_port: int = XDS_PORT_DEFAULT
    """Of the control plane of proxies at `listen`; 0 takes a free one."""
    join: str = ""
    """URL of the API server whose node this machine is; empty: it has its own."""
    pod_cidr: str = ""
    """The node's part of the pod network; empty: the control plane gives one."""
    labels: Mapping[str, str] = {}
    """Further labels of the Node."""
    oci_runtime: str = "auto"
    """What starts containers from images: auto, builtin, runc, crun, docker, podman."""
    engine_socket: str = ""
    """Where the container engine listens that `oci_runtime` names; "": where it usually does."""
    registries: str = ""
    """File about image registries: mirrors, authorities, credentials; "" for none."""
    eviction_hard: str = "memory.available<100Mi,nodefs.available<1%,nodefs.inodesFree<1%"
    """What must be left on the node, else pods go."""
    eviction_soft: str = ""
    """The same, with time to change."""
    eviction_soft_grace_period: str = ""
    """How long, by signal."""
    eviction_minimum_reclaim: str = ""
    """How much more must be left before it counts as enough again, by signal."""
    eviction_max_pod_grace_period: float = 0.0
    """Seconds that pods get which go by a soft threshold."""
    system_reserved: str = ""
    """What is not for pods, by resource."""
    kube_reserved: str = ""
    """The same, on top."""
    enforce_node_allocatable: str = "pods"
    """pods: together they get no more than is left; none."""
    image_gc_high_threshold: int = 85
    """Percent of the disk in use at which images that no pod needs go; 100 is never."""
    image_gc_low_threshold: int = 80
    """Percent at which that is enough."""
    eviction_pressure_transition_period: float = 300.0
    """Seconds that a pressure is reported after it was last seen."""
    pod_max_pids: int = 4096
    """Processes and threads of a container; 0 is no limit."""
    gateway_address: str = "127.0.0.1"
    """Address that ingress gateways bind."""
    gateway_pool: str = ""
    """Network (CIDR) for the addresses of further Gateways; empty is a part of the loopback
    network when `gateway_address` is in it, else none."""
    service_cidr: str = ""
    """Network of Services' addresses, chosen at the first start; empty: the usual one."""
    node_name: str = ""
    no_node: bool = False
    """API server and controllers only: this machine is no node, `node_name` is empty."""
    trust_domain: str = "cluster.local"
    ca_dir: str = ""
    """Directory with an authority for the mesh that others made; "" has weft make its own."""
    workload_cert_ttl: float = 12 * 3600.0
    """Seconds that certificates of workloads live."""
    node_cert_ttl: float = 365 * 86400.0
    """Seconds that the certificates live that nodes and clients ask for."""
    root_cert_ttl: float = 3650 * 86400.0
    """Seconds that a root of the mesh lives."""
    log_level: str = "warning"
    scheduler_config: str = ""
    """File with a KubeSchedulerConfiguration; "" spreads pods over the nodes."""
    audit_policy: str = ""
    """File with the policy of the audit log; "" for none."""
    audit_log_maxsize: int = 100
    """Megabytes at which the audit log is rotated."""
    audit_log_maxbackup: int = 10
    outbound_traffic_policy: str = "ALLOW_ANY"
    """What becomes of calls to unknown hosts, in the words of Istio's MeshConfig."""
    client_request_timeout: float = 3600.0
    """Seconds that a caller from outside may take to send a request; 0 is no limit."""
    client_idle_timeout: float = 600.0
    """Seconds that a caller's connection may be without a request; 0 is no limit."""
    jwks_refresh: float = 300.0
    """Seconds after which keys of issuers of tokens are read again."""
    trace_percent: float = 0.0
    """Share of requests whose way is traced; 0 makes no spans at all."""
    trace_export: str = ""
    """URL of an OTLP endpoint that gets all spans, too."""

    @property
    def engine(self) -> str:
        """The container engine that runs containers from images; "" for none."""
        return self.oci_runtime if self.oci_runtime in ENGINES else ""

    @property
    def kubeconfig(self) -> Path:
        return Path(self.data_dir) / "kubeconfig"

    @property
    def state_file(self) -> Path:
        return Path(self.data_dir) / "weft.json"

    @property
    def join_token_file(self) -> str:
        """Where the command line leaves the token: it must stand in no command line."""
        return str(Path(self.data_dir) / "join-token")

    @property
    def log_file(self) -> Path:
        return Path(self.data_dir) / "log" / "weft.log"

    @property
    def access_log(self) -> Path:
        """Of the proxies' requests, where the MeshConfig has an `accessLogFile`."""
        return Path(self.data_dir) / "log" / "access.log"

    @property
    def audit_log(self) -> Path:
        return Path(self.data_dir) / "log" / "audit.log"

    @property
    def issuer_keys(self) -> Path:
        """Public keys of issuers of tokens, as they were read last."""
        return Path(self.data_dir) / "issuer-keys.json"

    @property
    def ads_socket(self) -> str:
        return str(Path(self.run_dir) / "xds.sock")

    @property
    def api_socket(self) -> str:
        """Where programs of this instance reach the API server without TLS."""
        return str(Path(self.run_dir) / "api.sock")

    @property
    def instance(self) -> str:
        """Short and unique per data directory; part of names of network devices."""
        return Path(self.run_dir).name


def data_dir_of(option: str | None) -> str:
    """`--data-dir`, else $WEFT_HOME, else ~/.weft; absolute. OSError when there is no home."""
    try:
        chosen = option or os.environ.get("WEFT_HOME") or str(Path.home() / ".weft")
        return str(Path(chosen).expanduser().resolve())
    except RuntimeError as error:
        raise OSError("there is no home directory: give --data-dir, or set $WEFT_HOME") from error


def run_dir_of(data_dir: str) -> str:
    """The directory for sockets and pinned namespaces of an instance."""
    digest = hashlib.sha256(data_dir.encode()).hexdigest()[:RUN_DIR_HASH_CHARS]
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        base = Path("/run/weft")
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        base = Path(runtime) / "weft"
    else:
        base = Path(tempfile.gettempdir()) / f"weft-{os.getuid()}"
    return str(base / digest)


def node_name_default() -> str:
    """The host's name as a Kubernetes node name."""
    name = re.sub("[^a-z0-9-]", "-", socket.gethostname().lower().split(".")[0])
    return name.strip("-") or "node"


class Running(Struct, frozen=True):
    """What a running instance tells other commands (file `weft.json`)."""

    pid: int
    port: int
    isolation: str
    started_at: float
    gateway_address: str = "127.0.0.1"
    process_start: int = 0
    """`process_start` of the pid: with it the number cannot be taken for another process'."""
    dashboard_port: int = 0
    """Of the dashboard on 127.0.0.1."""
    node: str = ""
    """The node that this machine is."""


def process_start(pid: int) -> int:
    """Clock ticks after boot at which a process started; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0
    return 0 if fields[0] in ("Z", "X") else int(fields[_START_FIELD])


def read_running(data_dir: str) -> Running | None:
    """The instance of this data directory if its process is alive."""
    try:
        text = (Path(data_dir) / "weft.json").read_bytes()
        running = msgspec.json.decode(text, type=Running)
    except (OSError, msgspec.MsgspecError):
        return None
    alive = running.process_start and process_start(running.pid) == running.process_start
    return running if alive else None
