"""Which VirtualService routes calls to which host inside the mesh."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.directory import Directory
from weft.mesh.istio_matches import MESH
from weft.mesh.istio_routes import source
from weft.mesh.mesh_visibility import visible_to
from weft.mesh.names import covers, full_host, specificity


class Entry(Struct, frozen=True):
    """A VirtualService as it applies to a host."""

    obj: istio.VirtualService
    callers: tuple[str, ...] = ()
    """Namespaces whose callers see it (exportTo); all when empty."""


class MeshIndex:
    """VirtualServices by host. For one host and the same callers the first wins: as in Istio, they
    are to be given oldest first."""

    def __init__(self, objects: Iterable[istio.VirtualService], directory: Directory) -> None:
        self._entries: dict[str, list[Entry]] = {}
        for obj in filter(in_mesh, objects):
            callers = visible_to(obj.spec.export_to, obj.metadata.namespace)
            if callers is not None:
                self._add(obj, callers, directory)
        self._wild = sorted(
            (h for h in self._entries if h.startswith("*")), key=specificity, reverse=True
        )

    def _add(
        self, obj: istio.VirtualService, callers: tuple[str, ...], directory: Directory
    ) -> None:
        for number, written in enumerate(obj.spec.hosts):
            path = f"spec.hosts[{number}]"
            host = full_host(written, obj.metadata.namespace, directory.hosts)
            if host == "*":
                if all(g == MESH for g in obj.spec.gateways):
                    directory.report.add(f.WILDCARD_IN_MESH, obj, path)
                continue
            entries = self._entries.setdefault(host, [])
            taken = next((e for e in entries if e.callers == callers), None)
            if taken is None:
                entries.append(Entry(obj, callers))
            elif taken.obj is not obj:
                directory.report.add(f.HOST_TAKEN, obj, path, host=written, other=source(taken.obj))

    def entries(self, host: str) -> tuple[Entry, ...]:
        """What applies to a host: objects that name it, else those of the narrowest wildcard.
        Those for few callers come before those for all."""
        found = self._entries.get(host)
        if found is None:
            pattern = next((w for w in self._wild if covers(w, host)), None)
            found = self._entries[pattern] if pattern else []
        return tuple(sorted(found, key=lambda e: not e.callers))

    def hosts(self) -> tuple[str, ...]:
        """All hosts that are routed, sorted."""
        return tuple(sorted(self._entries))

    def source_namespaces(self) -> set[str]:
        """Namespaces that connection routes tell apart."""
        objects = [e.obj for entries in self._entries.values() for e in entries]
        tcp = {m.source_namespace for o in objects for r in o.spec.tcp for m in r.match}
        tls = {m.source_namespace for o in objects for r in o.spec.tls for m in r.match}
        exported = {ns for entries in self._entries.values() for e in entries for ns in e.callers}
        return (tcp | tls | exported) - {""}


def in_mesh(obj: istio.VirtualService) -> bool:
    """Whether the object applies to calls inside the mesh."""
    return not obj.spec.gateways or MESH in obj.spec.gateways
