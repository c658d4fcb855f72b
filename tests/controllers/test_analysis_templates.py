"""Templates and arguments as one run."""

import pytest

from tests.controllers.simulate import make
from weft.api.argo.analysis import AnalysisTemplate, Argument, ClusterAnalysisTemplate
from weft.api.argo.common import TemplateRef
from weft.api.argo.rollout import Rollout
from weft.api.snapshot import ObjectSnapshot
from weft.controllers.analysis_templates import Problem, field, run_spec, templates


def world() -> ObjectSnapshot:
    one = {"metrics": [{"name": "a"}], "args": [{"name": "x"}, {"name": "y", "value": "1"}]}
    two = {"metrics": [{"name": "b"}], "args": [{"name": "y"}], "templates": [
        {"templateName": "one"}]}  # fmt: skip
    return ObjectSnapshot(
        [
            make(AnalysisTemplate, {"spec": one}, name="one"),
            make(ClusterAnalysisTemplate, {"spec": two}, name="two"),
            make(AnalysisTemplate, {"spec": one}, name="same"),
        ]
    )


def test_several_templates_are_one_run() -> None:
    found = templates(world(), "default", [TemplateRef("two", True)])
    spec = run_spec(found, [Argument("x", "v"), Argument("unknown", "v")])
    assert [m.name for m in spec.metrics] == ["b", "a"]
    assert {a.name: a.value for a in spec.args} == {"x": "v", "y": "1"}


@pytest.mark.parametrize(
    ("names", "args", "said"),
    [
        (["one"], {}, "the argument x has no value"),
        (["none"], {}, "the AnalysisTemplate none does not exist"),
        (["one", "same"], {"x": "1"}, "two metrics are named a"),
    ],
)
def test_what_is_wrong_is_said(names: list[str], args: dict[str, str], said: str) -> None:
    def made() -> None:
        found = templates(world(), "default", [TemplateRef(n) for n in names])
        run_spec(found, [Argument(k, v) for k, v in args.items()])

    with pytest.raises(Problem, match=said):
        made()


def test_fields_of_the_rollout() -> None:
    rollout = make(Rollout, {"spec": {"replicas": 3}}, name="web", labels={"a/b": "c"})
    assert field(rollout, "metadata.labels['a/b']") == "c"
    assert field(rollout, "spec.replicas") == "3"
    with pytest.raises(Problem):
        field(rollout, "spec.nothing")
