"""Which nodes selectors and required affinity admit."""

import msgspec
import pytest

from tests.scheduler.objects import node, pod
from weft.api import node_selectors
from weft.api.k8s.pod_v1 import NodeSelectorTerm

SSD = {"disk": "ssd", "cores": "8"}


@pytest.mark.parametrize(
    ("key", "operator", "values", "matches"),
    [
        ("disk", "In", ["ssd", "nvme"], True),
        ("disk", "In", ["hdd"], False),
        ("disk", "NotIn", ["hdd"], True),
        ("zone", "NotIn", ["a"], True),
        ("disk", "Exists", [], True),
        ("zone", "Exists", [], False),
        ("zone", "DoesNotExist", [], True),
        ("cores", "Gt", ["4"], True),
        ("cores", "Gt", ["8"], False),
        ("cores", "Lt", ["9"], True),
        ("disk", "Gt", ["4"], False),
        ("zone", "Lt", ["4"], False),
        ("cores", "Gt", [], False),
        ("disk", "Near", ["ssd"], False),
    ],
)
def test_affinity_operators(key: str, operator: str, values: list[str], matches: bool) -> None:
    need = {"key": key, "operator": operator, "values": values}
    term = msgspec.convert({"matchExpressions": [need]}, NodeSelectorTerm)
    assert node_selectors.matches_term(term, node(labels=SSD)) is matches


def pinned(*names: str) -> dict[str, object]:
    need = {"key": "metadata.name", "operator": "In", "values": names}
    terms = [{"matchFields": [need]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"affinity": {"nodeAffinity": required}}


def test_names_that_affinity_leaves() -> None:
    assert node_selectors.named(pod(**pinned("a", "b")).spec) == {"a", "b"}
    assert node_selectors.named(pod().spec) is None
