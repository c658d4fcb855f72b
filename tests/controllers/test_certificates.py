"""When CertificateSigningRequests are removed."""

import base64

import pytest

from weft.api.k8s.certificates_v1 import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestStatus,
)
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.controllers import certificates
from weft.lib.timefmt import rfc3339
from weft.pki.ca import Authority
from weft.runtime.cache import Cache
from weft.runtime.plan import Delete, Key

HOUR = 3600.0
NOW = 1_800_000_000.0


def removed(age: float, condition: str = "", certificate: str = "") -> bool:
    """Whether a request of this age is; the condition is as old as the request."""
    at = rfc3339(NOW - age)
    held = CertificateSigningRequestCondition(type=condition, status="True", last_update_time=at)
    encoded = base64.b64encode(certificate.encode()).decode()
    status = CertificateSigningRequestStatus(
        certificate=encoded, conditions=(held,) if condition else ()
    )
    metadata = ObjectMeta(name="r", uid="u", creation_timestamp=at)
    cache = Cache((CertificateSigningRequest,))
    cache.put(CertificateSigningRequest(metadata=metadata, status=status))
    plan = certificates.plan(cache, Key("", "r"), NOW)
    if not plan.actions:
        assert plan.requeue_after
        return False
    assert plan.actions == (Delete(CertificateSigningRequest, "", "r", "u"),)
    return True


@pytest.mark.parametrize("condition", ["Denied", "Failed"])
def test_decided_ones_after_an_hour(condition: str) -> None:
    assert not removed(HOUR - 10, condition)
    assert removed(HOUR + 10, condition)


@pytest.mark.parametrize("condition", ["", "Approved"])
def test_forgotten_ones_after_a_day(condition: str) -> None:
    assert not removed(23 * HOUR, condition)
    assert removed(25 * HOUR, condition)


def test_issued_ones_after_an_hour_or_when_the_certificate_ends() -> None:
    ca = Authority.create("td", NOW - HOUR)
    long, short = (ca.client("x", (), NOW - HOUR, s).certificate for s in (2 * HOUR, HOUR - 600))
    assert not removed(HOUR - 10, "Approved", long)
    assert removed(HOUR + 10, "Approved", long)
    assert removed(HOUR - 10, "Approved", short)
