"""ReferenceGrant."""

from msgspec import field

from weft.api.gateway.common import Message
from weft.api.k8s.meta_v1 import ObjectMeta


class ReferenceGrantFrom(Message, frozen=True):
    """Objects that may refer."""

    group: str = ""
    """API group."""
    kind: str = ""
    """Kind, such as HTTPRoute or Gateway."""
    namespace: str = ""
    """Namespace."""


class ReferenceGrantTo(Message, frozen=True):
    """Objects of this namespace that may be referred to."""

    group: str = ""
    """API group; empty for Services and Secrets."""
    kind: str = ""
    """Kind, such as Service or Secret."""
    name: str = ""
    """Name; all of the kind when absent."""


class ReferenceGrantSpec(Message, frozen=True):
    """Which references into this namespace are permitted."""

    from_: tuple[ReferenceGrantFrom, ...] = field(default=(), name="from")
    """Who may refer."""
    to: tuple[ReferenceGrantTo, ...] = ()
    """To what."""


class ReferenceGrant(Message, frozen=True):
    """Permits references from other namespaces into this one."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ReferenceGrant."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: ReferenceGrantSpec = ReferenceGrantSpec()
    """What is permitted."""
