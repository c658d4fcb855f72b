"""The answer to `weft why` for the running mesh: from the model in force, with what each proxy
acknowledged and what Envoy thinks of the endpoints."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.api.snapshot import Snapshot
from weft.daemon.mesh_loop import MeshLoop
from weft.mesh.explain.answer import Answer, Explained, NodeRow, Question, explain
from weft.mesh.explain.callers import NoCaller
from weft.mesh.explain.places import Places
from weft.mesh.explain.request import RequestError, read_request
from weft.mesh.node_settings import node_settings
from weft.node.envoy import EnvoyAdmin, EnvoyError
from weft.offline.explanations import Resolver
from weft.xds.readable import WORDS
from weft.xds.server import AdsServer

BAD_REQUEST = 400
_TYPES = {word: type_url for type_url, word in WORDS.items()}


class Asked(Struct, frozen=True, rename="camel"):
    """A question, as the command line sends it in the parameter `question`."""

    caller: str
    url: str
    namespace: str = "default"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()


class Reply(Struct, frozen=True, rename="camel", omit_defaults=True):
    """An answer, or why there is none."""

    answer: Answer | None = None
    problem: str = ""
    hint: str = ""


class WhyPage:
    """Answers questions about requests."""

    def __init__(
        self, snapshot: Snapshot, mesh: MeshLoop, ads: AdsServer, admin: EnvoyAdmin
    ) -> None:
        self._snapshot = snapshot
        self._mesh = mesh
        self._ads = ads
        self._admin = admin

    async def __call__(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        question = _question(query.get("question", ""))
        health: Mapping[tuple[str, str], str] = {}
        with contextlib.suppress(EnvoyError, ValueError):
            health = endpoint_health(await self._admin.clusters())
        found = self._explain(question, health)
        if isinstance(found, NoCaller):
            reply = Reply(problem=found.message, hint=found.hint)
        else:
            nodes = tuple(self._node(name, found) for name in found.nodes or self._gateway_nodes())
            reply = Reply(replace(found.answer, nodes=nodes))
        return "application/json", msgspec.json.encode(reply)

    def _explain(
        self, question: Question, health: Mapping[tuple[str, str], str]
    ) -> Explained | NoCaller:
        places = Places(self._snapshot)
        resolve = Resolver(self._snapshot).address
        nodes = tuple(node_settings(node) for node in self._snapshot.list(Node))
        return explain(self._mesh.model, places, question, resolve, health, nodes=nodes)

    def _gateway_nodes(self) -> tuple[str, ...]:
        return tuple(sorted(self._ads.nodes()))

    def _node(self, name: str, found: Explained) -> NodeRow:
        """The worst state of what the answer rests on."""
        if not self._ads.connected(name):
            return NodeRow(name, "disconnected", ("its proxy is not connected",))
        errors = {(n.type_url, n.name): n.error for n in self._ads.nacks(name)}
        states = [
            (word, resource, self._ads.resource_state(name, _TYPES[word], resource))
            for word, resource in found.resources
        ]
        details = [
            f"{word} `{resource}` {state}"
            + (f": {errors.get((_TYPES[word], resource), '')}" if state == "refused" else "")
            for word, resource, state in states
            if state in ("pending", "refused")
        ]
        worst = {state for _, _, state in states}
        verdict = next((s for s in ("refused", "pending") if s in worst), "acknowledged")
        return NodeRow(name, verdict, tuple(details))


def _question(text: str) -> Question:
    """Raises ApiError."""
    try:
        asked = msgspec.json.decode(text, type=Asked)
        request = read_request(asked.method, asked.url, asked.headers)
        return Question(asked.caller, asked.namespace, request)
    except (msgspec.DecodeError, RequestError, RecursionError) as error:
        raise ApiError(BAD_REQUEST, "BadRequest", str(error)) from error


def endpoint_health(clusters: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """(cluster, address:port) -> healthy, or what is wrong with it; from Envoy's /clusters."""
    found = {}
    for cluster in clusters.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            place = host.get("address", {}).get("socket_address", {})
            address = f"{place.get('address')}:{place.get('port_value')}"
            problems = ", ".join(_problems(host.get("health_status", {})))
            found[cluster.get("name", ""), address] = problems or "healthy"
    return found


def _problems(status: Mapping[str, Any]) -> Iterator[str]:
    """Source: Envoy's HostHealthStatus."""
    eds = status.get("eds_health_status", "HEALTHY")
    if eds not in ("HEALTHY", "UNKNOWN"):
        yield str(eds).lower()
    for name, words in _FAILURES.items():
        if status.get(name):
            yield words


_FAILURES = {
    "failed_active_health_check": "fails health checks",
    "failed_outlier_check": "ejected as an outlier",
    "failed_active_degraded_check": "degraded",
    "pending_dynamic_removal": "is being removed",
    "pending_active_hc": "not checked yet",
    "excluded_via_immediate_hc_fail": "says it fails",
}
