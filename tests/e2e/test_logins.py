"""Who gets in at a gateway: API keys, basic authentication, login at an OpenID provider."""

import base64
import hashlib
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import yaml

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS, fresh
from tests.e2e.instance import Instance, ask, ask_all, wait_for
from tests.e2e.test_authorization import Applied, policy, settled
from tests.e2e.tokens import Issuer
from weft.mesh.issuer_keys import DOCUMENT

pytestmark = [pytest.mark.e2e, pytest.mark.root]

PASSWORD = base64.b64encode(hashlib.sha1(b"open sesame").digest()).decode()
OBJECTS = f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: oidc, labels: {{app: oidc}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: oidc:1
    env: [{{name: EXPIRES, value: "4"}}]
    ports: [{{name: http, containerPort: 8080}}]
    readinessProbe: {{tcpSocket: {{port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{shop: key-of-shop, bank: key-of-bank}}
---
apiVersion: v1
kind: Secret
metadata: {{name: users}}
stringData: {{.htpasswd: "ann:{{SHA}}{PASSWORD}"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: client}}
stringData: {{client-secret: s3cret}}
"""
ISSUER_URL = "http://issuer.default.svc.cluster.local"
ISSUER = """
---
apiVersion: v1
kind: Pod
metadata: {name: issuer, labels: {app: issuer}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: echo:1
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
    command: [python3, -c]
    args:
    - |
      from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
      pages = {}
      class Pages(BaseHTTPRequestHandler):
          def do_PUT(self):
              pages[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
              self.send_response(204)
              self.end_headers()
          def do_GET(self):
              page = pages.get(self.path)
              self.send_response(404 if page is None else 200)
              self.send_header("Content-Length", str(len(page or b"")))
              self.end_headers()
              self.wfile.write(page or b"")
          def log_message(self, *_):
              pass
      ThreadingHTTPServer(("", 8080), Pages).serve_forever()
"""
"""Serves what is put there."""
OIDC = """
  authorizationEndpoint: http://oidc.example/authorize
  tokenEndpoint: http://oidc.default.svc.cluster.local/token
  clientID: shop
  clientSecret: {name: client}
  scopes: [profile]
  forwardAccessToken: true
  refreshToken: true
"""


def login(name: str, spec: str) -> str:
    made = policy(
        name, f"targetRef: {{kind: Gateway, name: {name}}}\n{spec}", "AuthenticationPolicy"
    )
    return made.replace("security.istio.io/v1", "policy.weft.dev/v1alpha1")


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        instance.image("oidc:1", APPS / "oidc", sys.executable, "app.py")
        instance.up(options=("--jwks-refresh", "2s"))
        text = m.echo("api") + m.service("api") + m.service("oidc") + OBJECTS
        text += m.service("issuer", extra="publishNotReadyAddresses: true") + ISSUER
        text += m.gateway("issuer", "issuer.example")
        text += m.routes("issuer", m.to("issuer"), "issuer.example", "issuer")
        for name in ("keys", "basic", "web", "open"):
            text += m.gateway(name, f"{name}.example")
            text += m.routes(name, m.to("api"), f"{name}.example", name)
        text += m.gateway("oidc", "oidc.example")
        text += m.routes("oidc-edge", m.to("oidc"), "oidc.example", "oidc")
        instance.weft("apply", "-f", "-", stdin=text)
        for name in ("api", "oidc", "issuer"):
            instance.wait_ready(f"app={name}", 1)
        yield instance


def test_api_keys(weft: Instance) -> None:
    def get(path: str = "/x", **headers: str) -> tuple[int, str]:
        return ask(weft, path, "keys.example", **headers)

    places = "headers: [x-key], queryParameters: [key], clientHeader: x-client"
    spec = f"{{secrets: [{{name: keys}}], {places}}}"
    with Applied(weft, login("keys", f"apiKey: {spec}")):
        settled(lambda: get()[0], 401, "a key is needed")
        assert get(**{"x-key": "another"})[0] == 401
        assert get("/x?key=key-of-ban")[0] == 401
        assert get("/x?key=key-of-bank")[0] == 200
        status, body = get(**{"x-key": "key-of-shop", "x-client": "bank"})
        received = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
        assert (status, received["x-client"]) == (200, "shop")
        assert "x-key" not in received, "the back end does not get the key"
        assert ask(weft, "/x", "open.example")[0] == 200, "other gateways ask nothing"
        said = weft.weft("why", "--gateway", "80", "http://keys.example/x")
        assert "AuthenticationPolicy default/keys: an API key in x-key or key" in said
        assert "key-of" not in said
    settled(lambda: get()[0], 200, "open again")


def test_preflights_carry_no_credentials_and_are_answered(weft: Instance) -> None:
    page = "http://page.example"
    cors = f"""
- corsPolicy: {{allowOrigins: [{{exact: "{page}"}}], allowMethods: [PUT], maxAge: 1h}}
  route: [{{destination: {{host: api}}}}]
"""
    asking = {"Origin": page, "Access-Control-Request-Method": "PUT"}

    def preflight(origin: str = page) -> tuple[int, str, dict[str, str]]:
        headers = {**asking, "Origin": origin}
        return ask_all(weft, "/x", "keys.example", method="OPTIONS", headers=headers)

    weft.weft("apply", "-f", "-", stdin=m.routes("keys", cors, "keys.example", "keys"))
    with Applied(weft, login("keys", "apiKey: {secrets: [{name: keys}]}")):
        settled(lambda: ask(weft, "/x", "keys.example")[0], 401, "a key is needed")
        settled(lambda: preflight()[0], 200, "a preflight is answered")
        assert preflight()[2]["access-control-allow-methods"] == "PUT"
        words = [word for name, value in asking.items() for word in ("-H", f"{name}: {value}")]
        said = weft.weft("why", "--gateway", "80", "OPTIONS", "http://keys.example/x", *words)
        assert "the proxy answers preflights" in said
        assert preflight("http://other.example")[0] == 401, "other pages get no further"
        assert ask(weft, "/x", "keys.example", method="OPTIONS")[0] == 401
        status, _, headers = ask_all(weft, "/x", "keys.example", headers={"Origin": page})
        assert (status, headers["access-control-allow-origin"]) == (401, page)
    weft.weft("apply", "-f", "-", stdin=m.routes("keys", m.to("api"), "keys.example", "keys"))


def test_without_its_secret_nobody_gets_in(weft: Instance) -> None:
    with Applied(weft, login("keys", "apiKey: {secrets: [{name: nothing}]}")):
        settled(lambda: ask(weft, "/x", "keys.example")[0], 401, "closed")
        assert "WEFT2624" in weft.weft("status")


def test_basic_authentication(weft: Instance) -> None:
    def get(credentials: str = "") -> int:
        encoded = base64.b64encode(credentials.encode()).decode()
        headers = {"Authorization": f"Basic {encoded}"} if credentials else {}
        return ask(weft, "/x", "basic.example", **headers)[0]

    with Applied(weft, login("basic", "basic: {secret: {name: users}}")):
        settled(get, 401, "a password is needed")
        assert get("ann:open") == 401
        assert get("bob:open sesame") == 401
        assert get("nobody:") == 401
        assert get("ann:open sesame") == 200


class Browser:
    """Keeps cookies as browsers do, those of TLS too."""

    def __init__(self, weft: Instance) -> None:
        url = urlsplit(weft.gateway())
        self.address = (url.hostname or "", url.port)
        self.cookies: dict[str, dict[str, str]] = {}
        self.set: list[str] = []

    def get(self, url: str, **headers: str) -> tuple[int, str, str]:
        """Status, Location, body."""
        parts = urlsplit(url)
        own = self.cookies.setdefault(parts.netloc, {})
        cookies = "; ".join(f"{name}={value}" for name, value in own.items())
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc, **({"Cookie": cookies} if cookies else {}), **headers}
        connection.request("GET", path, headers=sent)
        answer = connection.getresponse()
        self.set = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        for line in self.set:
            for name, morsel in SimpleCookie(line).items():
                gone = morsel["max-age"] == "0" or "1970" in morsel["expires"]
                if gone or not morsel.value or morsel.value == "deleted":
                    own.pop(name, None)
                else:
                    own[name] = morsel.value
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.getheader("location") or "", body

    def login(self, page: str) -> tuple[int, str, str]:
        """Follow redirects to the provider and back."""
        answer = self.get(page)
        for _ in range(6):
            if answer[0] not in (301, 302, 303):
                break
            answer = self.get(answer[1])
        return answer


PAGE = "http://web.example/page?q=1"


@pytest.fixture(scope="module")
def shop(weft: Instance) -> Iterator[Instance]:
    believes = """
selector: {matchLabels: {app: api}}
jwtRules:
- issuer: http://oidc.example
  audiences: [shop]
  jwksUri: http://oidc.default.svc.cluster.local/keys
  forwardOriginalToken: true
"""
    tokens = policy("provider", believes, "RequestAuthentication")
    with Applied(weft, login("web", f"oidc:{OIDC}"), tokens):
        settled(lambda: ask(weft, "/page", "web.example")[0], 302, "a session is needed")
        yield weft


def test_login_with_state_nonce_and_pkce(shop: Instance) -> None:
    browser = Browser(shop)
    status, where, _ = browser.get(PAGE)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
    assert (status, where.partition("?")[0]) == (302, "http://oidc.example/authorize")
    assert asked["response_type"] == "code"
    assert set(asked["scope"].split()) == {"openid", "profile"}
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == "http://web.example/oauth2/callback"
    status, _, body = browser.login(PAGE)
    assert status == 200, body
    seen = json.loads(body)
    assert seen["path"] == "/page?q=1"
    token = {k.lower(): v for k, v in seen["headers"].items()}["authorization"]
    assert token.startswith("Bearer ")
    claims = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == "ann"


def test_cookies_are_closed_to_scripts_and_other_sites(shop: Instance) -> None:
    browser = Browser(shop)
    _, where, _ = browser.get(PAGE)
    _, where, _ = browser.get(where)
    browser.get(where)
    kept = [line.lower() for line in browser.set if "deleted" not in line]
    assert kept
    for line in kept:
        assert {"secure", "httponly", "samesite=lax"} <= set(line.split(";"))


def test_a_forged_or_stolen_answer_makes_no_session(shop: Instance) -> None:
    """An attacker's code in a victim's browser, another state, a code without its browser."""
    attacker, victim = Browser(shop), Browser(shop)
    _, where, _ = attacker.get(PAGE)
    _, callback, _ = attacker.get(where)
    victim.get(PAGE)
    assert victim.get(callback)[0] in (400, 401, 403)
    query = {k: v[0] for k, v in parse_qs(urlsplit(callback).query).items()}
    forged = f"http://web.example/oauth2/callback?{urlencode(query | {'state': 'e30='})}"
    assert attacker.get(forged)[0] in (400, 401, 403)
    assert attacker.get(callback)[0] == 302
    assert attacker.get(PAGE)[0] == 200
    assert Browser(shop).get(callback)[0] in (400, 401, 403), "without the browser's own cookies"


def test_a_code_is_good_once(shop: Instance) -> None:
    """A browser that kept all cookies of its login but the session's sends the answer again."""
    browser = Browser(shop)
    _, where, _ = browser.get(PAGE)
    _, callback, _ = browser.get(where)
    before = dict(browser.cookies["web.example"])
    assert browser.get(callback)[0] == 302
    assert browser.get(PAGE)[0] == 200
    browser.cookies["web.example"] = before
    assert browser.get(callback)[0] in (400, 401, 403)
    assert browser.get(PAGE)[0] == 302


def test_a_tampered_session_is_none(shop: Instance) -> None:
    browser = Browser(shop)
    assert browser.login(PAGE)[0] == 200
    own = browser.cookies["web.example"]
    expires = next(name for name in own if "oauth_expires" in name)
    own[expires] = str(int(own[expires]) + 100_000)
    # With a refresh token, which only the provider gives, a session is rightly renewed.
    own.pop(next(name for name in own if "refresh_token" in name))
    assert browser.get(PAGE)[0] == 302
    bearer = next(name for name in own if "bearer_token" in name)
    own.clear()
    own[bearer] = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ."
    assert browser.get(PAGE)[0] == 302


def test_programs_are_told_401_and_a_logout_ends_the_session(shop: Instance) -> None:
    browser = Browser(shop)
    assert browser.get(PAGE, **{"X-Requested-With": "XMLHttpRequest"})[0] == 401
    assert browser.login(PAGE)[0] == 200
    assert browser.get("http://web.example/logout")[0] == 302
    assert browser.get(PAGE)[0] == 302


def test_sessions_are_refreshed(shop: Instance) -> None:
    browser = Browser(shop)
    assert browser.login(PAGE)[0] == 200

    def refreshed() -> bool:
        assert browser.get(PAGE)[0] == 200, "the session lasts"
        return int(json.loads(ask(shop, "/grants", "oidc.example")[1]).get("refresh_token", 0)) > 0

    wait_for(refreshed, "a token was refreshed", 12)


def says(weft: Instance, path: str, page: str) -> None:
    """What the issuer answers from now on."""
    done = ask(weft, path, "issuer.example", method="PUT", body=page.encode())
    assert done[0] == 204, done


def condition_of(weft: Instance, name: str) -> str:
    """The message of a RequestAuthentication's condition Accepted."""
    path = f"/apis/security.istio.io/v1/namespaces/default/requestauthentications/{name}"
    conditions = weft.read(path).get("status", {}).get("conditions", [])
    return next((str(c["message"]) for c in conditions if c["type"] == "Accepted"), "")


@pytest.mark.parametrize("how", ["discovered", "named"])
def test_keys_of_an_issuer_are_followed(weft: Instance, how: str) -> None:
    """New keys of the issuer count soon; while it says nonsense, the last good ones do."""
    old, new = Issuer(ISSUER_URL), Issuer(ISSUER_URL)
    place = f", jwksUri: '{ISSUER_URL}/keys'" if how == "named" else ""
    believes = f"""
selector: {{matchLabels: {{app: api}}}}
jwtRules: [{{issuer: '{ISSUER_URL}'{place}}}]
"""

    def get(issuer: Issuer) -> int:
        token = issuer.token(sub="ann")
        return ask(weft, "/who", "open.example", Authorization=f"Bearer {token}")[0]

    says(weft, "/keys", "no keys")
    with Applied(weft, policy(how, believes, "RequestAuthentication")):
        settled(lambda: get(old), 401, "no token is believed")
        if how == "named":
            bearer = f"Bearer {old.token(sub='ann')}"
            told = ask(weft, "/who", "open.example", Authorization=bearer)[1]
            assert told == "Jwks remote fetch is failed", "its sender learns why"
        if how == "discovered":
            wait_for(lambda: "is answered 404" in condition_of(weft, how), "why is said")
            page = {"issuer": ISSUER_URL, "jwks_uri": f"{ISSUER_URL}/keys"}
            says(weft, DOCUMENT, json.dumps({**page, "issuer": "http://other"}))
            wait_for(lambda: "of another issuer" in condition_of(weft, how), "and what else")
            says(weft, DOCUMENT, json.dumps(page))
        says(weft, "/keys", old.key_set)
        settled(lambda: get(old), 200, "the issuer's keys are found")
        assert get(new) == 401
        says(weft, "/keys", new.key_set)
        settled(lambda: (get(old), get(new)), (401, 200), "the issuer has other keys")
        says(weft, "/keys", "nonsense")
        if how == "discovered":
            wait_for(lambda: "WEFT2615" in condition_of(weft, how), "the object tells it")
        assert (get(old), get(new)) == (401, 200), "the last good ones stay"
        says(weft, "/keys", old.key_set)
        settled(lambda: (get(old), get(new)), (200, 401), "and are followed again")
        if how == "discovered":
            wait_for(lambda: "nothing is wrong" in condition_of(weft, how), "all is well")


def test_secrets_stand_in_no_dump(shop: Instance) -> None:
    log = (shop.data_dir / "log/weft.log").read_text()
    assert "s3cret" not in log
    assert "key-of-shop" not in log
    assert partial(ask, shop, "/x", "open.example")()[0] == 200


def test_secrets_are_in_no_log_and_in_no_process_list(weft: Instance) -> None:
    """After all of the above: of weft's own processes nobody shows them, and no file of logs."""
    admin = yaml.safe_load(weft.kubeconfig.read_text())["users"][0]["user"]["token"]
    keys = [
        "key-of-shop",
        "key-of-bank",
        "s3cret",
        "open sesame",
        PASSWORD,
    ]
    keys += [admin, "PRIVATE KEY"]
    with Applied(weft, login("keys", "apiKey: {secrets: [{name: keys}], queryParameters: [key]}")):
        settled(lambda: ask(weft, "/x?key=key-of-bank", "keys.example")[0], 200, "by the key")
    logs = [p for p in weft.data_dir.glob("log/**/*") if p.is_file()]
    assert logs
    envoy = weft.status()["proxies"][0]["pid"]
    host = re.search(r"PPid:\s*(\d+)", Path(f"/proc/{envoy}/status").read_text())
    assert host is not None
    named = [p for p in Path("/proc").glob("[0-9]*") if _is_daemon(p, str(weft.data_dir))]
    own = [*named, Path(f"/proc/{envoy}"), Path(f"/proc/{host[1]}")]
    assert len(own) >= 3, "the daemon, Envoy, the pod host"
    files = [*logs, *(p / name for p in own for name in ("cmdline", "environ"))]
    shown = {str(f): key for f in files for key in keys if key.encode() in _content(f)}
    assert not shown


READABLE = """
import os, socket, sys
for place in sys.argv[1:]:
    for folder, _, names in os.walk(place):
        for path in (os.path.join(folder, name) for name in names):
            try:
                if not os.path.isfile(path):
                    with socket.socket(socket.AF_UNIX) as one:
                        one.connect(path)
                else:
                    open(path, "rb").close()
                print(path)
            except OSError:
                pass
"""


def test_secrets_are_for_their_owner_alone(weft: Instance) -> None:
    """Another user of the machine, who is let into the directories themselves."""
    private = [p for p in (weft.data_dir, weft.run_dir) if p.stat().st_mode & 0o077]
    assert private == [], "closed from outside"
    public = weft.data_dir / "public"
    public.write_text("for all")
    public.chmod(0o644)
    modes = {p: p.stat().st_mode for p in (weft.data_dir, weft.run_dir)}
    try:
        for path in modes:
            path.chmod(0o755)
        done = subprocess.run(
            ["/usr/bin/env", "python3", "-c", READABLE, *map(str, modes)], user=65534, group=65534,
            extra_groups=[], capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        opened = done.stdout.splitlines()
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert str(public) in opened
    admin = yaml.safe_load(weft.kubeconfig.read_text())["users"][0]["user"]["token"]
    found = [p for p in weft.data_dir.rglob("*") if p.is_file() and admin.encode() in _content(p)]
    assert found, "there are such files"
    words = [b"PRIVATE KEY", admin.encode(), b"key-of-shop", b"s3cret", b"eyJhbGciOi"]
    shown = [p for p in opened if any(word in _content(Path(p)) for word in words)]
    sockets = [p for p in opened if not Path(p).is_file()]
    assert (shown, sockets) == ([], [])
    databases = [p for p in opened if Path(p).name.startswith("store.db")]
    assert databases == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # a process that ended


def _is_daemon(process: Path, data_dir: str) -> bool:
    command = _content(process / "cmdline")
    return b"weft.daemon" in command and data_dir.encode() in command
