from weft.api.conditions import condition, is_true
from weft.api.k8s.pod_v1 import PodCondition

FOUND = (
    PodCondition(type="Ready", status="True"),
    PodCondition(type="Initialized", status="False"),
)


def test_conditions_by_type() -> None:
    assert condition(FOUND, "Initialized") is FOUND[1]
    assert condition(FOUND, "Other") is None
    assert is_true(FOUND, "Ready")
    assert not is_true(FOUND, "Initialized")
    assert not is_true((), "Ready")
