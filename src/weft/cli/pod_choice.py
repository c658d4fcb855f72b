"""Which pod is meant by `web-1`, `pod/web-1`, `deploy/web` or `svc/web`."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from weft.cli import output
from weft.cli.connection import Connection
from weft.cli.resources import kind_named, path_of

Obj = Mapping[str, Any]


async def pod_of(connection: Connection, what: str, namespace: str) -> str:
    """The pod's name; ends the command when there is none."""
    return (await pod_and_owner(connection, what, namespace))[0]


async def pod_and_owner(connection: Connection, what: str, namespace: str) -> tuple[str, Obj]:
    """The pod's name, and the object that was named when it is no pod (else an empty one)."""
    if "/" not in what:
        return what, {}
    kind_text, name = what.split("/", 1)
    kind = kind_named(kind_text)
    if kind.kind == "Pod":
        return name, {}
    owner = await connection.json("GET", path_of(kind, namespace if kind.namespaced else "", name))
    labels = labels_of(owner)
    if not labels:
        output.fail(f"{what} selects no pods", "name a pod, or a Deployment, Job or Service")
    selector = urlencode({"labelSelector": ",".join(f"{k}={v}" for k, v in labels.items())})
    path = f"/api/v1/namespaces/{quote(namespace)}/pods?{selector}"
    names = names_in_order((await connection.json("GET", path))["items"])
    if not names:
        output.fail(f"{what} has no pods")
    if len(names) > 1:
        output.note(f"Found {len(names)} pods, using pod/{names[0]}")
    return names[0], owner


def labels_of(owner: Obj) -> dict[str, str]:
    """The labels of its pods; none when the object has none."""
    selector = owner.get("spec", {}).get("selector")
    if not isinstance(selector, Mapping):
        return {}
    # Services select by labels alone.
    return dict(selector if owner.get("kind") == "Service" else selector.get("matchLabels") or {})


def names_in_order(pods: Sequence[Obj]) -> list[str]:
    """Those that run first, those that are about to end last."""

    def rank(pod: Obj) -> tuple[bool, bool]:
        ends = "deletionTimestamp" in pod["metadata"]
        return ends, pod.get("status", {}).get("phase") != "Running"

    return [pod["metadata"]["name"] for pod in sorted(pods, key=rank)]


def target_port(service: Obj, pod: Obj, port: int) -> int | None:
    """The pod's port behind a port of its Service; None when the Service has no such port, or
    the pod none of that name."""
    for entry in service["spec"].get("ports") or ():
        if entry["port"] == port:
            wanted = entry.get("targetPort", port)
            return wanted if isinstance(wanted, int) else _named_port(pod, wanted)
    return None


def _named_port(pod: Obj, name: str) -> int | None:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == name:
                number: int = port["containerPort"]
                return number
    return None
