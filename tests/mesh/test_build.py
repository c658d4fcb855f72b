"""Models of whole clusters, recorded; and what must hold for any of them."""

import pytest

from tests.golden_support import Golden, case_names, documents, to_yaml
from tests.mesh.cluster import snapshot
from weft.mesh.build import build
from weft.mesh.consistency import problems
from weft.mesh.memo import Memo
from weft.mesh.model import NodeSettings
from weft.mesh.scope import scope

CASES = case_names("mesh")


@pytest.mark.parametrize("case", CASES)
def test_model(case: str, golden: Golden) -> None:
    built = build(snapshot(documents("mesh", case)))
    assert problems(built.model) == []
    golden.check("mesh", case, "model.yaml", to_yaml(built.model))
    golden.check("mesh", case, "diagnostics.yaml", to_yaml(built.diagnostics))


@pytest.mark.parametrize("case", CASES)
def test_the_model_does_not_depend_on_reuse(case: str) -> None:
    objects = snapshot(documents("mesh", case))
    memo = Memo()
    first = build(objects, memo=memo)
    again = build(objects, memo=memo)
    assert first == again == build(objects)


@pytest.mark.parametrize("isolation", ["netns", "host"])
@pytest.mark.parametrize("case", CASES)
def test_every_node_gets_a_model_that_holds_together(case: str, isolation: str) -> None:
    model = build(snapshot(documents("mesh", case))).model
    for node in ("node-a", "node-b", "node-without-pods"):
        found = scope(model, NodeSettings(name=node, isolation=isolation))
        assert problems(found) == []
        assert {w.node for w in found.workloads} <= {node}
