"""The name a person probably meant."""

import pytest

from weft.api.suggest import distance, nearest

FIELDS = ("replicas", "selector", "template", "strategy", "outlierDetection", "loadBalancer", "tls")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("replica", "replicas"), ("Replicas", "replicas"), ("load_balancer", "loadBalancer"),
        ("selecter", "selector"), ("tempalte", "template"), ("faultTolerance", "outlierDetection"),
        ("circuitBreaker", "outlierDetection"), ("xyz", ""), ("namespace", ""),
        ("outlierDetectionPolicy", "outlierDetection"),
    ],
)  # fmt: skip
def test_nearest(written: str, meant: str) -> None:
    assert nearest(written, FIELDS) == meant


def test_distance_counts_a_swap_once() -> None:
    assert distance("form", "from") == 1
    assert distance("kitten", "sitting") == 3
    assert distance("", "abc") == 3
