import pytest

from weft.api.k8s.core_v1 import Taint
from weft.api.k8s.pod_v1 import Toleration
from weft.api.taints import covers

TAINT = Taint(key="dedicated", value="db", effect="NoSchedule")


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration(key="dedicated", value="db"), True),
        (Toleration(key="dedicated", operator="Equal", value="web"), False),
        (Toleration(key="dedicated", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(operator="Exists", effect="NoExecute"), False),
        (Toleration(key="other", operator="Exists"), False),
    ],
)
def test_tolerations(toleration: Toleration, expected: bool) -> None:
    assert covers(toleration, TAINT) is expected


def test_an_empty_key_without_exists_tolerates_nothing() -> None:
    assert not covers(Toleration(), Taint(key="x", effect="NoSchedule"))
