"""Extension providers of the MeshConfig: whatever stands there, nothing raises."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.k8s.core_v1 import ConfigMap
from weft.mesh.extension_providers import authorizers
from weft.mesh.findings import Findings
from weft.mesh.model import Authorizer, CheckedBody
from weft.mesh.model import StringMatch as Text

HTTP = {
    "service": "shop/authz.shop.svc.cluster.local", "port": 80, "timeout": "2s", "failOpen": True,
    "statusOnError": "503", "pathPrefix": "/check",
    "includeRequestHeadersInCheck": ["X-User", "x-*"],
    "includeAdditionalHeadersInCheck": {"X-From": "mesh"}, "headersToUpstreamOnAllow": ["*-id"],
    "includeRequestBodyInCheck": {"maxRequestBytes": 10, "allowPartialMessage": True},
}  # fmt: skip


def read(*providers: Any) -> tuple[tuple[Authorizer, ...], list[str]]:
    report = Findings()
    found = authorizers(ConfigMap(), {"extensionProviders": list(providers)}, "data.mesh", report)
    return found, [d.message for d in report.all()]


def test_all_fields_of_a_provider() -> None:
    (one,), problems = read({"name": "a", "envoyExtAuthzHttp": HTTP})
    assert one == Authorizer(
        "a", grpc=False, host="authz.shop.svc.cluster.local", port=80, timeout=2.0, fail_open=True,
        status_on_error=503, body=CheckedBody(10, partial=True), path_prefix="/check",
        request_headers=(Text("exact", "x-user"), Text("prefix", "x-")),
        added_headers=(("x-from", "mesh"),), upstream_headers=(Text("suffix", "-id"),),
    )  # fmt: skip
    assert not problems


def test_what_is_wrong_is_told_and_what_cannot_be_asked_is_left_out() -> None:
    grpc = {"service": "a.b", "port": 9000, "pathPrefix": "/x", "timeout": "soon"}
    found, problems = read(
        {"name": "a", "envoyExtAuthzGrpc": grpc},
        {"name": "b", "envoyExtAuthzGrpc": {"service": "a.b"}},
        {"name": "c", "zipkin": {"service": "z"}},
    )
    assert [(a.name, a.grpc, a.timeout, a.status_on_error) for a in found] == [
        ("a", True, 600, 403)
    ]
    assert len(problems) == 3


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(sorted(HTTP)), ANYTHING), ANYTHING)
def test_nothing_raises(settings: dict[str, Any], other: Any) -> None:
    read({"name": "a", "envoyExtAuthzHttp": {**HTTP, **settings}}, other)
    read({"name": "a", "envoyExtAuthzGrpc": settings}, {"name": other, "envoyExtAuthzHttp": other})
