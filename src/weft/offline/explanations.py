"""`weft why` for manifests: the answer as it would be if all of them were applied."""

from collections.abc import Iterable

from weft.api.istio.networking_v1 import ServiceEntry
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.manifests import Document
from weft.api.snapshot import Snapshot
from weft.mesh.build import build
from weft.mesh.explain.answer import Explained, Question, explain
from weft.mesh.explain.callers import NoCaller
from weft.mesh.explain.places import Places
from weft.node.dns.zone import address_of
from weft.node.dns_records import build_zone
from weft.offline.lines import Lines
from weft.offline.objects import objects_of
from weft.offline.places import settings_of_nodes


def explain_documents(documents: Iterable[Document], question: Question) -> Explained | NoCaller:
    """Objects without a namespace are in that of the question."""
    documents = tuple(documents)
    snapshot = objects_of(documents, question.namespace)
    places = Places(snapshot, Lines(documents, question.namespace).locate)
    model = build(snapshot).model
    resolve, nodes = Resolver(snapshot).address, settings_of_nodes(snapshot, model)
    return explain(model, places, question, resolve, nodes=nodes)


class Resolver:
    """The cluster's DNS over a set of objects."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._zone = build_zone(
            snapshot.list(Service), snapshot.list(EndpointSlice), snapshot.list(ServiceEntry)
        )

    def address(self, host: str, namespace: str) -> str:
        """The address that a host has for callers of a namespace; "" when DNS of the cluster has
        none."""
        return address_of(self._zone, host, namespace)
