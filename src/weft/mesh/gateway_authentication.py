"""AuthenticationPolicies: what callers from outside must show on which routes."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.k8s.core_v1 import Secret
from weft.api.weft import policy_v1alpha1 as weft
from weft.mesh import findings as f
from weft.mesh.access import destination_of
from weft.mesh.findings import Findings
from weft.mesh.issuer_keys import host_and_port
from weft.mesh.model import ApiKeys, GatewayListener, Login, Oidc, RouteTable
from weft.mesh.rate_limits import applies_to

HTPASSWD, CLIENT_SECRET = ".htpasswd", "client-secret"
"""Keys of Secrets, as Envoy Gateway names them."""
KEY_HEADER = "x-api-key"
CALLBACK, LOGOUT = "/oauth2/callback", "/logout"
_USER = re.compile(r"[^:\s]+:\{SHA\}[A-Za-z0-9+/]{27}=")
"""Envoy takes no other digest."""
Problem = Callable[[str, str], None]
"""(field, what is wrong)."""


class Guarded(Struct, frozen=True):
    """Route tables that say what callers must show."""

    tables: tuple[RouteTable, ...]
    findings: tuple[Diagnostic, ...] = ()


def with_logins(
    tables: tuple[RouteTable, ...],
    gateways: tuple[GatewayListener, ...],
    policies: Sequence[weft.AuthenticationPolicy],
    secrets: Sequence[Secret],
    destinations: tuple[str, ...],
) -> Guarded:
    """Route tables in which routes have what policies ask. A policy that lacks something lets
    nobody in."""
    report = Findings()
    known = {(s.metadata.namespace, s.metadata.name): s for s in secrets}
    for policy in policies:
        target = policy.spec.target_ref
        if target is None:
            continue
        login = _login(policy, known, frozenset(destinations), report)
        applies = applies_to(policy.metadata.namespace, target, gateways)
        taken: set[str] = set()
        changed = tuple(_table(table, login, applies, taken) for table in tables)
        for other in sorted(taken):
            report.add(f.LOGIN_TAKEN, policy, "spec.targetRef", other=other)
        if changed == tables and not taken:
            report.add(
                f.LOGIN_WITHOUT_ROUTES, policy, "spec.targetRef", target=target.kind,
                name=target.name,
            )  # fmt: skip
        tables = changed
    return Guarded(tables, report.all())


def _table(
    table: RouteTable, login: Login, applies: Callable[..., bool], taken: set[str]
) -> RouteTable:
    hosts = []
    for host in table.virtual_hosts:
        routes = []
        for route in host.routes:
            # Of gateways only: their tables look at hosts without ports.
            wanted = table.ignore_port and applies(table.name, host, route)
            if wanted and route.login is not None:
                taken.add(route.login.name)
            routes.append(replace(route, login=login) if wanted and not route.login else route)
        same = all(a is b for a, b in zip(routes, host.routes, strict=True))
        hosts.append(host if same else replace(host, routes=tuple(routes)))
    same = all(a is b for a, b in zip(hosts, table.virtual_hosts, strict=True))
    return table if same else replace(table, virtual_hosts=tuple(hosts))


def _login(
    policy: weft.AuthenticationPolicy,
    secrets: dict[tuple[str, str], Secret],
    destinations: frozenset[str],
    report: Findings,
) -> Login:
    spec, own = policy.spec, policy.metadata.namespace
    lacking: list[str] = []

    def problem(field: str, text: str) -> None:
        lacking.append(text)
        report.add(f.LOGIN_INCOMPLETE, policy, f"spec.{field}", problem=text)

    def values(ref: weft.SecretName | None, field: str) -> dict[str, str]:
        name = ref.name if ref else ""
        secret = secrets.get((own, name))
        if secret is None:
            problem(field, f"there is no Secret `{name}`")
        return _values(secret) if secret is not None else {}

    keys = _api_keys(spec.api_key, values, problem) if spec.api_key else None
    users = _users(values(spec.basic.secret, "basic.secret"), problem) if spec.basic else ""
    oidc = None
    if spec.oidc is not None:
        name = f"{own}/{policy.metadata.name}"
        found = values(spec.oidc.client_secret, "oidc.clientSecret").get(CLIENT_SECRET, "").strip()
        oidc = _oidc(name, spec.oidc, found, destinations, problem)
    name = f"{own}/{policy.metadata.name}"
    if lacking or not (keys or users or oidc):
        return Login(name, closed=True)
    return Login(name, api_keys=keys, users=users, oidc=oidc)


def _values(secret: Secret) -> dict[str, str]:
    found = dict(secret.string_data)
    for name, encoded in secret.data.items():
        try:
            found.setdefault(name, base64.b64decode(encoded, validate=True).decode())
        except (binascii.Error, ValueError):
            continue
    return found


def _api_keys(
    wanted: weft.ApiKeyAuthentication,
    values: Callable[[weft.SecretName | None, str], dict[str, str]],
    problem: Problem,
) -> ApiKeys:
    clients: dict[str, str] = {}
    for index, ref in enumerate(wanted.secrets):
        found = values(ref, f"apiKey.secrets[{index}]")
        for client, key in sorted((client, key.strip()) for client, key in found.items()):
            if not key or key in clients:
                problem(f"apiKey.secrets[{index}]", f"the key of `{client}` is empty or another's")
            clients.setdefault(key, client)
    headers = tuple(name.lower() for name in wanted.headers)
    if not (headers or wanted.query_parameters or wanted.cookies):
        headers = (KEY_HEADER,)
    if not clients:
        problem("apiKey.secrets", "the Secrets hold no key")
    return ApiKeys(
        credentials=tuple((client, key) for key, client in clients.items()),
        headers=headers,
        queries=wanted.query_parameters,
        cookies=wanted.cookies,
        client_header=wanted.client_header.lower(),
        forward=bool(wanted.forward),
    )


def _users(values: dict[str, str], problem: Problem) -> str:
    lines = [line.strip() for line in values.get(HTPASSWD, "").splitlines() if line.strip()]
    good = [line for line in lines if _USER.fullmatch(line)]
    names = [line.partition(":")[0] for line in good]
    if not good or len(good) < len(lines) or len(set(names)) < len(names):
        text = f"`{HTPASSWD}` must have a line `name:{{SHA}}digest` for each user, and no other"
        problem("basic.secret", text)
        return ""
    return "\n".join(good)


def _oidc(
    name: str,
    wanted: weft.OidcAuthentication,
    secret: str,
    destinations: frozenset[str],
    problem: Problem,
) -> Oidc | None:
    if not secret:
        problem("oidc.clientSecret", f"the Secret has no `{CLIENT_SECRET}`")
        return None
    host, port = host_and_port(wanted.token_endpoint)
    destination = destination_of(destinations, host, port)
    if not destination:
        problem("oidc.tokenEndpoint", f"no Service or ServiceEntry has `{host}` with port {port}")
        return None
    scopes = dict.fromkeys(("openid", *wanted.scopes))
    return Oidc(
        authorization_url=wanted.authorization_endpoint,
        token_url=wanted.token_endpoint,
        token_destination=destination,
        end_session_url=wanted.end_session_endpoint,
        client_id=wanted.client_id,
        client_secret=secret,
        # Stable, so that sessions outlive a restart; whoever knows it knows the client's secret.
        session_key=hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest(),
        redirect_path=wanted.redirect_path or CALLBACK,
        logout_path=wanted.logout_path or LOGOUT,
        scopes=tuple(scopes),
        forward=bool(wanted.forward_access_token),
        refresh=bool(wanted.refresh_token),
        cookie_domain=wanted.cookie_domain,
    )
