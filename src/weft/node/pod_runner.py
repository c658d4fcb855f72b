"""Runs one pod: feeds events to its machine, carries out the machine's actions as tasks.

Each task's result is again an event. Nothing here decides.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, cast

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.k8s.container_v1 import (
    Container,
    LifecycleHandler,
    Probe,
    ResourceRequirements,
)
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.wellknown import (
    ANNOTATION_POD_HOST_PORTS,
    ANNOTATION_POD_NETNS,
    ANNOTATION_POD_PROXY,
    ISOLATION_HOST,
)
from weft.lib.aio import Tasks, now
from weft.node import image_container, last_words, pod_machine, pod_probes, ports, volume_files
from weft.node import pod_state as ps
from weft.node.agent_settings import HostPorts, Parts
from weft.node.container_start import IMAGE_REASONS, limits, prepare, tokens_wanted
from weft.node.downward import PodFacts
from weft.node.environment import CONFIG_ERROR, Refusal
from weft.node.etc_files import etc_files
from weft.node.logs import container_log, pod_log_dir
from weft.node.oci.unpack import remove_tree
from weft.node.probes import Address
from weft.node.runtime import ContainerState, PodNetwork
from weft.node.status_writer import StatusWriter
from weft.runtime.plan import RecordEvent

log = logging.getLogger("weft.node")

IN_FLIGHT_AGAIN_SECONDS = 0.02
"""No request may be in flight twice, this far apart (facts of measuring: once is not enough)."""
IN_FLIGHT_WAIT_SECONDS = 0.05
"""Between two looks while requests are in flight."""
PROXY_ADDRESS = "127.0.0.1"
"""Host isolation: where pods' own HTTP proxies listen."""
LOG_POLL_SECONDS = 0.02
"""Between two looks whether the log of an ended container is written."""
RETRY_SECONDS = 1.0
"""Before an operation of the node that failed is tried again."""


class PodRunner:
    """One pod on this node."""

    def __init__(self, parts: Parts, pod: Pod, forget: Callable[["PodRunner"], None]) -> None:
        settings = parts.settings
        self.parts = parts
        self._forget = forget
        machine = ps.MachineSettings(isolation=settings.isolation, host_ip=settings.host_ip)
        self.state = pod_machine.new(pod, machine, now())
        meta = pod.metadata
        self.directory = Path(settings.data_dir) / "pods" / meta.uid
        self.log_directory = pod_log_dir(settings.data_dir, meta.namespace, meta.name, meta.uid)
        self._writer = StatusWriter(parts.client, meta.namespace, meta.name, meta.uid)
        self._tasks = Tasks()
        self._timer: asyncio.TimerHandle | None = None
        self._volumes: dict[str, str] = {}
        self.stopped = asyncio.Event()
        """Nothing of the pod is left on the node."""
        self._tasks.spawn(self._writer.run(), f"pod-status-{meta.name}")

    @property
    def uid(self) -> str:
        return self.state.uid

    @property
    def waits_for(self) -> tuple[Container, ...]:
        """Containers whose images are missing."""
        waiting = [
            c for c in self.state.containers if c.stage == "waiting" and c.reason in IMAGE_REASONS
        ]
        specs = [ps.spec_of(self.state.pod, c.name) for c in waiting]
        return tuple(s for s in specs if s is not None)

    def feed(self, event: ps.Event) -> None:
        """Something happened."""
        if self._tasks.closing:
            return
        if isinstance(event, ps.PodObserved):
            self._writer.observe(event.pod)
        before = self.state.sandbox.address
        self.state, actions = pod_machine.step(self.state, event, now())
        if self.state.sandbox.address != before:
            self.parts.placed()
        for action in actions:
            _ACTIONS[type(action)](self, action)
        if self.state.sandbox.stage == "deleted":
            self.stopped.set()

    async def close(self) -> None:
        """Let go of the pod; what runs of it goes on."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.close()

    async def flush(self) -> None:
        """Returns when what is known of the pod is written."""
        await self._writer.flush()

    # --- network

    async def network_facts(self, network: PodNetwork) -> dict[str, str]:
        """Annotations that tell the mesh where the pod is."""
        if self.state.host_network:
            return {}
        if self.parts.settings.isolation != ISOLATION_HOST:
            return {ANNOTATION_POD_NETNS: network.netns}
        source = cast(HostPorts, self.parts.network)
        known = self.state.pod.metadata.annotations.get(ANNOTATION_POD_HOST_PORTS, "")
        services = self.parts.objects.list(Service)
        wanted = (
            tuple(int(port) for port in json.loads(known))
            if known
            else ports.wanted_ports(self.state.pod, services)
        )
        allocated = await source.allocate_ports(self.uid, wanted)
        proxy = await source.proxy_port(self.uid)
        return {
            ANNOTATION_POD_HOST_PORTS: json.dumps({str(k): v for k, v in allocated.items()}),
            ANNOTATION_POD_PROXY: f"{PROXY_ADDRESS}:{proxy}",
        }

    def facts(self) -> PodFacts:
        """What environments and volumes may speak of."""
        parts, sandbox = self.parts, self.state.sandbox
        host_ports = sandbox.annotations.get(ANNOTATION_POD_HOST_PORTS, "")
        return PodFacts(
            address=sandbox.address,
            host_ip=parts.settings.host_ip,
            isolation=parts.settings.isolation,
            host_ports={int(k): int(v) for k, v in json.loads(host_ports or "{}").items()},
            proxy=sandbox.annotations.get(ANNOTATION_POD_PROXY, ""),
            first_port=parts.settings.first_port,
            cpu_cores=parts.machine.cpu_count,
            memory_bytes=parts.machine.memory_bytes,
            tokens=parts.tokens.of(self.uid),
            base_env=parts.settings.base_env,
        )

    def etc_directory(self) -> str:
        """Of the files laid over /etc; empty when the pod sees the machine's."""
        return str(self.directory / "etc") if self.parts.settings.etc_overlay else ""

    def _address(self) -> Address:
        facts = self.facts()
        return Address(facts.address, facts.host_ports)

    async def _create_sandbox(self, action: ps.CreateSandbox) -> ps.Event:
        try:
            if self.state.host_network:
                network = PodNetwork(self.parts.settings.host_ip)
            else:
                network = await self.parts.network.create(self.uid)
            annotations = await self.network_facts(network)
            self._write_etc(network)
        except Exception as error:
            return ps.SandboxFailed(str(error))
        return ps.SandboxCreated(network.address, network.netns, annotations)

    def _write_etc(self, network: PodNetwork) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.parts.settings.etc_overlay:
            files = etc_files(
                self.state.pod, network.address, self.parts.settings.dns_address,
                self.parts.host_resolv_conf, self.parts.host_hosts,
            )  # fmt: skip
            volume_files.write_plain(self.directory / "etc", files)

    async def _delete_sandbox(self, action: ps.DeleteSandbox) -> ps.Event:
        for state in await self.parts.runtime.list():
            parsed = ps.parse_instance_id(state.id)
            if parsed is not None and parsed[0] == self.uid:
                await self.parts.runtime.remove(state.id)
        spaces = image_container.spaces_directory(self.directory)
        if spaces.exists():
            await self.parts.runtime.release(str(spaces))
        await self.parts.network.delete(self.uid)
        return ps.SandboxDeleted()

    # --- mesh

    async def _await_listeners(self, action: ps.AwaitListeners) -> ps.Event:
        await self._writer.flush()
        await self.parts.gate.listeners_ready(self.uid)
        return ps.ListenersAcknowledged()

    async def _await_drain(self, action: ps.AwaitDrain) -> ps.Event:
        await self.parts.gate.endpoint_draining(self.uid)
        while True:
            if await self.parts.inflight.active(action.address, action.ports) == 0:
                await asyncio.sleep(IN_FLIGHT_AGAIN_SECONDS)
                if await self.parts.inflight.active(action.address, action.ports) == 0:
                    return ps.DrainFinished()
            await asyncio.sleep(IN_FLIGHT_WAIT_SECONDS)

    async def _await_listeners_removed(self, action: ps.AwaitListenersRemoved) -> ps.Event:
        await self._writer.flush()
        await self.parts.gate.listeners_removed(self.uid)
        return ps.ListenersRemoved()

    # --- containers

    async def _start_container(self, action: ps.StartContainer) -> ps.Event:
        spec = ps.spec_of(self.state.pod, action.container)
        if spec is None:
            return ps.ContainerRefused(action.id, "CreateContainerError", "it has no spec")
        try:
            await self.parts.tokens.ensure(self.state.pod, tokens_wanted(self))
        except ApiError as error:
            if error.code >= 500:
                raise  # tried again soon
            text = f"no service account token: {error.message}"
            return ps.ContainerRefused(action.id, CONFIG_ERROR, text)
        if (missing := await self._image_missing(spec)) is not None:
            return ps.ContainerRefused(action.id, missing.reason, missing.message)
        wanted = prepare(self, spec, action.id, self._log_path(action))
        if isinstance(wanted, Refusal):
            return ps.ContainerRefused(action.id, wanted.reason, wanted.message)
        try:
            state = await self.parts.runtime.start(wanted)
        except Exception as error:
            return ps.ContainerRefused(action.id, "CreateContainerError", str(error))
        if state.exit_code is not None:
            return ps.ContainerExited(self.exit_of(state))
        return ps.ContainerStarted(
            action.id, state.started_at or now(), self.parts.images.id_of(spec.image)
        )

    async def _resize_container(self, action: ps.ResizeContainer) -> ps.Event:
        spec = ps.spec_of(self.state.pod, action.container) or Container()
        resources = spec.resources or ResourceRequirements()
        try:
            wanted = limits(spec, self.parts.settings.pod_pids_max)
            await self.parts.runtime.limit(action.id, wanted)
        except Exception as error:
            return ps.ContainerResized(action.id, resources, str(error))
        return ps.ContainerResized(action.id, resources)

    async def _image_missing(self, spec: Container) -> Refusal | None:
        """Wait for its image; why it cannot be had."""
        if self.parts.pulls is None:
            return None

        def say(kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
            self.parts.recorder.record(RecordEvent(self.state.pod, kind, reason, message))

        return await self.parts.pulls.ready(self.state.pod, spec, self.parts.objects, say)

    def _log_path(self, action: ps.StartContainer) -> str:
        path = container_log(self.log_directory, action.container, action.restarts)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return str(path)

    def ended(self, state: ContainerState) -> None:
        """An instance ended. Its last words may be in its log, which is written a little later."""
        spec = self._spec_of_instance(state.id)
        if last_words.reads_log(spec, state) and not state.log_written:
            self._tasks.spawn(self._ended_with_log(state), f"pod-log-{state.id}")
        else:
            self.feed(ps.ContainerExited(self.exit_of(state)))

    async def _ended_with_log(self, state: ContainerState) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(last_words.LOG_WAIT_SECONDS):
                while True:
                    if await self._log_written(state.id):
                        break
                    await asyncio.sleep(LOG_POLL_SECONDS)
        self.feed(ps.ContainerExited(self.exit_of(state)))

    async def _log_written(self, container_id: str) -> bool:
        states = await self.parts.runtime.list()
        return all(s.log_written for s in states if s.id == container_id)

    def exit_of(self, state: ContainerState) -> ps.Exit:
        """An ended instance as the machine knows it."""
        parsed = ps.parse_instance_id(state.id) or ("", "", 0)
        path = container_log(self.log_directory, parsed[1], parsed[2])
        spec = self._spec_of_instance(state.id)
        return exit_of(last_words.explained(state, spec, self.directory, path))

    def _spec_of_instance(self, container_id: str) -> Container:
        parsed = ps.parse_instance_id(container_id)
        return (ps.spec_of(self.state.pod, parsed[1]) if parsed else None) or Container()

    async def _run_hook(self, action: ps.RunHook) -> ps.Event:
        spec = ps.spec_of(self.state.pod, action.container)
        lifecycle = spec.lifecycle if spec is not None else None
        hook: LifecycleHandler | None = None
        if lifecycle is not None:
            hook = lifecycle.post_start if action.hook == "postStart" else lifecycle.pre_stop
        if spec is None or hook is None:
            return ps.HookFinished(action.id, action.hook)
        try:
            async with asyncio.timeout(action.timeout):
                failed = await self.parts.prober.hook(
                    hook, spec, action.id, self._address(), action.timeout
                )
        except TimeoutError:
            failed = f"{action.hook} hook timed out after {action.timeout:g}s"
        return ps.HookFinished(action.id, action.hook, failed)

    async def _run_probe(self, action: ps.RunProbe) -> ps.Event:
        spec = ps.spec_of(self.state.pod, action.container)
        if spec is None:
            return ps.ProbeFailed(action.id, action.kind, "the container has no spec")
        if action.kind == "listening":
            failed = await self.parts.prober.listening(spec, self._address())
        else:
            probe = pod_probes.probe_spec(spec, action.kind) or Probe()
            failed = await self.parts.prober.probe(probe, spec, action.id, self._address())
        if failed:
            return ps.ProbeFailed(action.id, action.kind, failed)
        return ps.ProbeSucceeded(action.id, action.kind)

    async def _signal(self, action: ps.SignalContainer) -> None:
        number = getattr(signal.Signals, self._stop_signal(action), signal.SIGTERM)
        await self.parts.runtime.signal(action.id, int(number))

    def _stop_signal(self, action: ps.SignalContainer) -> str:
        """The container's own word, the image's, or SIGTERM."""
        spec = self._spec_of_instance(action.id)
        if spec.lifecycle is not None and spec.lifecycle.stop_signal:
            return action.signal
        image = self.parts.images.resolve(spec.image)
        named = image.oci.stop_signal if image is not None and image.oci is not None else ""
        if named.isdigit():
            return signal.Signals(int(named)).name if int(named) in set(signal.Signals) else ""
        return named or action.signal

    async def _kill(self, action: ps.KillContainer) -> None:
        await self.parts.runtime.kill(action.id)

    async def _remove(self, action: ps.RemoveContainer) -> None:
        await self.parts.runtime.remove(action.id)
        last_words.message_file(self.directory, action.id).unlink(missing_ok=True)
        root = image_container.root_directory(self.directory, action.id)
        await asyncio.to_thread(remove_tree, root)

    # --- API

    def _annotate(self, action: ps.AnnotatePod) -> None:
        self._writer.annotate(action.annotations)

    def _report(self, action: ps.ReportStatus) -> None:
        self._writer.report(action.status)

    def _record(self, action: ps.RecordEvent) -> None:
        self.parts.recorder.record(
            RecordEvent(self.state.pod, action.type, action.reason, action.message)
        )

    async def _finish_deletion(self, action: ps.FinishDeletion) -> None:
        await self._writer.flush()
        meta = self.state.pod.metadata
        try:
            await self.parts.client.delete(
                registry.kind_for(Pod), meta.name, meta.namespace, grace_period_seconds=0,
                uid=self.uid,
            )  # fmt: skip
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def _forget_pod(self, action: ps.Forget) -> None:
        self.stopped.set()
        self._forget(self)

    def remove_files(self) -> None:
        """Volumes, /etc and logs; the pod never comes back."""
        self.parts.tokens.forget(self.uid)
        remove_tree(self.directory)
        shutil.rmtree(self.log_directory, ignore_errors=True)
        if self.parts.settings.memory_dir:
            shutil.rmtree(self.memory_directory(), ignore_errors=True)

    def memory_directory(self) -> Path:
        """The pod's directory on the memory file system, or with its other files."""
        if self.parts.settings.memory_dir:
            return Path(self.parts.settings.memory_dir) / self.uid
        return self.directory / "memory"

    def _set_timer(self, action: ps.SetTimer) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if action.at is not None:
            delay = max(action.at - now(), 0.0)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay, self.feed, ps.TimerFired())

    # --- tasks

    def spawn(self, work: Callable[["PodRunner", Any], Awaitable[ps.Event | None]],
              action: Any) -> None:  # fmt: skip
        """Carry out an action; its outcome is an event. What fails is tried again."""
        name = f"pod-{type(action).__name__}-{self.state.pod.metadata.name}"
        self._tasks.spawn(self._carry_out(work, action), name)

    async def _carry_out(
        self, work: Callable[["PodRunner", Any], Awaitable[ps.Event | None]], action: Any
    ) -> None:
        while True:
            try:
                event = await work(self, action)
            except Exception as error:
                log.warning(
                    "pod action failed pod=%s action=%s error=%r",
                    self.state.pod.metadata.name, type(action).__name__, error,
                )  # fmt: skip
                if isinstance(action, ps.SignalContainer | ps.KillContainer | ps.RemoveContainer):
                    return  # the machine repeats what matters
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if event is not None:
                self.feed(event)
            return


def exit_of(state: ContainerState) -> ps.Exit:
    """An ended container as the machine knows it."""
    return ps.Exit(
        id=state.id, exit_code=state.exit_code or 0, reason=state.reason, signal=state.signal,
        message=state.message, started_at=state.started_at, finished_at=state.finished_at or now(),
    )  # fmt: skip


def _task(work: Any) -> Callable[[PodRunner, Any], None]:
    return lambda runner, action: runner.spawn(work, action)


# Methods of this class by the action they carry out.
_ACTIONS: dict[type, Callable[[PodRunner, Any], None]] = {
    ps.CreateSandbox: _task(PodRunner._create_sandbox),
    ps.AnnotatePod: PodRunner._annotate,
    ps.AwaitListeners: _task(PodRunner._await_listeners),
    ps.StartContainer: _task(PodRunner._start_container),
    ps.ResizeContainer: _task(PodRunner._resize_container),
    ps.RunHook: _task(PodRunner._run_hook),
    ps.RunProbe: _task(PodRunner._run_probe),
    ps.SignalContainer: _task(PodRunner._signal),
    ps.KillContainer: _task(PodRunner._kill),
    ps.RemoveContainer: _task(PodRunner._remove),
    ps.AwaitDrain: _task(PodRunner._await_drain),
    ps.AwaitListenersRemoved: _task(PodRunner._await_listeners_removed),
    ps.DeleteSandbox: _task(PodRunner._delete_sandbox),
    ps.ReportStatus: PodRunner._report,
    ps.RecordEvent: PodRunner._record,
    ps.FinishDeletion: _task(PodRunner._finish_deletion),
    ps.Forget: PodRunner._forget_pod,
    ps.SetTimer: PodRunner._set_timer,
}
