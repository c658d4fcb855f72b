"""Logins at gateways, in Envoy's words; the whole is tried in tests/e2e/test_logins.py."""

from envoy.config.core.v3 import extension_pb2
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.config.route.v3 import route_pb2 as table_pb2
from envoy.extensions.filters.http.oauth2.v3 import oauth_pb2

from weft.mesh.model import ApiKeys, Login, Oidc
from weft.xds.logins import NOBODY, PREFLIGHT_FILTER, ask_for_login, login_filters, login_resources
from weft.xds.readable import readable
from weft.xds.resource import EXTENSION, ROUTES, SECRET, Resource

OIDC = Oidc(
    "https://idp/authorize", "https://idp/token", "token", "", "shop", "s3cret", "key",
    "/callback", "/logout", ("openid",), forward=True, refresh=False, cookie_domain="",
)  # fmt: skip


def test_a_login_at_a_provider_is_a_filter_and_its_secrets() -> None:
    made = login_resources(Login("n/p", oidc=OIDC))
    assert [r.type_url for r in made] == [SECRET, SECRET, EXTENSION]
    wrapped = extension_pb2.TypedExtensionConfig.FromString(made[2].body)
    found = oauth_pb2.OAuth2()
    assert wrapped.typed_config.Unpack(found)
    assert b"s3cret" not in made[2].body
    assert found.config.forward_bearer_token
    assert found.config.redirect_path_matcher.path.exact == "/callback"
    other = login_resources(Login("n/q", oidc=OIDC))[2].body
    names = found.config.credentials.cookie_names
    assert names.bearer_token.encode() not in other, "sessions are kept apart"
    assert login_resources(Login("n/p", users="a:b")) == []


def test_a_closed_login_lets_nobody_in() -> None:
    route = route_pb2.Route()
    ask_for_login(route, Login("n/p", closed=True, api_keys=ApiKeys()))
    (config,) = route.typed_per_filter_config.values()
    assert NOBODY.encode() in config.value


def test_all_parts_are_asked_for() -> None:
    route = route_pb2.Route()
    keys = ApiKeys((("shop", "top-secret"),), headers=("x-key",))
    ask_for_login(route, Login("n/p", api_keys=keys, users="a:{SHA}x", oidc=OIDC))
    names = {each.name for each in login_filters(["n/p"])}
    assert set(route.typed_per_filter_config) == names - {PREFLIGHT_FILTER}
    body = route_pb2.VirtualHost(name="h", domains=["*"], routes=[route])
    assert b"top-secret" in body.SerializeToString()


def test_dumps_for_people_show_no_keys() -> None:
    route = route_pb2.Route()
    keys = ApiKeys((("shop", "top-secret"),), headers=("x-key",))
    ask_for_login(route, Login("n/p", api_keys=keys, users="a:{SHA}hidden"))
    host = route_pb2.VirtualHost(name="h", domains=["*"], routes=[route])
    body = table_pb2.RouteConfiguration(name="t", virtual_hosts=[host]).SerializeToString()
    shown = str(readable(Resource(ROUTES, "t", "", body)))
    assert "x-key" in shown
    assert "top-secret" not in shown
    assert "hidden" not in shown
