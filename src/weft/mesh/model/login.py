"""How callers from outside prove who they are at a gateway, besides tokens."""

from msgspec import Struct


class ApiKeys(Struct, frozen=True, gc=False):
    """A request must carry the key of a client."""

    credentials: tuple[tuple[str, str], ...] = ()
    """(client, key)."""
    headers: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    """Where keys are looked for, in this order."""
    client_header: str = ""
    """The request header that gets the client's name."""
    forward: bool = False
    """Whether the back end gets the key."""


class Oidc(Struct, frozen=True, gc=False):
    """Browsers are sent to an identity provider and get a session (OAuth 2 code flow, PKCE)."""

    authorization_url: str
    token_url: str
    token_destination: str
    """Through which the token endpoint is asked."""
    end_session_url: str
    client_id: str
    client_secret: str
    session_key: str
    """What cookies are signed and encrypted with."""
    redirect_path: str
    logout_path: str
    scopes: tuple[str, ...]
    forward: bool
    """Whether the access token goes on as `Authorization: Bearer`."""
    refresh: bool
    cookie_domain: str


class Login(Struct, frozen=True, gc=False):
    """What a route asks of callers; all of it."""

    name: str
    """`<namespace>/<name>` of the policy."""
    closed: bool = False
    """Something is missing: nobody gets in."""
    api_keys: ApiKeys | None = None
    users: str = ""
    """Lines `name:{SHA}digest`, one of which Basic credentials must fit."""
    oidc: Oidc | None = None
