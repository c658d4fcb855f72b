"""The node agent, composed for the machine weft itself runs on."""

import logging
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from weft.apiserver.logs import LogOptions
from weft.apiserver.streams import Connection, Options, Place, Process
from weft.daemon.machine import Machine
from weft.lib.instance import ENGINES, Settings
from weft.node import reserved
from weft.node.agent import NodeAgent
from weft.node.agent_settings import AgentSettings, InFlight
from weft.node.dns_process import names_file
from weft.node.environment import otlp_variables
from weft.node.gate import ProxyGate
from weft.node.gateway_bindings import pool_of
from weft.node.image_gc import ImageCollector
from weft.node.image_pulls import ImagePulls, Upstream, read_registries
from weft.node.linux import userns
from weft.node.pressure import Options as EvictionOptions
from weft.node.runtime import Command
from weft.runtime.client import Client
from weft.runtime.informer import Informers

log = logging.getLogger("weft.node")

FIRST_PORT_FILE = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def make_agent(
    settings: Settings, machine: Machine, client: Client, informers: Informers,
    *, gate: ProxyGate, api_ca: str, inflight: InFlight | None = None, otlp: str = "",
    upstream: Upstream | None = None, owner: Client | None = None,
) -> NodeAgent:  # fmt: skip
    """The agent of this node; start it after the API server, whose certificate `api_ca` signed.
    `otlp` is where applications send their spans, `upstream` has images before registries do,
    `owner` may remove a Node of that name."""
    own_network = machine.isolated
    agent_settings = AgentSettings(
        node_name=settings.node_name,
        data_dir=str(Path(settings.data_dir) / "node"),
        isolation="netns" if own_network else "host",
        host_ip=settings.address or machine.node_address,
        node_address=machine.node_address,
        passthrough_address=machine.passthrough_address,
        gateway_address=settings.gateway_address,
        gateway_pool=settings.gateway_pool or pool_of(settings.gateway_address, settings.instance),
        dns_address=machine.node_address if own_network else "",
        names_file=str(names_file(Path(settings.run_dir))) if own_network else "",
        etc_overlay=machine.report.private_files,
        memory_dir=str(Path(settings.run_dir) / "memory") if on_tmpfs(settings.run_dir) else "",
        base_env={"PATH": os.environ.get("PATH", os.defpath), **otlp_variables(otlp)},
        first_port=0 if own_network else _first_port(),
        home=machine.home,
        dialer=machine.dialer,
        hidden=_hidden(settings) if machine.rootless else (),
        service_account_ca=api_ca,
        as_root=userns.outer_uid() == 0,
        rootless=machine.runtime.privilege != "root",
        oci_runtime=_oci_runtime(settings.oci_runtime),
        engine=settings.engine,
        runtime_version=machine.runtime_version,
        labels=settings.labels,
        pod_cidr=machine.pod_cidr,
        starts_alone=bool(settings.join),
        eviction=EvictionOptions(
            settings.eviction_hard,
            settings.eviction_soft,
            settings.eviction_soft_grace_period,
            settings.eviction_minimum_reclaim,
        ),
        eviction_max_pod_grace_seconds=settings.eviction_max_pod_grace_period,
        eviction_transition_seconds=settings.eviction_pressure_transition_period,
        reserved=reserved.together(settings.system_reserved, settings.kube_reserved),
        enforce_allocatable="pods" in settings.enforce_node_allocatable,
        pod_pids_max=settings.pod_max_pids,
    )
    store, engine_images = machine.images, machine.engine_images
    known = read_registries(settings.registries)
    agent = NodeAgent(
        client=client,
        owner=owner,
        informers=informers,
        runtime=machine.pods_runtime,
        network=machine.network,
        images=engine_images or store,
        pulls=ImagePulls(store, known, upstream, engine_images),
        settings=agent_settings,
        image_space=ImageCollector(
            store,
            Path(settings.run_dir),
            settings.image_gc_high_threshold,
            settings.image_gc_low_threshold,
        ),
        gate=gate,
        inflight=inflight or machine,
    )
    agent.names_served = machine.names_served
    return agent


def _hidden(settings: Settings) -> tuple[str, ...]:
    """What is weft's own: pods are the same user for the machine. Beside the run directory are
    those of this user's other instances."""
    return str(Path(settings.run_dir).parent), settings.data_dir


def _oci_runtime(wanted: str) -> str:
    """Path of the runtime; "" leaves containers from images to the pod host."""
    if wanted == "builtin" or wanted in ENGINES:
        return ""
    names = ("crun", "runc") if wanted == "auto" else (wanted,)
    found = next((path for name in names if (path := shutil.which(name))), "")
    if not found and wanted != "auto":
        log.warning("there is no %s in PATH; containers are started without it", wanted)
    return found


def _first_port() -> int:
    """The lowest port that this process may bind; 0 when it may bind all.

    Found by trying: root of a user namespace is not allowed to, programs with a capability are.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", 1))
        except PermissionError:
            return int(FIRST_PORT_FILE.read_text())
        except OSError:
            return 0  # allowed, but taken
    return 0


def on_tmpfs(path: str) -> bool:
    """Whether files below `path` stay in memory."""
    best, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, filesystem, *_ = line.split(" ")
        if Path(path).is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, filesystem
    return kind == "tmpfs"


class NodeLogs:
    """LogSource of the API server: the one node's agent."""

    def __init__(self, agent: NodeAgent) -> None:
        self._agent = agent

    def read(
        self, node: str, namespace: str, pod: str, uid: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        return self._agent.logs(
            namespace, pod, uid, options.container, options, previous=options.previous
        )


class LocalStreams:
    """NodeStreams of the API server: the one node's agent."""

    def __init__(self, agent: NodeAgent) -> None:
        self._streams = agent.streams

    async def exec(self, where: Place, options: Options) -> Process:
        return await self._streams.exec(where.uid, where.container, _command(options))

    async def attach(self, where: Place, options: Options) -> Process:
        return await self._streams.attach(where.uid, where.container, _command(options))

    async def connect(self, where: Place, port: int) -> Connection:
        return await self._streams.connect(where.uid, port)


def _command(options: Options) -> Command:
    return Command(options.command, options.stdin, options.stdout, options.stderr, options.tty)
