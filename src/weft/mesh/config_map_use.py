"""Which ConfigMaps the mesh is made of: Istio's MeshConfig, and authorities that are named."""

from collections.abc import Iterator

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.snapshot import Snapshot
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.mesh_config import CONFIG_MAP


def counts(snapshot: Snapshot, found: ConfigMap) -> bool:
    """Whether a change of this ConfigMap can change the model. Most belong to applications, and
    are written often: each would have the whole mesh built again. Namespaces of references are
    not looked at: once too often does no harm."""
    name = found.metadata.name
    if (found.metadata.namespace, name) == (ROOT_NAMESPACE, CONFIG_MAP):
        return True
    return any(name == named for named in _authorities(snapshot))


def _authorities(snapshot: Snapshot) -> Iterator[str]:
    for policy in snapshot.list(gw.BackendTLSPolicy):
        for ref in policy.spec.validation.ca_certificate_refs:
            yield ref.name
    for gateway in snapshot.list(gw.Gateway):
        frontend = gateway.spec.tls.frontend if gateway.spec.tls else None
        if frontend is None:
            continue
        for tls in (frontend.default, *(port.tls for port in frontend.per_port)):
            for authority in tls.validation.ca_certificate_refs if tls.validation else ():
                yield authority.name
