"""Who calls, and which address was called: facts that a connection gets when it is accepted.

The source identity follows from the listener a connection arrived on. A client cannot influence
it: nothing it sends is looked at. Every filter chain, route and upstream sees the facts.
"""

from envoy.config.core.v3 import substitution_format_string_pb2
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.common.set_filter_state.v3 import value_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.filters.network.set_filter_state.v3 import (
    set_filter_state_pb2 as network_filter_state_pb2,
)

from weft.mesh.model import GATEWAY_ACCOUNT, Workload
from weft.xds.descriptors import ListenerSetFilterState
from weft.xds.proto import Proto, any_of

PRINCIPAL_KEY = "envoy.tls.certificate_mappers.on_demand_secret"
"""The key under which Envoy's certificate selector looks for the caller's certificate name."""
CLIENT_KEY = "weft.client_principal"
"""At gateways whose clients show a certificate of the mesh (ISTIO_MUTUAL): whose it is. The
gateway's own policies see it beside the gateway's principal, back ends see the gateway's only."""
NAMESPACE_KEY = "weft.source_namespace"
WORKLOAD_KEY = "weft.source_workload"
"""`<namespace>/<workload>` of the caller."""
LABELS_KEY = "weft.source_labels"
"""All labels of the caller's workload, each between semicolons: `;app=web;version=v1;`."""
ORIGINAL_DESTINATION_KEY = "envoy.network.transport_socket.original_dst_address"
"""Where clusters of the kind ORIGINAL_DST connect to, if set."""
DESTINATION_KEY = "weft.destination_address"
PEER_ADDRESS_KEY = "weft.peer_address"
"""Of connections that a relay passes on: the address at their other end. Envoy calls the relay's
own the direct remote address."""

HASHABLE_STRING = "envoy.hashable_string"
"""Not `envoy.string`: only a hashable object separates upstream connections by identity; without,
one workload would ride on another's mutual TLS connection."""
PLAIN_STRING = "envoy.string"
IP_ADDRESS = "envoy.network.ip"


def gateway_facts(trust_domain: str) -> Proto:
    """The listener filter of a gateway: callers from outside come as the gateway."""
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.set_filter_state",
        typed_config=any_of(ListenerSetFilterState(on_accept=[_gateway(trust_domain)])),
    )


def peer_address() -> Proto:
    """The listener filter that keeps the address which a relay announced."""
    value = _value(PEER_ADDRESS_KEY, IP_ADDRESS, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.set_filter_state",
        typed_config=any_of(ListenerSetFilterState(on_accept=[value])),
    )


def gateway_facts_of_requests(trust_domain: str) -> Proto:
    """The same as an HTTP filter: QUIC has no filters of connections that are accepted."""
    return hcm_pb2.HttpFilter(
        name="envoy.filters.http.set_filter_state",
        typed_config=any_of(
            set_filter_state_pb2.Config(on_request_headers=[_gateway(trust_domain)])
        ),
    )


def peer_facts() -> Proto:
    """The HTTP filter of calls from other nodes: the caller is whom its certificate names. The
    certificate is not known yet when the connection is accepted."""
    principal = _value(PRINCIPAL_KEY, HASHABLE_STRING, "%DOWNSTREAM_PEER_URI_SAN%")
    return hcm_pb2.HttpFilter(
        name="envoy.filters.http.set_filter_state",
        typed_config=any_of(set_filter_state_pb2.Config(on_request_headers=[principal])),
    )


def client_facts() -> Proto:
    """The HTTP filter of a gateway whose clients show a certificate of the mesh."""
    client = _value(CLIENT_KEY, PLAIN_STRING, "%DOWNSTREAM_PEER_URI_SAN%")
    return hcm_pb2.HttpFilter(
        name="envoy.filters.http.set_filter_state",
        typed_config=any_of(set_filter_state_pb2.Config(on_request_headers=[client])),
    )


def target_facts(address: str, port: int) -> Proto:
    """The network filter that sends connections on to a pod, whatever address they came to."""
    target = _value(ORIGINAL_DESTINATION_KEY, ORIGINAL_DESTINATION_KEY, f"{address}:{port}")
    return listener_components_pb2.Filter(
        name="envoy.filters.network.set_filter_state",
        typed_config=any_of(network_filter_state_pb2.Config(on_new_connection=[target])),
    )


def _gateway(trust_domain: str) -> Proto:
    principal = _value(
        PRINCIPAL_KEY, HASHABLE_STRING, literal(f"spiffe://{trust_domain}/{GATEWAY_ACCOUNT}")
    )
    principal.shared_with_upstream = value_pb2.FilterStateValue.ONCE
    return principal


def connection_facts(workload: Workload | None) -> Proto:
    """The listener filter that sets them; it comes after the one that restores the address called.

    Without a workload the caller is unknown.
    """
    values = [_value(DESTINATION_KEY, PLAIN_STRING, "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%")]
    if workload is not None:
        values.append(_value(NAMESPACE_KEY, PLAIN_STRING, literal(workload.namespace)))
        name = f"{workload.namespace}/{workload.workload}"
        values.append(_value(WORKLOAD_KEY, PLAIN_STRING, literal(name)))
    if workload is not None and workload.labels:
        text = f";{';'.join(label(*pair) for pair in workload.labels)};"
        values.append(_value(LABELS_KEY, PLAIN_STRING, literal(text)))
    if workload is not None and workload.principal:
        principal = _value(PRINCIPAL_KEY, HASHABLE_STRING, literal(workload.principal))
        principal.shared_with_upstream = value_pb2.FilterStateValue.ONCE
        values.append(principal)
    return listener_components_pb2.ListenerFilter(
        name="envoy.filters.listener.set_filter_state",
        typed_config=any_of(ListenerSetFilterState(on_accept=values)),
    )


def label(name: str, value: str) -> str:
    """A label as it stands in the labels of a caller; neither part can contain a semicolon."""
    return f"{name}={value}"


def literal(text: str) -> str:
    """Text that stands for itself in a format string."""
    return text.replace("%", "%%")


def _value(key: str, factory: str, format_text: str) -> Proto:
    return value_pb2.FilterStateValue(
        object_key=key,
        factory_key=factory,
        format_string=substitution_format_string_pb2.SubstitutionFormatString(
            text_format_source=DataSource(inline_string=format_text)
        ),
    )
