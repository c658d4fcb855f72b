"""Patches: what users change in the resources that the model is translated to."""

from typing import Literal

from msgspec import Struct

ApplyTo = Literal[
    "LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER",
    "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE", "CLUSTER", "EXTENSION_CONFIG",
]  # fmt: skip
Operation = Literal[
    "MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE"
]
PatchContext = Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"]

ISTIO_CLUSTERS = {"blackhole": "BlackHoleCluster", "passthrough": "PassthroughCluster"}


class ListenerPatchMatch(Struct, frozen=True, gc=False):
    """Which listener, and which part of it; empty parts match all."""

    name: str = ""
    """Istio's name, `0.0.0.0_8080` or `virtualInbound`."""
    port: int = 0
    chain: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    destination_port: int = 0
    network_filter: str = ""
    http_filter: str = ""
    listener_filter: str = ""


class RoutePatchMatch(Struct, frozen=True, gc=False):
    """Which route configuration, and which part of it; empty parts match all."""

    name: str = ""
    port: int = 0
    gateway: str = ""
    """`namespace/name` of a Gateway."""
    virtual_host: str = ""
    domain: str = ""
    route: str = ""
    action: Literal["", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = ""


class ClusterPatchMatch(Struct, frozen=True, gc=False):
    """Which cluster; empty parts match all."""

    name: str = ""
    host: str = ""
    subset: str = ""
    port: int = 0


class EnvoyPatch(Struct, frozen=True, gc=False):
    """A change of resources. A match of another kind than what is patched holds for nothing."""

    source: str
    """`EnvoyFilter default/lua`."""
    path: str
    """Of the change in it: `spec.configPatches[0]`."""
    apply_to: ApplyTo
    operation: Operation
    value: str = ""
    """JSON of Envoy's message."""
    replaces_lists: bool = False
    """Of a MERGE: lists in the value take the place of those that are there, and do not add to
    them; but not within configurations that are packed."""
    context: PatchContext = "ANY"
    namespace: str = ""
    """Workloads of this namespace only; of all when empty."""
    labels: tuple[tuple[str, str], ...] = ()
    """Workloads with all of these labels only."""
    everywhere: bool = True
    """It is for all workloads, so also for what they share: route tables, clusters, addresses of
    services. Else only for what belongs to the scopes of its workloads."""
    scopes: tuple[str, ...] = ()
    """The scopes of its workloads."""
    gateways: tuple[str, ...] = ()
    """`namespace/name` of the Gateways it is for; of all when empty."""
    listener: ListenerPatchMatch | None = None
    route: RoutePatchMatch | None = None
    cluster: ClusterPatchMatch | None = None

    def selects(self, namespace: str, labels: tuple[tuple[str, str], ...]) -> bool:
        """Whether it is for a workload."""
        if self.namespace and namespace != self.namespace:
            return False
        return set(self.labels).issubset(labels)

    def matches_cluster(self, name: str) -> bool:
        """Whether it is for the cluster of this name, in which `@` ends what Istio knows."""
        plain = ISTIO_CLUSTERS.get(name, name).partition("@")[0]
        wanted = self.cluster
        if wanted is None:
            return self.listener is None and self.route is None
        if wanted.name:
            return plain == wanted.name
        direction, _, rest = plain.partition("|")
        port, _, rest = rest.partition("|")
        subset, _, host = rest.partition("|")
        if direction != "outbound":
            return not (wanted.host or wanted.subset or wanted.port)
        return (
            wanted.host in ("", host)
            and wanted.subset in ("", subset)
            and wanted.port in (0, int(port) if port.isdigit() else 0)
        )
