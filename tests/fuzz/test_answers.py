"""What servers answer that others run (webhooks, issuers of tokens, registries, metrics), and what
pages of browsers send: sound answers with some part replaced by anything at all.
"""

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import orjson
from hypothesis import strategies as st
from yarl import URL

from tests.fuzz.test_parsers import DEEP, fuzzed, hostile
from weft.api.crd.definition import Conversion
from weft.api.errors import ApiError
from weft.apiserver import conversion_review, patches, webhook_review
from weft.apiserver.strategic import FieldRule
from weft.daemon.measuring import Unanswered, prometheus_value, web_value
from weft.dashboard import guard
from weft.dashboard.backend import BASE
from weft.dashboard.live import Wish
from weft.mesh.issuer_keys import host_and_port, key_set_url
from weft.mesh.key_sets import usable_keys
from weft.node.oci.documents import ImageError, read_configuration, read_manifest
from weft.node.oci.registry import error_in, token_in, token_request

WORDS = st.sampled_from(["", "a", "\n", "é", "\x00", "://", "../..", "9" * 400, "https://[", "v1"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(), WORDS)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=6,
)


def altered(sound: Any) -> st.SearchStrategy[bytes]:
    """The document as JSON with one value, however deep, replaced; or bytes of `hostile`."""
    places = list(_places(sound))

    def replaced(chosen: tuple[tuple[Any, ...], Any]) -> bytes:
        place, value = chosen
        return json.dumps(_with(sound, place, value)).encode()

    changed = st.tuples(st.sampled_from(places), ANYTHING).map(replaced)
    return st.one_of(changed, changed, hostile(json.dumps(sound).encode()))


def _places(document: Any, here: tuple[Any, ...] = ()) -> Any:
    yield here
    if isinstance(document, Mapping):
        for key, value in document.items():
            yield from _places(value, (*here, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from _places(value, (*here, index))


def _with(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    made = document.copy()
    made[place[0]] = _with(document[place[0]], place[1:], value)
    return made


# ---------------------------------------------------------------- webhooks

PATCH = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
REVIEW = {
    "apiVersion": webhook_review.REVIEW_VERSION, "kind": "AdmissionReview",
    "response": {
        "uid": "u", "allowed": False, "patchType": "JSONPatch",
        "patch": base64.b64encode(json.dumps(PATCH).encode()).decode(),
        "status": {"code": 418, "message": "no", "reason": "Teapot", "details": {}},
        "warnings": ["w"], "auditAnnotations": {"k": "v"},
    },
}  # fmt: skip
HOOK = webhook_review.hooks({"metadata": {"name": "c"}, "webhooks": [{"name": "h"}]})[0]


@fuzzed(altered(REVIEW), st.sampled_from(["mutating", "validating"]))
def test_answers_of_admission_webhooks(answer: bytes, phase: webhook_review.Phase) -> None:
    try:
        found = webhook_review.answer(answer, "u", phase)
    except webhook_review.BadAnswer:
        return
    refused = webhook_review.denial(HOOK, found.status)
    assert 400 <= refused.code < 600
    assert isinstance(orjson.dumps(refused.status()), bytes)


@fuzzed(altered([*PATCH, {"op": "copy", "from": "/metadata", "path": "/x"}]))
def test_patches_of_admission_webhooks(patch: bytes) -> None:
    try:
        operations = orjson.loads(patch)
    except orjson.JSONDecodeError:
        return
    before = {"metadata": {"name": "a"}, "list": [1, 2]}
    try:
        patches.apply("json", before, operations, lambda _: FieldRule())
    except ApiError:
        assert before == {"metadata": {"name": "a"}, "list": [1, 2]}


CONVERSION = Conversion({}, "v1")
OBJECT = {"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "a", "uid": "1"}}
CONVERTED = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
    "response": {
        "uid": "u", "result": {"status": "Success"},
        "convertedObjects": [
            {"apiVersion": "x/v2", "kind": "X",
             "metadata": {"name": "a", "uid": "1", "labels": {"a": "b"}}}
        ],
    },
}  # fmt: skip


@fuzzed(altered(CONVERTED))
def test_answers_of_conversion_webhooks(answer: bytes) -> None:
    try:
        (made,) = conversion_review.answer(answer, CONVERSION, "x/v2", "u", [OBJECT])
    except conversion_review.BadConversion:
        return
    assert made["metadata"]["uid"] == "1"


# ---------------------------------------------------------------- issuers, metrics

ISSUER = "https://issuer.example"
KEYS = {"keys": [{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB", "alg": "RS256"},
                 {"kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"},
                 {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}]}  # fmt: skip


@fuzzed(altered({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}))
def test_documents_of_issuers(document: bytes) -> None:
    try:
        url = key_set_url(document, ISSUER, lambda *_: "")
    except ValueError:
        return
    assert host_and_port(url) == ("issuer.example", 443), "nowhere else does it lead"


@fuzzed(altered(KEYS))
def test_key_sets(text: bytes) -> None:
    keys = usable_keys(text.decode(errors="replace"))
    assert not keys or json.loads(keys)["keys"]


VECTOR = {"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "2"]}]}}


@fuzzed(altered(VECTOR))
def test_answers_of_metrics(answer: bytes) -> None:
    for path in ("{$.data.result[*].value}", "$.data", "", "$.a[0]"):
        try:
            web_value(answer, path)
        except Unanswered:
            continue
    try:
        prometheus_value(msgspec.json.decode(answer))
    except (Unanswered, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return


# ---------------------------------------------------------------- registries

DIGEST = "sha256:" + "0" * 64
MANIFEST = {
    "schemaVersion": 2,
    "config": {"mediaType": "application/x", "digest": DIGEST, "size": 1},
    "layers": [{"mediaType": "application/x", "digest": DIGEST, "size": 1}],
}
INDEX = {"manifests": [{"mediaType": "application/x", "digest": DIGEST, "size": 1,
                        "platform": {"os": "linux", "architecture": "amd64"}}]}  # fmt: skip
CONFIGURATION = {
    "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "config": {"Env": ["A=b"], "Cmd": ["x"], "User": "1:1", "ExposedPorts": {"80/tcp": {}}},
}  # fmt: skip


@fuzzed(st.one_of(altered(MANIFEST), altered(INDEX)), altered(CONFIGURATION))
def test_manifests_and_configurations_of_images(manifest: bytes, configuration: bytes) -> None:
    with contextlib.suppress(ImageError):
        read_manifest(manifest)
    sound = read_manifest(json.dumps(MANIFEST).encode())
    try:
        read_configuration(configuration, sound)  # type: ignore[arg-type]
    except ImageError:
        return


@fuzzed(altered({"token": "abc", "access_token": "abc", "errors": [{"code": "A", "message": ""}]}))
def test_answers_of_token_servers(body: bytes) -> None:
    token = token_in(body)
    assert token.isprintable(), "it becomes a header"
    assert token.isascii()
    assert isinstance(error_in(body), str)


CHALLENGE = b'Bearer realm="https://auth.example/token",service="r.example",scope="a:b:pull"'


@fuzzed(hostile(CHALLENGE, b'Basic realm="x"'))
def test_challenges_of_registries(challenge: bytes) -> None:
    try:
        realm, _ = token_request(challenge.decode("latin-1"), "https://r.example", "a")
    except ImageError:
        return
    assert not realm or urlsplit(realm).scheme == "https", "credentials go over TLS only"


def test_nested_without_end() -> None:
    assert token_in(DEEP) == error_in(DEEP) == usable_keys(DEEP.decode()) == ""


# ---------------------------------------------------------------- pages of browsers

PARTS = st.lists(
    st.sampled_from(["api", "weft", "v1", "node", "..", ".", "%2e%2e", "%2E.", "", "link", "a%2fb",
                     "..;", "\\..", "%252e%252e", "?x=/..", "#", "@evil.example"]),
    max_size=8,
)  # fmt: skip


@fuzzed(PARTS)
def test_paths_of_pages_lead_to_the_api_alone(parts: list[str]) -> None:
    """What the client that asks in the page's name makes of a path, is let through as well."""
    path = f"/{'/'.join(parts)}"
    if guard.is_api(path.partition("?")[0]):
        asked = URL(BASE + path)
        assert asked.origin() == URL(BASE).origin()
        assert guard.is_api(asked.raw_path), asked


HEADS = st.dictionaries(
    st.sampled_from(["Host", "Origin", "Upgrade", "Authorization", "Sec-Fetch-Site",
                     "Sec-WebSocket-Protocol", "X-Weft-Key"]),
    st.sampled_from(["", "127.0.0.1:1", "localhost:1", "http://127.0.0.1:1", "http://localhost:1",
                     "null", "websocket", "same-origin", "cross-site", "weft.key.,", "evil:1"]),
)  # fmt: skip


@fuzzed(HEADS, st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", ""]))
def test_heads_of_browsers_requests(head: dict[str, str], method: str) -> None:
    guard.key_of(head)
    if guard.refusal(method, head, 1):
        return
    assert head["Host"] in guard.hosts(1)
    assert head.get("Origin", "") in ("", f"http://{head['Host']}")
    assert head.get("Sec-Fetch-Site") != "cross-site"


@fuzzed(altered({"open": 1, "close": 2, "path": "/api/v1/pods", "as": "objects"}))
def test_wishes_of_pages(message: bytes) -> None:
    try:
        wish = msgspec.json.decode(message.decode(errors="replace"), type=Wish)
    except msgspec.DecodeError:
        return
    assert isinstance(wish.path, str)
