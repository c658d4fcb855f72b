"""Conversion of custom objects between versions by a webhook: what it is sent, and what its answer
means. Pure.

Source: the documentation of versions of CustomResourceDefinitions, with the words of
kube-apiserver (1.33).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from weft.api.crd import objects
from weft.api.crd.definition import Conversion
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.validate import metadata as metadata_rules
from weft.apiserver import codec, custom
from weft.apiserver.access import Review
from weft.store.interface import Entry, Event

Json = dict[str, Any]
GROUP = "apiextensions.k8s.io"
REVIEW = "ConversionReview"
_TEXTS = ("labels", "annotations")
"""What a webhook may change of the metadata."""


class Converter(Protocol):
    """Puts what is stored into the words of a version, and back. Raises ApiError 500."""

    async def entries(
        self, kind: Kind, version: str, entries: Sequence[Entry]
    ) -> Sequence[Entry]: ...

    async def events(self, kind: Kind, version: str, events: Sequence[Event]) -> Sequence[Event]:
        """Those of a watch."""
        ...

    async def stored(self, kind: Kind, version: str, obj: Json) -> tuple[bytes, bytes]:
        """What to store of an object in the words of `version`, and how that is shown in it."""
        ...

    async def asked(self, asked: Review, version: str) -> Review:
        """A review whose objects are in the words of another version than the request's."""
        ...


class Unconverted:
    """Versions that differ in nothing but their names."""

    async def entries(self, kind: Kind, version: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries

    async def events(self, kind: Kind, version: str, events: Sequence[Event]) -> Sequence[Event]:
        return events

    async def stored(self, kind: Kind, version: str, obj: Json) -> tuple[bytes, bytes]:
        value = codec.to_stored(kind, obj)
        return value, value

    async def asked(self, asked: Review, version: str) -> Review:
        return asked


class BadConversion(Exception):
    """An answer that is none; `index` of the object that it is about, if it is about one."""

    def __init__(self, why: str, index: int | None = None) -> None:
        super().__init__(why)
        self.index = index


def body(conversion: Conversion, wanted: str, uid: str, items: Sequence[Json]) -> bytes:
    """The ConversionReview that is sent; `wanted` is an apiVersion."""
    request = {"uid": uid, "desiredAPIVersion": wanted, "objects": list(items)}
    head = {"kind": REVIEW, "apiVersion": f"{GROUP}/{conversion.review_version}"}
    return orjson.dumps(head | {"request": request})


def sent(kind: Kind, api_version: str, obj: Mapping[str, Any]) -> Json:
    """An object as webhooks see it: in its version, without a revision."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    head = {"kind": kind.kind, "apiVersion": api_version, "metadata": metadata}
    return head | {k: v for k, v in obj.items() if k not in head}


def answer(
    raw: bytes, conversion: Conversion, wanted: str, uid: str, items: Sequence[Json]
) -> list[Json]:
    """The converted objects, one for each that was sent, with the metadata of those but for labels
    and annotations. Raises BadConversion."""
    found = _converted_objects(raw, conversion, uid)
    if len(found) != len(items):
        raise BadConversion(f"returned {len(found)} objects, expected {len(items)}", -1)
    return [
        _checked(original, made, wanted, index)
        for index, (original, made) in enumerate(zip(items, found, strict=True))
    ]


def _converted_objects(raw: bytes, conversion: Conversion, uid: str) -> list[Any]:
    try:
        review = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadConversion(f"the answer is no JSON: {error}") from error
    review = review if isinstance(review, dict) else {}
    wanted = f"{GROUP}/{conversion.review_version}, Kind={REVIEW}"
    got = f"{review.get('apiVersion') or ''}, Kind={review.get('kind') or ''}"
    if got != wanted:
        raise BadConversion(f"expected webhook response of {wanted}, got {got}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise BadConversion("no response provided")
    if conversion.review_version == "v1" and response.get("uid") != uid:
        raise BadConversion(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        told = f"response.result.status was '{result.get('status') or ''}', not 'Success'"
        raise BadConversion(str(result.get("message") or told))
    converted = response.get("convertedObjects")
    return converted if isinstance(converted, list) else []


def _checked(original: Json, made: Any, wanted: str, index: int) -> Json:
    """Raises BadConversion."""
    if not isinstance(made, dict):
        raise BadConversion("it is no object", index)
    for name, key, expected in (
        ("groupVersion", "apiVersion", wanted),
        ("kind", "kind", original["kind"]),
    ):
        if made.get(key) != expected:
            got = made.get(key) or ""
            raise BadConversion(f"invalid {name} (expected {expected}, received {got})", index)
    metadata = made.get("metadata")
    if not isinstance(metadata, dict):
        why = "invalid metadata" if "metadata" in made else "missing metadata"
        raise BadConversion(f"{why} in converted object", index)
    before = original["metadata"]
    for name, key in (("name", "name"), ("namespace", "namespace"), ("UID", "uid")):
        was, got = before.get(key) or "", metadata.get(key) or ""
        if was != got:
            raise BadConversion(f"must have the same {name}: {was} != {got}", index)
    return made | {"metadata": _metadata(before, metadata, index)}


def _metadata(before: Json, made: Json, index: int) -> Json:
    kept = {k: v for k, v in before.items() if k not in _TEXTS}
    for key in _TEXTS:
        texts = made.get(key)
        if texts is None:
            continue
        if not isinstance(texts, dict):
            raise BadConversion(f"invalid metadata.{key} in converted object", index)
        for name, text in texts.items():
            if not isinstance(text, str):
                why = f"metadata.{key}[{name}] must be a string in converted object"
                raise BadConversion(why, index)
        if texts != before.get(key) and (errors := metadata_rules.texts_of(key, texts)):
            raise BadConversion(f"{errors[0].path}: {errors[0].body}", index)
        kept[key] = texts
    return kept


def known_to(kind: Kind, version: str, obj: Json) -> Json:
    """A converted object without what the schema of its version does not know."""
    made: Json = objects.pruned(custom.version_of(kind, version).raw, obj)[0]
    return made


def failure(source: str, why: str, index: int | None = None) -> ApiError:
    """500: `source` is the group, version and kind of what was to be converted."""
    start = f"conversion webhook for {source}"
    if index is None:
        return ApiError(500, "", f"{start} failed: {why}")
    if index < 0:
        return ApiError(500, "", f"{start} {why}")
    return ApiError(500, "", f"{start} returned invalid converted object at index {index}: {why}")
