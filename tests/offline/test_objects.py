"""What manifests would lead to: pods, endpoints, addresses, a node."""

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import Namespace, Node, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.manifests import diagnose
from weft.api.snapshot import ObjectSnapshot
from weft.mesh.workloads import workload_name
from weft.offline.objects import NODE_NAME, REPLICAS_MAX, objects_of

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: a, image: web:1, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
"""


def objects(text: str) -> ObjectSnapshot:
    checked = diagnose(text, "a.yaml")
    assert checked.ok, checked.diagnostics
    return objects_of(checked.documents)


def test_deployments_have_pods_that_are_ready_and_services_endpoints() -> None:
    found = objects(WEB)
    pods = found.list(Pod)
    assert [workload_name(p) for p in pods] == ["web", "web"]
    assert {p.spec.node_name for p in pods} == {NODE_NAME}
    (slice_,) = found.list(EndpointSlice)
    assert [p.port for p in slice_.ports] == [8080]
    addresses = [e.addresses[0] for e in slice_.endpoints]
    assert addresses == [p.status.pod_ip for p in pods]
    assert len(set(addresses)) == 2


def test_the_same_files_give_the_same_objects() -> None:
    assert objects(WEB).list(Pod) == objects(WEB).list(Pod)
    assert objects(WEB).list(Service) == objects(WEB).list(Service)


def test_addresses_that_are_written_stay_and_none_is_given_twice() -> None:
    fixed = "apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 80}]%s}\n"
    text = "---\n".join(
        [fixed % ("a", ""), fixed % ("b", ", clusterIP: 10.96.0.2"), fixed % ("c", "")]
    )
    found = {s.metadata.name: s.spec.cluster_ip for s in objects(text).list(Service)}
    assert found["b"] == "10.96.0.2"
    assert len(set(found.values())) == 3


def test_nodes_of_the_files_share_the_pods() -> None:
    nodes = "".join(f"---\napiVersion: v1\nkind: Node\nmetadata: {{name: {n}}}\n" for n in "ab")
    found = objects(WEB + nodes)
    assert [n.metadata.name for n in found.list(Node)] == ["a", "b"]
    assert [p.spec.node_name for p in found.list(Pod)] == ["a", "b"]


def test_what_an_instance_always_has_is_there() -> None:
    found = objects(WEB)
    assert found.get(gw.GatewayClass, "weft") is not None
    names = {n.metadata.name for n in found.list(Namespace)}
    assert {"shop", "default"} <= names


def test_endpoints_that_are_written_are_taken_as_they_are() -> None:
    own = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: mine, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 7}]
endpoints: [{addresses: [10.9.9.9]}]
"""
    assert [s.metadata.name for s in objects(WEB + own).list(EndpointSlice)] == ["mine"]


def test_many_replicas_are_a_few() -> None:
    many = WEB.replace("replicas: 2", "replicas: 5000")
    assert len(objects(many).list(Pod)) == REPLICAS_MAX
