"""The Envoy configuration that a set of objects gives a node."""

from msgspec import Struct, structs

from weft.api.diagnostics import Diagnostic
from weft.api.k8s.core_v1 import Node
from weft.api.snapshot import Snapshot
from weft.mesh.build import DEFAULTS, BuildSettings, build
from weft.mesh.model import MeshModel, NodeSettings
from weft.mesh.node_settings import node_settings
from weft.mesh.scope import scope
from weft.xds.resource import Resource
from weft.xds.translate import translate


class Configuration(Struct, frozen=True):
    """What one node's proxy would have, and what is wrong with the objects."""

    node: str
    model: MeshModel
    resources: tuple[Resource, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def configuration(
    snapshot: Snapshot, node: Node, settings: BuildSettings = DEFAULTS
) -> Configuration:
    """The whole configuration of a node. A node that does not say which ports it opens for
    Gateways opens all of them, each as it is numbered."""
    built = build(snapshot, settings)
    wanted = with_gateway_ports(node_settings(node), built.model)
    resources = translate(scope(built.model, wanted))
    return Configuration(node.metadata.name, built.model, resources, built.diagnostics)


def with_gateway_ports(settings: NodeSettings, model: MeshModel) -> NodeSettings:
    """The settings of a node; one that never was asked to open ports opens those of the model."""
    if settings.gateway_ports:
        return settings
    ports = sorted({gateway.port for gateway in model.gateways})
    return structs.replace(settings, gateway_ports=tuple((port, port) for port in ports))
