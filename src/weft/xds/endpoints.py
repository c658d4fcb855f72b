"""Endpoints of destinations (EDS)."""

from envoy.config.core.v3 import base_pb2, health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from weft.mesh.model import Destination, Endpoint, NodeSettings
from weft.xds.localities import Group, groups
from weft.xds.node_mtls import GATED, SOCKET_MATCH
from weft.xds.proto import Proto, is_address, resource, socket_address, uint32
from weft.xds.resource import ENDPOINTS, Resource
from weft.xds.telemetry import endpoint_metadata

_HEALTH = {
    "HEALTHY": health_check_pb2.HEALTHY,
    "DRAINING": health_check_pb2.DRAINING,
    "UNHEALTHY": health_check_pb2.UNHEALTHY,
}


def endpoints_resource(destination: Destination, node: NodeSettings) -> Resource:
    """The EDS resource of a destination; it carries the destination's name.

    An endpoint whose address is no IP is left out: EDS does not resolve names.
    """
    usable = [e for e in destination.endpoints if is_address(e.address)]
    if destination.node_local:
        usable = [e for e in usable if e.node == node.name]
    serving = frozenset(e.pod_uid for e in usable if e.pod_uid and e.health == "HEALTHY")
    assignment = load_assignment(destination, usable, node)
    return resource(ENDPOINTS, destination.name, assignment, serving=serving)


def load_assignment(
    destination: Destination, endpoints: list[Endpoint], node: NodeSettings
) -> Proto:
    """Endpoints grouped by locality, each group and the groups in a stable order."""
    return endpoint_pb2.ClusterLoadAssignment(
        cluster_name=destination.name,
        endpoints=[_group(g) for g in groups(endpoints, destination.load_balancer.locality, node)],
    )


def _group(group: Group) -> Proto:
    result = endpoint_components_pb2.LocalityLbEndpoints(
        lb_endpoints=[_endpoint(endpoint) for endpoint in group.endpoints],
        priority=group.priority,
    )
    if group.weight:
        result.load_balancing_weight.CopyFrom(uint32(group.weight))
    if place := group.locality:
        region, zone, sub_zone = [*place.split("/"), "", ""][:3]
        result.locality.CopyFrom(base_pb2.Locality(region=region, zone=zone, sub_zone=sub_zone))
    return result


def _endpoint(endpoint: Endpoint) -> Proto:
    result = endpoint_components_pb2.LbEndpoint(health_status=_HEALTH[endpoint.health])
    result.endpoint.address.CopyFrom(socket_address(endpoint.address, endpoint.port))
    if endpoint.weight > 1:
        result.load_balancing_weight.CopyFrom(uint32(endpoint.weight))
    metadata = endpoint_metadata(endpoint)
    if metadata is not None:
        result.metadata.CopyFrom(metadata)
    if endpoint.gate:
        result.endpoint.hostname = endpoint.gate
        # Active checks are made in nobody's name, so other nodes refuse them.
        result.endpoint.health_check_config.disable_active_health_check = True
        result.metadata.filter_metadata[SOCKET_MATCH][GATED] = True
    return result
