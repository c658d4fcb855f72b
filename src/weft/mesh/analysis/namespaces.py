"""Objects in namespaces that do not exist."""

from weft.api import registry
from weft.api.snapshot import meta
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import World
from weft.mesh.findings import Findings


def missing(world: World, report: Findings) -> None:
    """One finding for each namespace; none where no namespace is known at all."""
    if not world.namespaces:
        return
    told = set(world.namespaces)
    for kind in registry.KINDS:
        if kind.struct is None or not kind.namespaced:
            continue
        for obj in world.list(kind.struct):
            namespace = meta(obj).namespace
            if namespace not in told:
                told.add(namespace)
                hint = f.suggest(namespace, world.namespaces, "") if namespace else ""
                report.add(
                    c.NAMESPACE_UNKNOWN,
                    obj,
                    "metadata.namespace",
                    hint if hint.startswith("did") else "",
                    namespace=namespace,
                )


CHECKS = (missing,)
