"""Node models to Envoy resources: recorded, accepted by Envoy, and built only when needed."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.bootstrap.internal_listener.v3 import internal_listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden_support import Golden, case_names, documents, to_yaml
from tests.xds.certificates import write_certificate
from tests.xds.support import service, table, to, virtual_host
from weft.lib.envoy_binary import envoy_path
from weft.mesh.model import Endpoint, NodeModel, NodeSettings, OutboundPort, Workload
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.proto import Proto, socket_address
from weft.xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from weft.xds.routes import passthrough_configuration
from weft.xds.svids import TRUST_BUNDLE
from weft.xds.tls import secret_resource
from weft.xds.translate import Translator, translate

CASES = case_names("xds")
MESSAGES = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    EXTENSION: extension_pb2.TypedExtensionConfig,
    LISTENER: listener_pb2.Listener,
    ROUTES: route_pb2.RouteConfiguration,
    SECRET: secret_pb2.Secret,
}


def load(case: str) -> NodeModel:
    (document,) = documents("xds", case)
    return msgspec.convert(document, NodeModel)


def message(resource: Resource) -> Proto:
    return MESSAGES[resource.type_url].FromString(resource.body)


def readable(value: Any) -> Any:
    """Sorted, the name first; access logs shortened to their names (they are recorded once)."""
    if isinstance(value, dict):
        return {
            key: [log["name"] for log in item] if key == "access_log" else readable(item)
            for key, item in sorted(value.items(), key=lambda kv: (kv[0] != "name", kv[0]))
        }
    return [readable(item) for item in value] if isinstance(value, list) else value


def as_dict(resource: Resource) -> dict[str, Any]:
    return MessageToDict(message(resource), preserving_proto_field_name=True)


@pytest.mark.parametrize("case", CASES)
def test_recorded(case: str, golden: Golden) -> None:
    resources = translate(load(case))
    assert len({(r.type_url, r.name) for r in resources}) == len(resources)
    text = to_yaml(
        [
            {
                "type": resource.type_url.rpartition(".")[2],
                **({"uses": resource.uses} if resource.uses else {}),
                **({"serving": sorted(resource.serving)} if resource.serving else {}),
                "resource": readable(as_dict(resource)),
            }
            for resource in resources
        ]
    )
    golden.check("xds", case, "envoy.yaml", text)


def test_access_logs_recorded(golden: Golden) -> None:
    (outbound,) = (r for r in translate(load("tcp")) if r.name == "outbound|u1")
    chains = {c["name"]: c["filters"][0] for c in as_dict(outbound)["filter_chains"]}
    logs = {name: chains[name]["typed_config"]["access_log"] for name in ("http|80", "tcp|6379")}
    golden.check("xds", "tcp", "access-logs.yaml", to_yaml(readable(logs)))


def static_bootstrap(resources: tuple[Resource, ...]) -> bytes:
    """The resources as an Envoy that has everything from the start would have them."""
    result = bootstrap_pb2.Bootstrap()
    static = result.static_resources
    result.node.id = result.node.cluster = "test"
    result.dynamic_resources.ads_config.api_type = 2
    result.dynamic_resources.ads_config.transport_api_version = 2
    result.dynamic_resources.ads_config.grpc_services.add().envoy_grpc.cluster_name = "xds"
    static.clusters.add(name="xds", type="STATIC").connect_timeout.seconds = 1
    internal = result.bootstrap_extensions.add(name="envoy.bootstrap.internal_listener")
    internal.typed_config.Pack(internal_listener_pb2.InternalListener())
    for number, resource in enumerate(resources):
        content = message(resource)
        if resource.type_url == CLUSTER:
            static.clusters.append(with_static_secrets(content))
        elif resource.type_url == LISTENER:
            static.listeners.append(content)
        elif resource.type_url == SECRET:
            static.secrets.append(content)
        elif resource.type_url == ROUTES:
            listener = static.listeners.add(name=f"routes|{resource.name}")
            listener.address.CopyFrom(socket_address("127.0.0.1", 20000 + number))
            listener.filter_chains.add(filters=[http_connection_manager("x", content, [])])
        elif resource.type_url == EXTENSION:
            static.listeners.append(with_filter(number, content))
        else:
            cluster = static.clusters.add(name=f"endpoints|{resource.name}", type="STATIC")
            cluster.connect_timeout.seconds = 1
            content.cluster_name = cluster.name
            cluster.load_assignment.CopyFrom(content)
    return result.SerializeToString()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_accepted_by_envoy(case: str, tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path / "certs")
    resources = tuple(
        msgspec.structs.replace(
            resource,
            body=message(resource).SerializeToString()
            if resource.type_url != SECRET
            else secret(message(resource), certificate, key),
        )
        for resource in translate(load(case))
    )
    everywhere = secret_resource(TRUST_BUNDLE, certificate, "")
    (tmp_path / "bootstrap.pb").write_bytes(static_bootstrap((*resources, everywhere)))
    done = subprocess.run(
        [envoy_path(), "--mode", "validate", "-c", "bootstrap.pb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Deprecated field" not in done.stderr


def with_filter(number: int, extension: Proto) -> Proto:
    """A listener with an HTTP filter whose configuration is a resource of its own."""
    listener = listener_pb2.Listener(name=f"extension|{extension.name}")
    listener.address.CopyFrom(socket_address("127.0.0.1", 20000 + number))
    network_filter = http_connection_manager("x", passthrough_configuration("x", "blackhole"), [])
    manager = hcm_pb2.HttpConnectionManager()
    network_filter.typed_config.Unpack(manager)
    one = hcm_pb2.HttpFilter(name=extension.name, typed_config=extension.typed_config)
    router = manager.http_filters[-1]
    del manager.http_filters[:]
    manager.http_filters.extend([one, router])
    network_filter.typed_config.Pack(manager)
    listener.filter_chains.add(filters=[network_filter])
    return listener


def with_static_secrets(cluster: Proto) -> Proto:
    """Static clusters are made before there is an ADS stream to ask for secrets."""
    packed = cluster.transport_socket.typed_config
    context = tls_pb2.UpstreamTlsContext()
    if packed.Unpack(context):
        common = context.common_tls_context
        for certificate in common.tls_certificate_sds_secret_configs:
            certificate.ClearField("sds_config")
        if common.HasField("combined_validation_context"):
            authorities = common.combined_validation_context.validation_context_sds_secret_config
            authorities.ClearField("sds_config")
        packed.Pack(context)
    return cluster


def secret(recorded: Proto, certificate: str, key: str) -> bytes:
    content = secret_pb2.Secret(name=recorded.name)
    if recorded.HasField("validation_context"):
        content.validation_context.trusted_ca.inline_string = certificate
        return content.SerializeToString()
    content.tls_certificate.certificate_chain.inline_string = certificate
    content.tls_certificate.private_key.inline_string = key
    return content.SerializeToString()


@pytest.mark.parametrize("case", CASES)
def test_equal_models_give_equal_bytes(case: str) -> None:
    assert translate(load(case)) == translate(load(case))


def endpoints(count: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"10.0.0.{n}", 80, pod_uid=f"u{n}") for n in range(1, count + 1))


def small(*sizes: int) -> NodeModel:
    services = tuple(service(f"s{n}", endpoints(size)) for n, size in enumerate(sizes))
    hosts = tuple(virtual_host(f"s{n}", to(s)) for n, s in enumerate(services))
    pod = Workload(
        *("u", "p", "default", "n", "10.0.0.9", "w", "spiffe://x"),
        netns="/run/netns/u",
        outbound=(OutboundPort(80, "80"),),
    )
    return NodeModel(
        NodeSettings("n", address="10.0.0.1"),
        workloads=(pod,),
        destinations=services,
        route_tables=(table(*hosts),),
    )


@pytest.mark.slow
@settings(deadline=None)
@given(
    before=st.lists(st.integers(0, 3), max_size=4), after=st.lists(st.integers(0, 3), max_size=4)
)
def test_translating_a_change_equals_translating_anew(before: list[int], after: list[int]) -> None:
    translator = Translator()
    translator.translate(small(*before))
    assert translator.translate(small(*after)) == translate(small(*after))


def test_an_endpoint_change_touches_one_resource() -> None:
    translator = Translator()
    before = {(r.type_url, r.name): r for r in translator.translate(small(2, 2, 2))}
    after = translator.translate(small(2, 3, 2))
    changed = [r.name for r in after if before[r.type_url, r.name].version != r.version]
    rebuilt = [r for r in after if before[r.type_url, r.name] is not r]
    name = "outbound|80||s1.default.svc.cluster.local"
    assert changed == [name]
    assert {r.name for r in rebuilt} == {name}


def test_only_serving_pods_are_listed_as_serving() -> None:
    (_, assignment, *_) = (
        r
        for r in translate(
            NodeModel(
                NodeSettings("n"),
                destinations=(
                    service(
                        "web",
                        (
                            Endpoint("10.0.0.1", 80, pod_uid="a"),
                            Endpoint("10.0.0.2", 80, pod_uid="b", health="DRAINING"),
                            Endpoint("10.0.0.3", 80, pod_uid="c", health="UNHEALTHY"),
                        ),
                    ),
                ),
            )
        )
        if "web" in r.name
    )
    assert assignment.serving == {"a"}
