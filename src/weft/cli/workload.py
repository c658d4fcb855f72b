"""`weft workload`: machines that weft does not run, as members of a WorkloadGroup."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.istio.networking_v1 import ReadinessProbe, WorkloadEntry, WorkloadGroup
from weft.api.k8s.container_v1 import (
    Container,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
)
from weft.api.k8s.coordination_v1 import Lease
from weft.api.objects import decode
from weft.cli import options, output
from weft.cli.connection import connect
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339, rfc3339_micro
from weft.mesh import workload_groups as groups
from weft.node.probes import Address, Prober
from weft.node.runtime import ContainerRuntime, ExecResult
from weft.runtime.client import Client
from weft.runtime.http_client import HttpClient
from weft.runtime.kubeconfig import KubeconfigError, read

MISSED_BEATS_MAX = 3
"""A machine that misses so many is silent."""
RETRY_SECONDS = 1.0


class OwnMachine:
    """Where commands of probes run: here."""

    async def exec(self, container_id: str, command: Sequence[str], within: float) -> ExecResult:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(within):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return ExecResult(process.returncode or 0, said)


class Member:
    """One machine: its entry, its heartbeats, its health."""

    def __init__(
        self, client: Client, group: WorkloadGroup, entry: dict[str, Any], beat: float
    ) -> None:
        self._client = client
        self._group = group
        self._entry = entry
        self._beat = beat
        self._kind = registry.kind_for(WorkloadEntry)
        self._lease = registry.kind_for(Lease)
        meta = entry["metadata"]
        self._name, self._namespace = meta["name"], meta["namespace"]
        self._uid = ""
        self._health = groups.Health()

    async def join(self) -> None:
        """Create the entry, or take over the one of an earlier run. ApiError."""
        try:
            made = await self._client.create(self._kind, self._entry, self._namespace)
        except ApiError as error:
            if error.code != 409:
                raise
            body = {"metadata": {"annotations": self._entry["metadata"]["annotations"]},
                    "spec": self._entry["spec"]}  # fmt: skip
            made = await self._client.patch(self._kind, self._name, body, self._namespace)
        self._uid = msgspec.json.decode(made)["metadata"]["uid"]
        await self._renew()
        await self._report()

    async def leave(self) -> None:
        """Nobody is sent here any more."""
        with contextlib.suppress(ApiError):
            await self._client.delete(self._kind, self._name, self._namespace)

    async def beat(self) -> None:
        """Until cancelled. An entry that somebody deleted is made again: the machine is there."""
        while True:
            await asyncio.sleep(self._beat)
            with _tolerated():
                if not await self._there():
                    await self.join()
                await self._renew()

    async def probe(self) -> None:
        """Until cancelled."""
        probe = self._group.spec.probe
        if probe is None:
            return
        await asyncio.sleep(probe.initial_delay_seconds or 0)
        prober = Prober(cast(ContainerRuntime, OwnMachine()))
        try:
            while True:
                failure = await self._ask(prober, probe)
                self._health = groups.probed(self._health, failure, probe)
                with _tolerated():
                    await self._report()
                await asyncio.sleep(probe.period_seconds or groups.PERIOD_SECONDS_DEFAULT)
        finally:
            await prober.close()

    async def _ask(self, prober: Prober, probe: ReadinessProbe) -> str:
        within = float(probe.timeout_seconds or groups.TIMEOUT_SECONDS_DEFAULT)
        host = self._entry["spec"]["address"]
        at, nothing = Address(host, {}), Container()
        if probe.exec is not None:
            return await prober.run("", ExecAction(command=probe.exec.command), within)
        if probe.tcp_socket is not None:
            return await prober.tcp(probe.tcp_socket.host or host, probe.tcp_socket.port, within)
        if probe.grpc is not None:
            action = GRPCAction(port=probe.grpc.port, service=probe.grpc.service)
            return await prober.grpc(action, nothing, at, within)
        http = probe.http_get
        if http is None:
            return ""
        headers = [HTTPHeader(name=h.name, value=h.value) for h in http.http_headers]
        if http.host:
            headers.append(HTTPHeader(name="Host", value=http.host))
        get = HTTPGetAction(
            path=http.path or "/", port=http.port, scheme=http.scheme, http_headers=tuple(headers)
        )
        return await prober.http(get, nothing, at, within)

    async def _there(self) -> bool:
        try:
            found = await self._client.get(self._kind, self._name, self._namespace)
        except ApiError as error:
            if error.code != 404:
                raise
            return False
        return bool(msgspec.json.decode(found)["metadata"]["uid"] == self._uid)

    async def _renew(self) -> None:
        spec = {"renewTime": rfc3339_micro(now())}
        try:
            await self._client.patch(self._lease, self._name, {"spec": spec}, self._namespace)
            return
        except ApiError as error:
            if error.code != 404:
                raise
        duration = max(int(self._beat * MISSED_BEATS_MAX), 1)
        owner = {"apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry",
                 "name": self._name, "uid": self._uid}  # fmt: skip
        meta = {"name": self._name, "namespace": self._namespace, "ownerReferences": [owner]}
        spec |= {"holderIdentity": self._name, "leaseDurationSeconds": duration}  # type: ignore[dict-item]
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta,
                 "spec": spec}  # fmt: skip
        await self._client.create(self._lease, lease, self._namespace)

    async def _report(self) -> None:
        """Write the health that was found out, beside conditions of others. ApiError."""
        found = msgspec.json.decode(await self._client.get(self._kind, self._name, self._namespace))
        conditions = groups.with_health(found.get("status") or {}, self._health, rfc3339(now()))
        if conditions is None:
            return
        body = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        await self._client.patch(
            self._kind, self._name, body, self._namespace, subresource="status"
        )
        word = "healthy" if self._health.healthy else f"not healthy: {self._health.message}"
        output.note(f"{self._name} is {word}")


@contextlib.contextmanager
def _tolerated() -> Any:
    """A server that is away comes back; somebody else's write is read with the next beat."""
    try:
        yield
    except (ApiError, OSError) as error:
        output.note(f"not reported: {error}")


@contextlib.asynccontextmanager
async def _client(data_dir: str | None, kubeconfig: str | None) -> AsyncIterator[Client]:
    if kubeconfig is None:
        async with connect(data_dir) as connection:
            yield connection.client
        return
    try:
        client = HttpClient(read(Path(kubeconfig)))
    except KubeconfigError as error:
        output.fail(str(error))
    try:
        yield client
    finally:
        await client.close()


@click.group(epilog="Example: weft workload register --group db --address 192.0.2.7")
def workload() -> None:
    """Machines that weft does not run, as members of a WorkloadGroup."""


@workload.command(epilog="Example: weft workload register --group db --address 192.0.2.7")
@click.option("--group", required=True, help="The WorkloadGroup that the machine belongs to.")
@click.option("--address", required=True, help="Where the mesh reaches the machine: its IP.")
@click.option("--name", help="Name of the WorkloadEntry (default: GROUP-ADDRESS).")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A further label.")
@click.option("--port", "ports", multiple=True, metavar="NAME=PORT", help="Where a port is.")
@click.option(
    "--heartbeat-seconds", type=click.FloatRange(0.1, 3600), default=3.0, show_default=True,
    help="Between signs of life; without them the entry goes.",
)  # fmt: skip
@click.option("--kubeconfig", metavar="FILE", help="How to reach weft from another machine.")
@options.namespace
@options.data_dir
def register(
    group: str, address: str, name: str | None, labels: tuple[str, ...], ports: tuple[str, ...],
    heartbeat_seconds: float, kubeconfig: str | None, namespace: str, data_dir: str | None,
) -> None:  # fmt: skip
    """Be a member of a WorkloadGroup until stopped: make a WorkloadEntry from its template, keep it
    alive, run its probe here and report the machine's health; leave when stopped."""
    numbers = {key: int(value) for key, value in _pairs(ports, "port").items() if value.isdigit()}

    async def work() -> None:
        async with _client(data_dir, kubeconfig) as client:
            found = await client.get(registry.kind_for(WorkloadGroup), group, namespace)
            known = decode(WorkloadGroup, found)
            entry = groups.registered_entry(
                known, name or groups.entry_name(group, address), address,
                _pairs(labels, "label"), numbers,
            )  # fmt: skip
            member = Member(client, known, entry, heartbeat_seconds)
            await member.join()
            output.note(f"registered {entry['metadata']['name']} at {address}")
            try:
                await _until_stopped(member.beat(), member.probe())
            finally:
                await member.leave()

    try:
        asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)


async def _until_stopped(*work: Coroutine[Any, Any, None]) -> None:
    stopped, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    tasks = [asyncio.ensure_future(each) for each in work]
    await stopped.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _pairs(written: tuple[str, ...], what: str) -> dict[str, str]:
    for each in written:
        if "=" not in each:
            output.fail(f"--{what} {each}: write NAME=VALUE")
    return dict(each.split("=", 1) for each in written)
