"""What keeps objects that are to go."""

from typing import Any

import pytest

from weft.views.deletion import holds

REMAINS = [
    {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "fine"},
    {"type": "NamespaceContentRemaining", "status": "True", "message": "Some remain: configmaps."},
]
POD = {"metadata": {"deletionGracePeriodSeconds": 30}, "spec": {"nodeName": "n"}}


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        ({"kind": "Namespace", "status": {"conditions": REMAINS}}, "Some remain: configmaps"),
        ({"kind": "Namespace"}, "what is in it goes first"),
        ({"kind": "Job", "metadata": {"finalizers": ["a.example/x"]}}, "finalizer a.example/x"),
        ({"kind": "Pod", **POD}, "grace period 30 s"),
        ({"kind": "Pod", "metadata": {}}, "never placed"),
        ({"kind": "Service"}, "its deletion is noted"),
    ],
)
def test_what_holds_it(obj: dict[str, Any], said: str) -> None:
    assert said in holds(obj)
