"""ListenerSet."""

from weft.api.gateway.common import GROUP, Message
from weft.api.gateway.gateways import Listener, ListenerStatus
from weft.api.k8s.meta_v1 import Condition, ObjectMeta


class ParentGatewayReference(Message, frozen=True):
    """The Gateway that gets the listeners."""

    group: str = GROUP
    """API group of the parent."""
    kind: str = "Gateway"
    """Gateway."""
    name: str = ""
    """The Gateway's name."""
    namespace: str = ""
    """The Gateway's namespace; the ListenerSet's own when absent."""


class ListenerSetSpec(Message, frozen=True):
    """Listeners for a Gateway."""

    parent_ref: ParentGatewayReference = ParentGatewayReference()
    """The Gateway, which must allow it in `spec.allowedListeners`."""
    listeners: tuple[Listener, ...] = ()
    """Ports to open at the Gateway's addresses. The Gateway's own listeners go before those of
    ListenerSets, older sets before younger ones."""


class ListenerSetStatus(Message, frozen=True):
    """How a ListenerSet fares."""

    conditions: tuple[Condition, ...] = ()
    """Accepted, Programmed."""
    listeners: tuple[ListenerStatus, ...] = ()
    """One entry for each listener."""


class ListenerSet(Message, frozen=True):
    """More listeners for a Gateway, perhaps of another team and namespace."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ListenerSet."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: ListenerSetSpec = ListenerSetSpec()
    """What is wanted."""
    status: ListenerSetStatus = ListenerSetStatus()
    """What the controller says."""
