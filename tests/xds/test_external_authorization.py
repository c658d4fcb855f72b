"""How authorizers are asked, in Envoy's words."""

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2

from weft.mesh.model import AccessPolicy, AccessRule, Authorizer, CheckedBody, StringMatch
from weft.xds.external_authorization import asking_configs, authorizer_configuration


def configuration(authorizer: Authorizer) -> ext_authz_pb2.ExtAuthz:
    made = extension_pb2.TypedExtensionConfig.FromString(authorizer_configuration(authorizer).body)
    found = ext_authz_pb2.ExtAuthz()
    assert made.typed_config.Unpack(found)
    return found


def test_over_http() -> None:
    made = configuration(
        Authorizer(
            "a", grpc=False, host="h", port=80, destination="c", timeout=2, body=CheckedBody(10),
            status_on_error=503, request_headers=(StringMatch("prefix", "x-"),),
        )
    )  # fmt: skip
    assert made.http_service.server_uri.cluster == "c"
    assert made.http_service.server_uri.timeout.seconds == 2
    assert made.with_request_body.max_request_bytes == 10
    assert made.status_on_error.code == 503
    assert made.allowed_headers.patterns[0].prefix == "x-"
    assert not made.failure_mode_allow


def test_who_is_nowhere_lets_nobody_in() -> None:
    made = configuration(Authorizer("a", grpc=True, host="h", port=80))
    assert made.grpc_service.envoy_grpc.cluster_name == "blackhole"
    assert not made.failure_mode_allow


def test_policies_turn_on_the_filters_that_they_need() -> None:
    rule = (AccessRule(),)
    policies = (
        AccessPolicy("n/a", "custom", rule, provider="p"),
        AccessPolicy("n/b", "audit", rule),
        AccessPolicy("n/c", "deny", rule, dry_run=True),
        AccessPolicy("n/d", "deny", rule),
        AccessPolicy("n/e", "custom", rule, dry_run=True, provider="q"),
    )
    assert sorted(asking_configs(policies)) == [
        "weft.access.audit", "weft.access.trial", "weft.custom.ask|p", "weft.custom.match|p",
    ]  # fmt: skip
