"""API keys, basic authentication and OpenID Connect at gateways, by Envoy's filters.

The filters are off but on routes that turn them on. Keys and users stand in the routes; the login
at a provider is a filter for each policy, whose configuration is a resource of its own (ECDS).
"""

import hashlib
from collections.abc import Iterable

from envoy.config.core.v3 import (
    base_pb2,
    config_source_pb2,
    extension_pb2,
    http_uri_pb2,
)
from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.filters.http.api_key_auth.v3 import api_key_auth_pb2 as key_pb2
from envoy.extensions.filters.http.basic_auth.v3 import basic_auth_pb2 as basic_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.oauth2.v3 import oauth_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.type.matcher.v3 import path_pb2, string_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import BoolValue

from weft.mesh.model import ApiKeys, Login, Oidc
from weft.xds.proto import ADS, Proto, any_of, duration, resource
from weft.xds.resource import EXTENSION, SECRET, Resource

KEY_FILTER = "weft.login.api_key"
BASIC_FILTER = "weft.login.basic"
PREFLIGHT_FILTER = "weft.login.cors"
"""Before the others, for preflights carry no credentials (Fetch standard, section 4.8): those of
known origins are answered, and pages can read that somebody has to log in."""
NOBODY = "nobody:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA="
"""A user whose password nobody knows."""
TOKEN_SECONDS = 5.0
"""For getting tokens."""
SUFFIX_BYTES = 4
_TYPE = "type.googleapis.com/envoy.extensions.filters.http.oauth2.v3.OAuth2"
_COOKIES = (
    "bearer_token", "oauth_hmac", "oauth_expires", "id_token", "refresh_token", "oauth_nonce",
    "code_verifier",
)  # fmt: skip


def oidc_filter(name: str) -> str:
    return f"weft.login.oidc|{name}"


def login_filters(names: Iterable[str]) -> list[Proto]:
    """The HTTP filters of a gateway, all of them off."""
    basic = basic_pb2.BasicAuth(users=base_pb2.DataSource(inline_string=NOBODY))
    nobody = key_pb2.ApiKeyAuth(key_sources=[key_pb2.KeySource(header="x-api-key")])
    cors = any_of(cors_pb2.Cors())
    found = [
        hcm_pb2.HttpFilter(name=PREFLIGHT_FILTER, typed_config=cors, disabled=True),
        hcm_pb2.HttpFilter(name=KEY_FILTER, typed_config=any_of(nobody), disabled=True),
        hcm_pb2.HttpFilter(name=BASIC_FILTER, typed_config=any_of(basic), disabled=True),
    ]
    for name in names:
        found.append(
            hcm_pb2.HttpFilter(
                name=oidc_filter(name),
                disabled=True,
                config_discovery=config_source_pb2.ExtensionConfigSource(
                    config_source=ADS, type_urls=[_TYPE]
                ),
            )
        )
    return found


def ask_for_login(route: Proto, login: Login) -> None:
    """Make an Envoy route ask callers for what the policy says."""
    configs = route.typed_per_filter_config
    if login.closed:
        users = base_pb2.DataSource(inline_string=NOBODY)
        configs[BASIC_FILTER].CopyFrom(any_of(basic_pb2.BasicAuthPerRoute(users=users)))
        return
    if login.api_keys is not None:
        configs[KEY_FILTER].CopyFrom(any_of(_api_keys(login.api_keys)))
    if login.users:
        users = base_pb2.DataSource(inline_string=login.users)
        configs[BASIC_FILTER].CopyFrom(any_of(basic_pb2.BasicAuthPerRoute(users=users)))
    if login.oidc is not None:
        on = route_pb2.FilterConfig(config=Any())
        configs[oidc_filter(login.name)].CopyFrom(any_of(on))


def _api_keys(keys: ApiKeys) -> Proto:
    made = key_pb2.ApiKeyAuthPerRoute()
    for client, key in keys.credentials:
        made.credentials.add(client=client, key=key)
    for header in keys.headers:
        made.key_sources.add(header=header)
    for query in keys.queries:
        made.key_sources.add(query=query)
    for cookie in keys.cookies:
        made.key_sources.add(cookie=cookie)
    made.forwarding.header = keys.client_header
    made.forwarding.hide_credentials = not keys.forward
    return made


def login_resources(login: Login) -> list[Resource]:
    """The filter of a login at a provider, and its secrets."""
    if login.oidc is None:
        return []
    name = oidc_filter(login.name)
    config = oauth_pb2.OAuth2(config=_oauth(login.name, login.oidc))
    wrapped = extension_pb2.TypedExtensionConfig(name=name, typed_config=any_of(config))
    return [
        _secret(f"{name}|client", login.oidc.client_secret),
        _secret(f"{name}|session", login.oidc.session_key),
        resource(EXTENSION, name, wrapped),
    ]


def _secret(name: str, text: str) -> Resource:
    made = secret_pb2.Secret(name=name)
    made.generic_secret.secret.inline_string = text
    return resource(SECRET, name, made)


def _oauth(name: str, oidc: Oidc) -> Proto:
    config = oauth_pb2.OAuth2Config(
        token_endpoint=http_uri_pb2.HttpUri(
            uri=oidc.token_url, cluster=oidc.token_destination, timeout=duration(TOKEN_SECONDS)
        ),
        authorization_endpoint=oidc.authorization_url,
        end_session_endpoint=oidc.end_session_url,
        credentials=_credentials(name, oidc),
        redirect_uri=f"%REQ(x-forwarded-proto)%://%REQ(:authority)%{oidc.redirect_path}",
        redirect_path_matcher=_path(oidc.redirect_path),
        signout_path=_path(oidc.logout_path),
        forward_bearer_token=oidc.forward,
        auth_scopes=oidc.scopes,
        use_refresh_token=BoolValue(value=oidc.refresh),
    )
    # Programs in pages cannot follow to another site: they are told 401.
    asked = string_pb2.StringMatcher(exact="XMLHttpRequest")
    config.deny_redirect_matcher.add(name="x-requested-with", string_match=asked)
    lax = oauth_pb2.CookieConfig.SameSite.Value("LAX")
    for cookie in _COOKIES:
        getattr(config.cookie_configs, f"{cookie}_cookie_config").same_site = lax
    return config


def _credentials(name: str, oidc: Oidc) -> Proto:
    filter_name = oidc_filter(name)
    made = oauth_pb2.OAuth2Credentials(
        client_id=oidc.client_id,
        token_secret=secret_pb2.SdsSecretConfig(name=f"{filter_name}|client", sds_config=ADS),
        hmac_secret=secret_pb2.SdsSecretConfig(name=f"{filter_name}|session", sds_config=ADS),
        cookie_domain=oidc.cookie_domain,
    )
    # Sessions of several policies on one host are kept apart.
    suffix = hashlib.blake2b(name.encode(), digest_size=SUFFIX_BYTES).hexdigest()
    for cookie in _COOKIES:
        setattr(made.cookie_names, cookie, f"weft_{cookie}_{suffix}")
    return made


def _path(path: str) -> Proto:
    return path_pb2.PathMatcher(path=string_pb2.StringMatcher(exact=path))
