"""Which patches are for which resources of a node model."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.mesh.caller_limits import common_name
from weft.mesh.model import EnvoyPatch, GatewayListener, NodeModel, Workload
from weft.xds.listeners import inbound_name
from weft.xds.patches import Place, added, applicable, patched, usable
from weft.xds.resource import CLUSTER, LISTENER, ROUTES, Resource

OUTBOUND = Place("SIDECAR_OUTBOUND")
EDGE_TABLES = ("http.", "https.")
"""How names of the tables of gateways begin."""
_Key = tuple[str, str]


class Patcher:
    """Applies the patches of a model. What came out for the same resources and patches is kept."""

    def __init__(self) -> None:
        self.applied: frozenset[EnvoyPatch] = frozenset()
        self._patches: tuple[EnvoyPatch, ...] = ()
        self._gateways: Mapping[str, tuple[str, ...]] = {}
        self._last: dict[_Key, tuple[Any, ...]] = {}
        self._next: dict[_Key, tuple[Any, ...]] = {}

    def begin(self, model: NodeModel) -> None:
        """Start with a model."""
        self.applied = frozenset()
        self._patches = usable(model.patches)
        self._gateways = _gateways_by_table(model) if self._patches else {}
        self._last, self._next = self._next, {}

    def patched(
        self, kind: str, name: str, element: Any, resources: list[Resource]
    ) -> list[Resource]:
        """The resources made from an element of the model, with the patches that are for them."""
        if not self._patches:
            return resources
        key = (kind, name)
        wanted = [(r, *self._wanted(r, element)) for r in resources]
        inputs = (resources, [patches for _, patches, _ in wanted])
        known = self._last.get(key)
        if known is None or known[0] != inputs:
            made, used = [], frozenset[EnvoyPatch]()
            for found, patches, place in wanted:
                changed, by = patched(found, patches, place)
                used |= by
                made.extend([changed] if changed is not None else [])
            known = (inputs, made, used)
        self._next[key] = known
        self.applied |= known[2]
        result: list[Resource] = known[1]
        return result

    def added(self, there: Sequence[Resource]) -> list[Resource]:
        """What patches bring that is not among the resources there."""
        if not self._patches:
            return []
        made = added(self._patches, {(r.type_url, r.name) for r in there})
        self.applied |= {p for each in made for p in each.patched_by}
        return made

    def _wanted(self, found: Resource, element: Any) -> tuple[Sequence[EnvoyPatch], Place]:
        if found.type_url == CLUSTER:
            return self._for_scope(found.name, "SIDECAR_OUTBOUND", "GATEWAY"), OUTBOUND
        if found.type_url == ROUTES:
            if not found.name.startswith(EDGE_TABLES):
                return self._for_scope(found.name, "SIDECAR_OUTBOUND"), OUTBOUND
            return self._at_gateways(self._gateways.get(found.name, ()), ())
        if found.type_url != LISTENER:
            return (), OUTBOUND
        if isinstance(element, GatewayListener):
            names = dict.fromkeys(s.name.rpartition("/")[0] for s in element.servers)
            return self._at_gateways(tuple(names), (element.port,))
        if not isinstance(element, Workload):
            return applicable(self._patches, "SIDECAR_OUTBOUND"), OUTBOUND
        if found.name == inbound_name(element.uid):
            ports = tuple(port.port for port in element.inbound)
            place = Place("SIDECAR_INBOUND", ports)
            return applicable(self._patches, place.context, element), place
        return applicable(self._patches, OUTBOUND.context, element), OUTBOUND

    def _for_scope(self, name: str, *contexts: str) -> tuple[EnvoyPatch, ...]:
        """Patches for what is shared, and for what belongs to a scope, whose name it ends with."""
        name = common_name(name)
        return tuple(
            p
            for p in self._patches
            if p.context in ("ANY", *contexts)
            and (p.everywhere or any(name.endswith(f"@{scope}") for scope in p.scopes))
        )

    def _at_gateways(
        self, names: tuple[str, ...], ports: tuple[int, ...]
    ) -> tuple[Sequence[EnvoyPatch], Place]:
        patches = tuple(
            p
            for p in self._patches
            if p.context in ("ANY", "GATEWAY")
            and (not p.gateways or not set(names).isdisjoint(p.gateways))
        )
        return patches, Place("GATEWAY", ports, names)


def _gateways_by_table(model: NodeModel) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for gateway in model.gateways:
        for server in gateway.servers:
            if server.route_table:
                name = server.name.rpartition("/")[0]
                found[server.route_table] = (*found.get(server.route_table, ()), name)
    return found
