"""References of Gateway API objects: back ends, and what may be referred to across namespaces."""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.mesh.directory import Directory
from weft.mesh.names import service_host


class BackendReference(Protocol):
    """What all kinds of references to back ends have."""

    @property
    def group(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def port(self) -> int | None: ...


class Backend(Struct, frozen=True):
    """A resolved back end, or the reason (a word of the specification) why there is none."""

    destination: str = ""
    reason: str = ""
    message: str = ""


class References:
    """Looks references up."""

    def __init__(self, directory: Directory, grants: Iterable[gw.ReferenceGrant]) -> None:
        self.directory = directory
        self._grants = tuple(grants)

    def permitted(self, source: tuple[str, str, str], target: tuple[str, str, str, str]) -> bool:
        """Whether (group, kind, namespace) may refer to (group, kind, namespace, name)."""
        group, kind, namespace, name = target
        if namespace == source[2]:
            return True
        return any(
            grant.metadata.namespace == namespace
            and any((f.group, f.kind, f.namespace) == source for f in grant.spec.from_)
            and any(
                (t.group, t.kind) == (group, kind) and t.name in ("", name) for t in grant.spec.to
            )
            for grant in self._grants
        )

    def backend(self, ref: BackendReference, kind: str, namespace: str) -> Backend:
        """The back end that a route of `kind` in `namespace` names."""
        if ref.group or ref.kind != "Service":
            text = f"back ends are Services, not {ref.kind} of `{ref.group}`"
            return Backend(reason="InvalidKind", message=text)
        where = ref.namespace or namespace
        if not self.permitted((gw.GROUP, kind, namespace), ("", "Service", where, ref.name)):
            text = f"no ReferenceGrant in namespace `{where}` permits Service `{ref.name}`"
            return Backend(reason="RefNotPermitted", message=text)
        host = self.directory.hosts.get(service_host(ref.name, where))
        if host is None:
            text = f"Service `{where}/{ref.name}` does not exist"
            return Backend(reason="BackendNotFound", message=text)
        port = host.port(ref.port or 0)
        if port is None:
            text = f"Service `{where}/{ref.name}` has no TCP port {ref.port or ''}".rstrip()
            return Backend(reason="BackendNotFound", message=text)
        return Backend(self.directory.own_target(host, port, ""))
