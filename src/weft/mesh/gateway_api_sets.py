"""Which ListenerSets add listeners to which Gateways."""

from collections.abc import Iterable, Mapping, Sequence

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_attach import Labels, admits
from weft.mesh.gateway_api_objects import age_key

SetKey = tuple[str, str]
"""(namespace, name) of a ListenerSet."""


class ListenerSets:
    """The ListenerSets of our Gateways, by Gateway."""

    def __init__(
        self,
        gateways: Iterable[gw.Gateway],
        sets: Iterable[gw.ListenerSet],
        labels: Labels,
    ) -> None:
        ours: Mapping[str, gw.Gateway] = {
            f"{g.metadata.namespace}/{g.metadata.name}": g for g in gateways
        }
        self.taken: dict[str, list[gw.ListenerSet]] = {}
        """Those that the Gateway takes, the oldest first."""
        self.refused: dict[str, list[gw.ListenerSet]] = {}
        for each in sorted(sets, key=age_key):
            parent, own = each.spec.parent_ref, each.metadata.namespace
            name = f"{parent.namespace or own}/{parent.name}"
            gateway = ours.get(name)
            if gateway is None or (parent.group, parent.kind) != (gw.GROUP, "Gateway"):
                continue
            spaces = gateway.spec.allowed_listeners.namespaces
            allowed = admits(spaces, gateway.metadata.namespace, own, labels)
            (self.taken if allowed else self.refused).setdefault(name, []).append(each)

    def of(self, gateway: str) -> Sequence[gw.ListenerSet]:
        """Those that the Gateway (`<namespace>/<name>`) takes."""
        return self.taken.get(gateway, ())

    def refused_by(self, gateway: str) -> Sequence[gw.ListenerSet]:
        """Those that want to belong to the Gateway and may not."""
        return self.refused.get(gateway, ())
