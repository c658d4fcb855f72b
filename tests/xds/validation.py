"""Envoy's own validation of resources, without an ADS stream: `envoy --mode validate`."""

import subprocess
from pathlib import Path

import msgspec
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

from tests.xds.certificates import write_certificate
from weft.lib.envoy_binary import envoy_path
from weft.xds.http_connection_manager import http_connection_manager
from weft.xds.proto import Proto, socket_address
from weft.xds.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SECRET, Resource
from weft.xds.routes import passthrough_configuration
from weft.xds.svids import TRUST_BUNDLE
from weft.xds.tls import secret_resource

MESSAGES = {
    CLUSTER: cluster_pb2.Cluster,
    ENDPOINTS: endpoint_pb2.ClusterLoadAssignment,
    EXTENSION: extension_pb2.TypedExtensionConfig,
    LISTENER: listener_pb2.Listener,
    ROUTES: route_pb2.RouteConfiguration,
    SECRET: secret_pb2.Secret,
}


def message(resource: Resource) -> Proto:
    return MESSAGES[resource.type_url].FromString(resource.body)


def validate(resources: tuple[Resource, ...], folder: Path) -> None:
    """Fail with what Envoy says, should it refuse any of them. Secrets get a certificate of their
    own in place of the recorded digests."""
    certificate, key = write_certificate(folder / "certs")
    usable = tuple(
        msgspec.structs.replace(
            resource,
            body=message(resource).SerializeToString()
            if resource.type_url != SECRET
            else secret(message(resource), certificate, key),
        )
        for resource in resources
    )
    everywhere = secret_resource(TRUST_BUNDLE, certificate, "")
    (folder / "bootstrap.pb").write_bytes(static_bootstrap((*usable, everywhere)))
    done = subprocess.run(
        [envoy_path(), "--mode", "validate", "-c", "bootstrap.pb"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Deprecated field" not in done.stderr


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
