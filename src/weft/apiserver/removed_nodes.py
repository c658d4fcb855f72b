"""Nodes that were removed: their certificates of before count no more. Pure.

The ConfigMap `weft-removed-nodes` of `kube-system` holds node -> time. A certificate that was
issued later, with a new join token, counts again.
"""

import math
from collections.abc import Callable, Mapping

from weft.api.errors import ApiError
from weft.api.wellknown import REASON_NODE_REMOVED
from weft.apiserver.access import User
from weft.apiserver.node_authorizer import node_of
from weft.lib.timefmt import parse_rfc3339
from weft.pki.identity import Validity, issued_at


class RemovedNodes:
    """What the ConfigMap says. `on_removed` is called with each node that is removed."""

    def __init__(self) -> None:
        self._removed: dict[str, float] = {}
        self.on_removed: list[Callable[[str], None]] = []

    def put(self, data: Mapping[str, str]) -> None:
        """All that is removed now. A time that cannot be read is one that never ends."""
        before, self._removed = self._removed, {n: _time(text) for n, text in data.items()}
        for node, at in self._removed.items():
            if at > before.get(node, -math.inf):
                for told in self.on_removed:
                    told(node)

    def refuses(self, node: str, valid: Validity) -> bool:
        """Whether a certificate of this node and validity is from before its removal."""
        return issued_at(valid) <= self._removed.get(node, -math.inf)

    def check(self, user: User, valid: Validity) -> None:
        """Of who showed a certificate of this validity. Raises ApiError 401."""
        node = node_of(user)
        if node and self.refuses(node, valid):
            raise ApiError(
                401,
                REASON_NODE_REMOVED,
                f"node {node} was removed; a new token from `weft token create` lets the machine"
                " join again [WEFT2689]",
            )


def _time(text: str) -> float:
    try:
        return parse_rfc3339(text) or math.inf
    except ValueError:
        return math.inf
