"""An Envoy resource as it is sent: a name, a content version, and bytes."""

import hashlib
from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.mesh.model import EnvoyPatch

TYPE_PREFIX = "type.googleapis.com/"
RUNTIME = TYPE_PREFIX + "envoy.service.runtime.v3.Runtime"
CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET = TYPE_PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
EXTENSION = TYPE_PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
ROUTES = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"

SCOPES = TYPE_PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"

TYPE_URLS = (RUNTIME, CLUSTER, SECRET, ENDPOINTS, EXTENSION, LISTENER, SCOPES, ROUTES)
"""In the order in which changes are sent (make before break)."""

VERSION_BYTES = 8


class Resource(Struct, frozen=True):
    """One resource. Equal content has an equal version, on every run and every machine."""

    type_url: str
    name: str
    version: str
    body: bytes
    """The serialised message."""
    uses: tuple[str, ...] = ()
    """Of a listener: the names of the route configurations it needs to serve."""
    serving: frozenset[str] = frozenset()
    """Of endpoints: the pods (uid) that may get new requests."""
    patched_by: tuple[EnvoyPatch, ...] = ()
    """The patches that changed it."""


World = Mapping[str, Mapping[str, Resource]]
"""What a proxy shall have: type URL -> name -> resource."""


def content_version(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=VERSION_BYTES).hexdigest()


def world_of(resources: Iterable[Resource]) -> dict[str, dict[str, Resource]]:
    """Index resources; every type is present, a name given twice keeps its last value."""
    world: dict[str, dict[str, Resource]] = {type_url: {} for type_url in TYPE_URLS}
    for resource in resources:
        world[resource.type_url][resource.name] = resource
    return world


def changes(before: World, after: World) -> dict[str, frozenset[str]]:
    """Type URL -> names that were added, removed or have another version; types without are
    left out."""
    found: dict[str, frozenset[str]] = {}
    for type_url in TYPE_URLS:
        old, new = before.get(type_url, {}), after.get(type_url, {})
        names = {
            name
            for name, resource in new.items()
            if (known := old.get(name)) is not resource
            and (known is None or known.version != resource.version)
        }
        names.update(name for name in old if name not in new)
        if names:
            found[type_url] = frozenset(names)
    return found
