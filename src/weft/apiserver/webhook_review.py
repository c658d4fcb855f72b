"""Admission webhooks: which there are, what they are sent, what their answers mean. Pure.

Source: admissionregistration.k8s.io/v1 and admission.k8s.io/v1 (AdmissionReview), with the words
of kube-apiserver (1.33).
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import orjson
from msgspec import Struct

from weft.api.errors import ApiError
from weft.apiserver import admission_matching as matching
from weft.apiserver import admission_policies as policies
from weft.apiserver import failures, patches
from weft.apiserver.access import Review
from weft.apiserver.strategic import FieldRule

if TYPE_CHECKING:
    from weft.api.cel.program import Program

Json = Mapping[str, Any]
Phase = Literal["mutating", "validating"]
REVIEW_VERSION = "admission.k8s.io/v1"
REJECTED_CODE_MIN = 400


class BadAnswer(Exception):
    """A webhook's answer that means nothing; says why."""


class Hook(Struct, frozen=True, eq=False):
    """One webhook, ready to be asked."""

    configuration: str
    name: str
    settings: Json
    """Selectors, as the configuration has them."""
    rules: tuple[Json, ...]
    match_policy: str
    conditions: tuple["Program", ...]
    ignores_failures: bool
    timeout_seconds: float
    reinvoked: bool
    """Whether it is asked again when others changed the object after it."""
    client: Json


class Answer(Struct, frozen=True):
    """What a webhook said."""

    allowed: bool
    patch: tuple[Any, ...] | None = None
    status: Mapping[str, Any] = {}
    warnings: tuple[str, ...] = ()
    notes: Mapping[str, str] = {}


def hooks(configuration: Json) -> tuple[Hook, ...]:
    """The webhooks of a stored configuration. Raises CelError."""
    found = []
    for hook in configuration.get("webhooks") or ():
        found.append(
            Hook(
                configuration["metadata"]["name"],
                hook["name"],
                hook,
                tuple(hook.get("rules") or ()),
                hook.get("matchPolicy") or "Equivalent",
                policies.conditions(hook.get("matchConditions") or ()),
                hook.get("failurePolicy") == "Ignore",
                float(hook.get("timeoutSeconds") or 10),
                hook.get("reinvocationPolicy") == "IfNeeded",
                hook.get("clientConfig") or {},
            )
        )
    return tuple(found)


def wanted(hook: Hook, asked: Review, namespace: Json | None) -> matching.Matched | None:
    """Whether rules and selectors cover a write, and the version to put it in."""
    found = matching.matched(hook.rules, hook.match_policy, asked)
    if found is None or not matching.selects(hook.settings, asked, namespace):
        return None
    return found


def body(asked: Review, version: str, uid: str) -> bytes:
    """The AdmissionReview that is sent."""
    request = matching.request(asked, version, uid)
    request["object"] = matching.shown(asked.new, asked, version)
    request["oldObject"] = matching.shown(asked.old, asked, version)
    return orjson.dumps(
        {"kind": "AdmissionReview", "apiVersion": REVIEW_VERSION, "request": request}
    )


def answer(raw: bytes, uid: str, phase: Phase) -> Answer:
    """What came back. Raises BadAnswer."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(f"the answer is no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "AdmissionReview":
        raise BadAnswer("expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview")
    if found.get("apiVersion") != REVIEW_VERSION:
        raise BadAnswer(
            f"expected webhook response of {REVIEW_VERSION}, Kind=AdmissionReview, got "
            f"{found.get('apiVersion')}"
        )
    response = found.get("response")
    if not isinstance(response, dict):
        raise BadAnswer("webhook response was absent")
    if response.get("uid") != uid:
        raise BadAnswer(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    status = response.get("status") or {}
    warnings, notes = response.get("warnings") or (), response.get("auditAnnotations") or {}
    if not (isinstance(status, dict) and isinstance(warnings, list | tuple)
            and isinstance(notes, dict)):  # fmt: skip
        raise BadAnswer("response.status, warnings or auditAnnotations have a wrong shape")
    return Answer(
        response.get("allowed") is True,
        _patch(response, phase),
        status,
        tuple(str(w) for w in warnings),
        {str(k): str(v) for k, v in notes.items()},
    )


def _patch(response: Json, phase: Phase) -> tuple[Any, ...] | None:
    raw, kind = response.get("patch"), response.get("patchType")
    if not raw:
        if kind:
            raise BadAnswer("webhook returned response.patchType but not response.patch")
        return None
    if phase == "validating":
        raise BadAnswer("validating webhook may not return response.patch")
    if kind != "JSONPatch":
        raise BadAnswer(f'invalid response.patchType "{kind or ""}", expected "JSONPatch"')
    try:
        found = orjson.loads(base64.b64decode(str(raw), validate=True))
    except ValueError as error:  # also of text that is not ASCII
        raise BadAnswer(f"response.patch is no JSON patch in base64: {error}") from error
    if not isinstance(found, list):
        raise BadAnswer("response.patch is no list of operations")
    return tuple(found)


def patched(
    obj: dict[str, Any], operations: Sequence[Any], asked: Review, version: str
) -> dict[str, Any]:
    """The object as the webhook wants it, in its stored version. Raises BadAnswer."""
    shown = matching.shown(obj, asked, version) or {}
    try:
        made = patches.apply("json", shown, list(operations), lambda _: FieldRule())
    except ApiError as error:
        raise BadAnswer(error.message) from error
    head = ("apiVersion", "kind")
    if any(made.get(key) != shown.get(key) for key in head):
        raise BadAnswer("the patch changes apiVersion or kind")
    if not isinstance(made.get("metadata"), dict):
        raise BadAnswer("the patch removes metadata")
    return {**made, **{key: obj[key] for key in head if key in obj}}


def denial(hook: Hook, status: Json) -> ApiError:
    """What the client is told when a webhook says no."""
    start = f'admission webhook "{hook.name}" denied the request'
    message, reason = str(status.get("message") or ""), str(status.get("reason") or "")
    why = f": {message or reason}" if message or reason else " without explanation"
    text = start + why
    code = status.get("code")
    if not isinstance(code, int) or not REJECTED_CODE_MIN <= code < 600:
        code = REJECTED_CODE_MIN
    details = status.get("details")
    return ApiError(code, reason, text, details if isinstance(details, dict) else None)


def uncallable(hook: Hook, why: str) -> ApiError:
    """500: the webhook could not be asked, and must be."""
    return failures.internal(f'failed calling webhook "{hook.name}": {why}')


def mutation_notes(hook: Hook, round_: int, index: int, changed: bool) -> Iterator[tuple[str, str]]:
    """For the audit log: who was asked, and whether that changed the object."""
    told = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
    key = f"mutation.webhook.admission.k8s.io/round_{round_}_index_{index}"
    yield key, orjson.dumps(told).decode()
