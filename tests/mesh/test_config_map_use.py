"""Which ConfigMaps the mesh is made of."""

import pytest
import yaml

from tests.mesh.cluster import snapshot
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.mesh.config_map_use import counts

NAMED = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: web}
spec:
  gatewayClassName: weft
  listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: c}]}}]
  tls:
    frontend:
      default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: people}]}}
      perPort:
      - port: 8443
        tls: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: robots}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: b, namespace: web}
spec:
  targetRefs: [{group: "", kind: Service, name: shop}]
  validation: {hostname: shop, caCertificateRefs: [{group: "", kind: ConfigMap, name: backends}]}
"""
OBJECTS = snapshot(list(yaml.safe_load_all(NAMED)))


@pytest.mark.parametrize(
    ("namespace", "name", "wanted"),
    [
        ("istio-system", "istio", True),
        ("web", "istio", False),
        ("web", "people", True),
        ("web", "robots", True),
        ("web", "backends", True),
        ("web", "settings", False),
    ],
)
def test_only_what_is_named_counts(namespace: str, name: str, wanted: bool) -> None:
    found = ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace))
    assert counts(OBJECTS, found) is wanted
    assert counts(snapshot([]), found) is (namespace == "istio-system")
