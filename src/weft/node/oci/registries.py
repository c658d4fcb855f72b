"""Where images are pulled from, and as whom: the file about registries, and pull secrets. Pure.

The file has the form of k3s' `registries.yaml`:

    mirrors:
      docker.io: {endpoint: ["https://mirror.example.com"]}
      "*": {endpoint: ["http://10.0.0.5:5000"]}
    configs:
      mirror.example.com:
        auth: {username: u, password: p}
        tls: {ca_file: /etc/ca.pem, insecure_skip_verify: false}

Pull secrets are matched as kubelet does it (`pkg/credentialprovider/keyring.go`).
"""

import base64
import binascii
import fnmatch
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import Struct, field

from weft.node.oci.references import DEFAULT_REGISTRY, Reference

ENDPOINTS_MAX = 16
"""Of one registry."""
_DOCKER_HUB = "registry-1.docker.io"
_DOCKER_NAMES = ("index.docker.io", _DOCKER_HUB, "registry.docker.io")
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


class Credentials(Struct, frozen=True):
    """Of one user. Never printed: `repr` shows no secret."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return []


class Auth(Struct, frozen=True):
    """As Docker's configuration file and k3s' have it."""

    username: str = ""
    password: str = ""
    auth: str = ""
    identity_token: str = field(default="", name="identity_token")
    identitytoken: str = ""

    def credentials(self) -> Credentials:
        """ValueError when `auth` is no base64 of `user:password`."""
        username, password = self.username, self.password
        if self.auth and not username:
            try:
                text = base64.b64decode(self.auth, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise ValueError("`auth` is no base64 of user:password") from None
            username, colon, password = text.rstrip("\0").partition(":")
            if not colon:
                raise ValueError("`auth` is no base64 of user:password")
        return Credentials(username, password, self.identity_token or self.identitytoken)

    def __repr__(self) -> str:
        return "Auth(...)"


class Tls(Struct, frozen=True):
    """How a registry is known."""

    ca_file: str = ""
    insecure_skip_verify: bool = False


class _Mirror(Struct, frozen=True, forbid_unknown_fields=True):
    endpoint: tuple[str, ...] = ()


class _Config(Struct, frozen=True, forbid_unknown_fields=True):
    auth: Auth | None = None
    tls: Tls = Tls()


class Registries(Struct, frozen=True, forbid_unknown_fields=True):
    """The file; empty without one."""

    mirrors: Mapping[str, _Mirror] = {}
    configs: Mapping[str, _Config] = {}


class Endpoint(Struct, frozen=True):
    """One place to ask."""

    url: str
    tls: Tls = Tls()
    credentials: tuple[Credentials, ...] = ()
    """To try in turn; then without any."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc


def read(text: str) -> Registries:
    """The file's meaning. ValueError says where it is wrong, without what stands there."""
    try:
        raw = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"registries file: no YAML{line}: {error.problem}") from None
    try:
        found = msgspec.convert(raw or {}, Registries)
    except msgspec.ValidationError as error:
        raise ValueError(f"registries file: {error}") from None
    for name, mirror in found.mirrors.items():
        if len(mirror.endpoint) > ENDPOINTS_MAX:
            raise ValueError(f"registries file: mirrors.{name}: more than {ENDPOINTS_MAX}")
        for url in mirror.endpoint:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
                raise ValueError(
                    f"registries file: mirrors.{name}.endpoint: write http(s)://HOST[:PORT],"
                    " credentials stand in `configs`"
                )
    for name, config in found.configs.items():
        if config.auth is not None:
            try:
                config.auth.credentials()
            except ValueError as error:
                raise ValueError(f"registries file: configs.{name}.auth: {error}") from None
    return found


def endpoints(
    reference: Reference, registries: Registries, secrets: Iterable[tuple[str, Credentials]]
) -> tuple[Endpoint, ...]:
    """Where to ask for an image, in this order: mirrors, then the registry itself. `secrets` are
    credentials by what they are for; they are never shown to a mirror."""
    mirror = registries.mirrors.get(reference.registry) or registries.mirrors.get("*")
    urls = list(mirror.endpoint) if mirror is not None else []
    own = _own_urls(reference.registry)
    given = tuple(c for place, c in secrets if matches(place, reference))
    found = []
    for url in dict.fromkeys((*urls, *own)):
        host = urlsplit(url).netloc
        config = registries.configs.get(host)
        if config is None and url in own:
            config = registries.configs.get(reference.registry)
        kept = (config.auth.credentials(),) if config is not None and config.auth else ()
        mine = given if url in own or host == reference.registry else ()
        found.append(Endpoint(url.rstrip("/"), config.tls if config else Tls(), (*mine, *kept)))
    return tuple(found)


def _own_urls(registry: str) -> list[str]:
    """A registry on this machine may speak plain HTTP, as with Docker."""
    if registry == DEFAULT_REGISTRY:
        return [f"https://{_DOCKER_HUB}"]
    plain = [f"http://{registry}"] if _LOOPBACK.fullmatch(registry) else []
    return [f"https://{registry}", *plain]


# --- pull secrets


def secret_credentials(kind: str, data: Mapping[str, bytes]) -> list[tuple[str, Credentials]]:
    """What a Secret of this type holds, by what it is for. ValueError without its content."""
    if kind == "kubernetes.io/dockerconfigjson":
        raw = data.get(".dockerconfigjson", b"{}")
        shape: type = dict[str, msgspec.Raw]
        try:
            raw = bytes(msgspec.json.decode(raw, type=shape).get("auths", msgspec.Raw(b"{}")))
        except msgspec.MsgspecError:
            raise ValueError(".dockerconfigjson is no JSON object") from None
    elif kind == "kubernetes.io/dockercfg":
        raw = data.get(".dockercfg", b"{}")
    else:
        return []
    try:
        entries = msgspec.json.decode(raw, type=dict[str, Auth])
    except msgspec.MsgspecError:
        raise ValueError("its `auths` are not registries with credentials") from None
    found = [(place, entry.credentials()) for place, entry in entries.items()]
    return sorted(found, key=lambda pair: len(_place(pair[0])), reverse=True)


def _place(text: str) -> str:
    """`https://index.docker.io/v1/` and its kin, as host and path."""
    bare = text.partition("://")[2] or text
    host, _, path = bare.partition("/")
    path = path.rstrip("/")
    if path in ("v1", "v2"):
        path = ""
    if host in _DOCKER_NAMES:
        host = DEFAULT_REGISTRY
    return f"{host}/{path}" if path else host


def matches(place: str, reference: Reference) -> bool:
    """Whether credentials for `place` (host parts may be globs, a path is a prefix) are for it."""
    host, _, path = _place(place).partition("/")
    wanted, given = reference.registry.partition(":"), host.partition(":")
    if wanted[2] != given[2]:
        return False
    names, globs = wanted[0].split("."), given[0].split(".")
    if len(names) != len(globs):
        return False
    if not all(fnmatch.fnmatchcase(n, g) for n, g in zip(names, globs, strict=True)):
        return False
    return not path or reference.path == path or reference.path.startswith(path)
