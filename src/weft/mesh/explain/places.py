"""Where in which object a route is written, and in which line of which file when that is known."""

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.snapshot import Snapshot
from weft.api.wellknown import LABEL_SERVICE_NAME

_INDEXED = re.compile(r"(?:http|rules)\[\d+\]")
_ROUTES: dict[str, tuple[type[Struct], str]] = {
    "VirtualService": (istio.VirtualService, "http"),
    "HTTPRoute": (gw.HTTPRoute, "rules"),
    "GRPCRoute": (gw.GRPCRoute, "rules"),
}
"""Kind -> its value type, and the field that holds its rules."""

Locate = Callable[[str, str, str, str], tuple[str, int]]
"""(kind, namespace, name, field path) -> file and line; ("", 0) when unknown."""


def nowhere(kind: str, namespace: str, name: str, path: str) -> tuple[str, int]:
    """For objects that came over the API."""
    return "", 0


class Place(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A field of an object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    file: str = ""
    line: int = 0

    @property
    def text(self) -> str:
        """For people: object, field, file and line, as far as they are known."""
        ref = f"{self.namespace}/{self.name}" if self.namespace else self.name
        shown = f"{self.kind} {ref}".strip()
        where = f"{self.file}:{self.line}" if self.line else self.file
        return "  ".join(part for part in (shown, self.path, where) if part)


class Places:
    """What objects say about parts of the model: where they are written, who is left out."""

    def __init__(self, objects: Snapshot, locate: Locate = nowhere) -> None:
        self._objects = objects
        self._locate = locate

    def unready(self, service: str, namespace: str) -> tuple[str, ...]:
        """Pods of a Service that get no requests because they are not ready."""
        label = (LABEL_SERVICE_NAME, service)
        return tuple(
            endpoint.target_ref.name if endpoint.target_ref else endpoint.addresses[0]
            for each in self._objects.list(EndpointSlice, namespace)
            if label in each.metadata.labels.items()
            for endpoint in each.endpoints
            if endpoint.conditions is not None and endpoint.conditions.ready is False
            and endpoint.addresses
        )  # fmt: skip

    def of_object(self, source: str, path: str = "") -> Place:
        """An object as the model names it: `VirtualService default/web`."""
        kind, _, ref = source.partition(" ")
        namespace, slash, name = ref.partition("/")
        if not slash:
            namespace, name = "", namespace
        file, line = self._locate(kind, namespace, name, path)
        return Place(kind, namespace, name, path, file, line)

    def of_objects(self, sources: str) -> tuple[Place, ...]:
        """Several objects, separated by commas."""
        return tuple(self.of_object(s.strip()) for s in sources.split(",") if s.strip())

    def of_route(self, source: str, route: str) -> Place:
        """The rule behind a route; the whole object when it cannot be told."""
        return self.of_object(source, self._path(source, route))

    def _path(self, source: str, route: str) -> str:
        kind, _, ref = source.partition(" ")
        known = _ROUTES.get(kind)
        label = route.rpartition("/")[2]
        namespace, _, name = ref.partition("/")
        if known is None or not label:
            return ""
        cls, field = known
        own = route.startswith(f"{ref}/")
        if own and _INDEXED.fullmatch(label):
            return f"spec.{label}"
        found = self._objects.get(cls, name, namespace)
        rules: Sequence[Struct] = getattr(found.spec, field) if found is not None else ()  # type: ignore[attr-defined]
        for index, rule in enumerate(rules):
            own_label = getattr(rule, "name", "") or f"{field}[{index}]"
            # A route of a delegate is named after both rules: the one that delegates comes first.
            if label == own_label if own else label.endswith(f"-{own_label}"):
                return f"spec.{field}[{index}]"
        return ""
