"""How tokens are checked, in Envoy's words."""

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2

from weft.api.istio import security
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.mesh.authentication import authentications
from weft.mesh.findings import Findings
from weft.mesh.model import Authentication, TokenIssuer
from weft.xds.tokens import (
    ASKED_KEPT_MAX,
    Asked,
    remembered,
    tokens_configuration,
    with_earlier,
)


def test_claims_that_hold_several_values() -> None:
    rule = security.JWTRule(issuer="a", space_delimited_claims=("roles", "scope"))
    policy = security.RequestAuthentication(
        metadata=ObjectMeta(name="p", namespace="n"),
        spec=security.RequestAuthenticationSpec(jwt_rules=(rule,)),
    )
    asked = authentications((policy,), lambda *_: "", Findings()).of_pod("n", (), "")
    assert asked is not None
    assert asked.policies == ("n/p",)
    resource = tokens_configuration(Asked(destinations=(asked,)))
    config = config_pb2.JwtAuthentication()
    extension_pb2.TypedExtensionConfig.FromString(resource.body).typed_config.Unpack(config)
    (provider,) = config.providers.values()
    lists = provider.normalize_payload_in_metadata.space_delimited_claims
    assert list(lists) == ["scope", "permission", "roles"]


def test_what_was_asked_before_is_kept_for_the_routes_of_before() -> None:
    """Of the last few changes, and nothing twice."""
    earlier: tuple[Asked, ...] = ()
    for number in (*range(2 * ASKED_KEPT_MAX), 2 * ASKED_KEPT_MAX - 1):
        one = Authentication(f"{number:02}", (TokenIssuer(issuer=f"https://{number}"),))
        asked = Asked(destinations=(one,), joined=(("edge", one.name),))
        earlier = remembered(earlier, asked)
    kept = with_earlier(asked, earlier)
    names = [each.name for each in kept.destinations]
    assert names == [f"{number:02}" for number in range(ASKED_KEPT_MAX, 2 * ASKED_KEPT_MAX)]
    assert kept.joined == tuple(("edge", name) for name in names)
