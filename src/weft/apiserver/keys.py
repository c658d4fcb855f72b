"""Where objects live in the store: `/registry/<group>/<plural>[/<namespace>]/<name>`.

The core group is written `core`. Addresses handed out to Services live next to the objects, so
that one transaction writes both: `/ranges/<what>/<address>` with the owner as value.
"""

from weft.api.kinds import Kind

ROOT = "/registry/"
RANGES = "/ranges/"


def prefix(kind: Kind, namespace: str = "") -> str:
    """The prefix of every object of a kind, or of those in one namespace."""
    group = kind.group if kind.view_of is None else kind.view_of[0]
    base = f"{ROOT}{group or 'core'}/{kind.plural}/"
    return f"{base}{namespace}/" if namespace and kind.namespaced else base


def key(kind: Kind, name: str, namespace: str = "") -> str:
    """The key of one object."""
    return prefix(kind, namespace) + name


def names(kind: Kind, key: str) -> tuple[str, str]:
    """(namespace, name) of a key; namespace is "" for cluster-scoped kinds."""
    namespace, _, name = key[len(prefix(kind)) :].rpartition("/")
    return namespace, name


def address(what: str, value: str) -> str:
    """The key that claims an address (`clusterips`, `nodeports`)."""
    return f"{RANGES}{what}/{value}"
