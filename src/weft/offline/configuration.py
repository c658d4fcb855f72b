"""The Envoy configuration that a set of objects gives a node."""

import ipaddress

from msgspec import Struct, structs

from weft.api.diagnostics import Diagnostic
from weft.api.k8s.core_v1 import Node
from weft.api.snapshot import Snapshot
from weft.mesh.build import DEFAULTS, BuildSettings, build
from weft.mesh.model import GatewayBinding, MeshModel, NodeSettings
from weft.mesh.node_settings import node_settings
from weft.mesh.scope import scope
from weft.xds.resource import Resource
from weft.xds.translate import translate

GATEWAY_NETWORK = ipaddress.IPv4Network("127.128.0.0/16")
"""Stands for the addresses that a node would give to Gateways with addresses of their own."""


class Configuration(Struct, frozen=True):
    """What one node's proxy would have, and what is wrong with the objects."""

    node: str
    model: MeshModel
    resources: tuple[Resource, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def configuration(
    snapshot: Snapshot, node: Node, settings: BuildSettings = DEFAULTS
) -> Configuration:
    """The whole configuration of a node. Ports of Gateways that it does not say to have bound count
    as bound, each as it is numbered."""
    built = build(snapshot, settings)
    wanted = with_gateway_ports(node_settings(node), built.model)
    resources = translate(scope(built.model, wanted))
    return Configuration(node.metadata.name, built.model, resources, built.diagnostics)


def with_gateway_ports(settings: NodeSettings, model: MeshModel) -> NodeSettings:
    """The settings of a node, with the ports of Gateways that it has not bound yet."""
    ports = {g.port: g.port for g in model.gateways if not g.binding} | dict(settings.gateway_ports)
    bound = {binding.gateway: binding for binding in settings.gateway_bindings}
    own = {g.binding: g.bind for g in model.gateways if g.binding}
    for number, (gateway, named) in enumerate(own.items()):
        address = named or str(GATEWAY_NETWORK[number + 1])
        known = bound.get(gateway) or GatewayBinding(gateway, (address,))
        mine = [g for g in model.gateways if g.binding == gateway]
        tcp = {g.port: g.port for g in mine if g.protocol != "udp"} | dict(known.ports)
        udp = {g.port: g.port for g in mine if g.protocol == "udp"} | dict(known.udp_ports)
        bound[gateway] = structs.replace(
            known, ports=tuple(sorted(tcp.items())), udp_ports=tuple(sorted(udp.items()))
        )
    return structs.replace(
        settings,
        gateway_ports=tuple(sorted(ports.items())),
        gateway_bindings=tuple(bound[name] for name in sorted(bound)),
    )
