"""`weft node`: the machines, and how one is emptied for maintenance."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import click
from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.registry import by_resource
from weft.api.wellknown import REMOVED_NODES
from weft.cli import options, output
from weft.cli.connection import Connection, run
from weft.lib.aio import now
from weft.lib.durations import parse_duration
from weft.lib.instance import data_dir_of, read_running
from weft.lib.timefmt import age, parse_rfc3339, rfc3339_micro
from weft.views.tables import render

NODES = "/api/v1/nodes"
LOOK_SECONDS = 1.0
"""Between two attempts to evict, and two looks whether pods are gone."""
REMOVED_NAMESPACE = "kube-system"
SHOWN_MAX = 5
"""Pods named when a node cannot be deleted for them."""
MIRROR = "kubernetes.io/config.mirror"
Json = Mapping[str, Any]


@click.group(epilog="Example: weft node drain b && weft node uncordon b")
def node() -> None:
    """Machines: list them, keep pods away from one, move its pods elsewhere."""


# --- list


@node.command("list", epilog="Examples: weft node list · weft node list -o json")
@options.format_only
@options.data_dir
def list_(form: str, data_dir: str | None) -> None:
    """All nodes: whether they are ready, take pods, and how many run there."""

    async def work(connection: Connection) -> None:
        nodes, pods = await asyncio.gather(
            connection.json("GET", NODES), connection.json("GET", "/api/v1/pods")
        )
        rows = [row(n, pods["items"]) for n in nodes["items"]]
        if form != "table":
            output.structured(rows, form)
            return
        heads = ("Name", "Status", "Pods", "Address", "Pod network", "Age")
        cells = [
            (r["name"], r["status"], str(r["pods"]), r["address"], r["podCIDR"], _age(r))
            for r in rows
        ]
        output.lines(render(heads, cells, output.style()))

    run(data_dir, work)


def row(found: Json, pods: Sequence[Json]) -> dict[str, Any]:
    """One node as `-o json` prints it."""
    status, spec = found.get("status") or {}, found.get("spec") or {}
    name = found["metadata"]["name"]
    ready: Json = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    words = {"True": "Ready", "False": "NotReady"}.get(ready.get("status", ""), "Unknown")
    addresses = [a["address"] for a in status.get("addresses") or () if a["type"] == "InternalIP"]
    here = [p for p in pods if (p.get("spec") or {}).get("nodeName") == name and not _over(p)]
    return {
        "name": name,
        "status": words + (",SchedulingDisabled" if spec.get("unschedulable") else ""),
        "reason": ready.get("reason", ""),
        "pods": len(here),
        "address": addresses[0] if addresses else "",
        "podCIDR": spec.get("podCIDR", ""),
        "created": found["metadata"].get("creationTimestamp", ""),
    }


def _age(shown: Json) -> str:
    try:
        return age(now() - parse_rfc3339(shown["created"]))
    except ValueError:
        return ""


# --- cordon, uncordon


@node.command(epilog="Example: weft node cordon b")
@click.argument("name")
@options.data_dir
def cordon(name: str, data_dir: str | None) -> None:
    """No new pods are placed on this node; those that run there stay."""
    run(data_dir, lambda connection: _cordon(connection, name, away=True))


@node.command(epilog="Example: weft node uncordon b")
@click.argument("name")
@options.data_dir
def uncordon(name: str, data_dir: str | None) -> None:
    """Pods may be placed on this node again."""
    run(data_dir, lambda connection: _cordon(connection, name, away=False))


async def _cordon(connection: Connection, name: str, *, away: bool) -> None:
    kind = by_resource("", "v1", "nodes")
    assert kind is not None
    await connection.client.patch(kind, name, {"spec": {"unschedulable": away or None}})
    output.note(f"node {name} takes {'no new' if away else 'new'} pods")


# --- drain


class Sorted(Struct, frozen=True):
    """The pods of a node, by what draining does to them."""

    leaving: tuple[Json, ...] = ()
    staying: tuple[Json, ...] = ()
    """Of DaemonSets and of the node itself, which would only come back."""
    refused: tuple[str, ...] = ()
    """Why draining needs an option, a line for each pod."""


@node.command(
    epilog="Examples: weft node drain b · weft node drain b --delete-emptydir-data --timeout 5m"
)
@click.argument("name")
@click.option("--force", is_flag=True, help="Also pods that nobody makes anew elsewhere.")
@click.option("--delete-emptydir-data", is_flag=True, help="Also pods that keep data in emptyDir.")
@click.option("--timeout", default="", help="Give up after this time, as 90s or 5m.")
@options.format_only
@options.data_dir
def drain(
    name: str,
    force: bool,
    delete_emptydir_data: bool,
    timeout: str,
    form: str,
    data_dir: str | None,
) -> None:
    """Cordon a node and evict its pods, as PodDisruptionBudgets allow; then wait until they are
    gone. Pods of DaemonSets stay. Nothing is evicted when one of the pods needs an option."""
    seconds = _seconds(timeout)

    async def work(connection: Connection) -> None:
        await _cordon(connection, name, away=True)
        found = sort(await _pods(connection, name), force=force, delete_data=delete_emptydir_data)
        if found.refused:
            output.fail(
                f"node {name} is cordoned, but not drained:\n  " + "\n  ".join(found.refused)
            )
        try:
            async with asyncio.timeout(seconds):
                async with asyncio.TaskGroup() as group:
                    for pod in found.leaving:
                        group.create_task(_leave(connection, pod))
        except TimeoutError:
            output.fail(
                f"node {name} still has pods after {timeout}; it stays cordoned",
                f"weft get pods -A; weft node uncordon {name}",
            )
        if form != "table":
            names = {"evicted": found.leaving, "stayed": found.staying}
            told = {k: [_name(p) for p in pods] for k, pods in names.items()}
            output.structured({"node": name, **told}, form)
            return
        output.note(f"node {name} is drained: {len(found.leaving)} evicted,"
                    f" {len(found.staying)} of DaemonSets or of the node stay")  # fmt: skip

    run(data_dir, work)


# --- delete


@node.command(epilog="Example: weft node drain b && weft node delete b")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also with pods on it, which are then gone.")
@options.data_dir
def delete(name: str, force: bool, data_dir: str | None) -> None:
    """Take a machine out of the cluster for good: its certificates count no more, its agent ends
    what runs there, and only a new token lets it in again."""
    running = read_running(data_dir_of(data_dir))
    if running is not None and running.node == name:
        output.fail(f"node {name} is this server itself", "`weft down` stops it")

    async def work(connection: Connection) -> None:
        await connection.json("GET", f"{NODES}/{quote(name)}")
        pods = await _pods(connection, name)
        left = [p for p in pods if not _over(p) and not sort((p,)).staying]
        if left and not force:
            names = ", ".join(sorted(map(_name, left))[:SHOWN_MAX])
            output.fail(f"node {name} has {len(left)} pods: {names}", f"weft node drain {name}")
        await remove(connection, name, pods)
        output.note(f"node {name} is removed; `weft token create` lets it join again")

    run(data_dir, work)


async def remove(connection: Connection, name: str, pods: Sequence[Json]) -> None:
    """First nothing of it counts any more, then its objects go."""
    await _write_removal(connection, name)
    requests = by_resource("certificates.k8s.io", "v1", "certificatesigningrequests")
    nodes, all_pods = by_resource("", "v1", "nodes"), by_resource("", "v1", "pods")
    assert requests is not None
    assert nodes is not None
    assert all_pods is not None
    found = await connection.json("GET", "/apis/certificates.k8s.io/v1/certificatesigningrequests")
    for request in found["items"]:
        if request["spec"].get("username") == f"system:node:{name}":
            await _gone(connection.client.delete(requests, request["metadata"]["name"]))
    # What was signed while these requests were still there does not count either.
    await _write_removal(connection, name)
    await _gone(connection.client.delete(nodes, name))
    for pod in pods:
        found = pod["metadata"]
        await _gone(
            connection.client.delete(
                all_pods, found["name"], found["namespace"], grace_period_seconds=0
            )
        )


async def _write_removal(connection: Connection, name: str) -> None:
    kind = by_resource("", "v1", "configmaps")
    assert kind is not None
    data = {"data": {name: rfc3339_micro(now())}}
    try:
        await connection.client.patch(kind, REMOVED_NODES, data, REMOVED_NAMESPACE)
    except ApiError as error:
        if error.code != 404:
            raise
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": REMOVED_NODES}}
        await connection.client.create(kind, made | data, REMOVED_NAMESPACE)


async def _gone(deletion: Awaitable[Any]) -> None:
    try:
        await deletion
    except ApiError as error:
        if error.code != 404:
            raise


def sort(pods: Sequence[Json], *, force: bool = False, delete_data: bool = False) -> Sorted:
    """What draining does, by kubectl's rules."""
    leaving: list[Json] = []
    staying: list[Json] = []
    refused: list[str] = []
    for pod in pods:
        metadata = pod["metadata"]
        owners = [o for o in metadata.get("ownerReferences") or () if o.get("controller")]
        volumes = (pod.get("spec") or {}).get("volumes") or ()
        daemon = bool(owners) and owners[0]["kind"] == "DaemonSet" and not _over(pod)
        if daemon or MIRROR in (metadata.get("annotations") or {}):
            staying.append(pod)
        elif _over(pod):
            leaving.append(pod)
        elif not owners and not force:
            refused.append(f"{_name(pod)}: nothing makes it anew elsewhere (--force deletes it)")
        elif not delete_data and any("emptyDir" in volume for volume in volumes):
            refused.append(f"{_name(pod)}: has an emptyDir (--delete-emptydir-data deletes it)")
        else:
            leaving.append(pod)
    return Sorted(tuple(leaving), tuple(staying), tuple(refused))


async def _leave(connection: Connection, pod: Json) -> None:
    """Evict, again and again while a budget forbids it, and wait until it is gone."""
    metadata = pod["metadata"]
    name, namespace, uid = metadata["name"], metadata["namespace"], metadata["uid"]
    said = False
    while True:
        try:
            await connection.client.evict(name, namespace, uid)
            break
        except ApiError as error:
            if error.code in (404, 409):
                return  # gone, or another pod of this name
            if error.code != 429:
                raise
            if not said:
                said = True
                output.note(f"{_name(pod)} waits: {error.message}")
        await asyncio.sleep(LOOK_SECONDS)
    path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}"
    while await _uid(connection, path) == uid:  # noqa: ASYNC110 - a node ends it
        await asyncio.sleep(LOOK_SECONDS / 4)
    output.note(f"{_name(pod)} evicted")


async def _uid(connection: Connection, path: str) -> str:
    try:
        return str((await connection.json("GET", path))["metadata"]["uid"])
    except ApiError as error:
        if error.code != 404:
            raise
        return ""


async def _pods(connection: Connection, name: str) -> list[Json]:
    selector = quote(f"spec.nodeName={name}", safe="")
    found = await connection.json("GET", f"/api/v1/pods?fieldSelector={selector}")
    items: list[Json] = found["items"]
    return items


def _over(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _name(pod: Json) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _seconds(text: str) -> float | None:
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"--timeout {text}: {error}; write it like 90s or 5m") from None
