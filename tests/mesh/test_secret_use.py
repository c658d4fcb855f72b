"""Which Secrets have the mesh built again."""

import pytest

from weft.api.k8s.core_v1 import Secret
from weft.mesh.secret_use import counts


@pytest.mark.parametrize(
    ("type_", "does"),
    [
        ("helm.sh/release.v1", False),
        ("kubernetes.io/dockerconfigjson", False),
        ("bootstrap.kubernetes.io/token", False),
        ("kubernetes.io/tls", True),
        ("Opaque", True),
        ("", True),
        ("example.com/own", True),
    ],
)
def test_only_those_that_may_hold_certificates(type_: str, does: bool) -> None:
    assert counts(Secret(type=type_)) is does
