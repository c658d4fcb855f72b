"""Health checks and their words."""

import pytest

from weft.api.errors import ApiError
from weft.apiserver.health import answer


def test_in_short_and_in_full() -> None:
    assert answer("/healthz", False, (), False) == (200, "ok")
    assert answer("/readyz", False, (), True) == (200, "ok")
    assert answer("/livez", True, (), False) == (
        200, "[+]ping ok\n[+]log ok\n[+]etcd ok\nlivez check passed\n",
    )  # fmt: skip


def test_not_ready_yet() -> None:
    found = answer("/readyz", False, (), False)
    assert found is not None
    assert found[0] == 500
    assert "[-]informer-sync failed: reason withheld\nreadyz check failed" in found[1]
    assert answer("/readyz", False, ("informer-sync",), False) == (200, "ok")
    shown = answer("/readyz", True, ("informer-sync",), False)
    assert shown is not None
    assert "[+]informer-sync excluded: ok" in shown[1]


def test_single_checks() -> None:
    assert answer("/readyz/ping", False, (), False) == (200, "ok")
    status, _ = answer("/readyz/informer-sync", False, (), False) or (0, "")
    assert status == 500
    with pytest.raises(ApiError):
        answer("/livez/nope", False, (), True)
    assert answer("/version", False, (), True) is None
