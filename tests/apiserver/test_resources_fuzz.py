"""No body that a user can send is a bug: every answer is an object or a refusal."""

import asyncio
import copy
import random
from typing import Any

import pytest

from tests.apiserver.support import Api, deployment, pod, service
from weft.api.errors import ApiError
from weft.apiserver.request import WriteOptions

JUNK: tuple[Any, ...] = (
    None, 0, -1, 1.5, True, "", "x", "Bad_Name!", [], {}, [None], [1], [{}], {"": 1}, {"a": None},
    [[]], {"$patch": "replace"}, 2**70, "\u0000",
)  # fmt: skip
SAMPLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pods", pod(volumes=[{"name": "v", "emptyDir": {}}], nodeSelector={"a": "b"})),
    ("deployments", deployment()),
    ("services", service(type="NodePort", clusterIP="10.96.3.3")),
    ("jobs", {"metadata": {"name": "j"}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}),
    ("namespaces", {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}),
    ("secrets", {"metadata": {"name": "s"}, "stringData": {"a": "b"}, "type": "Opaque"}),
    ("virtualservices", {"metadata": {"name": "v"}, "spec": {"hosts": ["a"], "http": [
        {"match": [{"uri": {"prefix": "/"}}],
         "route": [{"destination": {"host": "a", "subset": "b"}, "weight": 100}]}]}}),
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(*at, key) for key, _ in inner] if isinstance(value, dict | list) else []
    for key in [p[-1] for p in found]:
        found += places(value[key], (*at, key)) if isinstance(value[key], dict | list) else []
    return found


def mutated(sample: dict[str, Any], choose: random.Random) -> dict[str, Any]:
    made = copy.deepcopy(sample)
    for _ in range(choose.randint(1, 3)):
        at = choose.choice(places(made) or [()])
        if not at:
            break
        parent: Any = made
        for step in at[:-1]:
            parent = parent[step]
        if choose.random() < 0.2:
            del parent[at[-1]]
        else:
            parent[at[-1]] = copy.deepcopy(choose.choice(JUNK))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_mutated_objects_are_stored_or_refused(api: Api, seed: int) -> None:
    choose = random.Random(seed)
    stored = refused = 0
    for plural, sample in SAMPLES:
        await api.create(plural, copy.deepcopy(sample))
    for round_ in range(400):
        plural, sample = SAMPLES[round_ % len(SAMPLES)]
        body = mutated(sample, choose)
        fresh = copy.deepcopy(body)
        if isinstance(fresh.get("metadata"), dict):
            fresh["metadata"]["name"] = f"fresh-{round_}"
        calls: list[Any] = [lambda p=plural, b=fresh: api.create(p, b)]
        name = sample["metadata"]["name"]
        for how in ("merge", "strategic"):
            calls.append(lambda p=plural, b=body, n=name, h=how: api.patch(p, n, b, h))
        by = WriteOptions(field_manager=f"m{round_ % 3}", force=round_ % 5 > 0, tracks=True)
        served = api.target(plural).kind
        head = {"apiVersion": served.api_version, "kind": served.kind}
        calls.append(
            lambda p=plural, b=head | body, n=name, o=by: api.patch(p, n, b, "apply", options=o)
        )
        for call in calls:
            try:
                await asyncio.wait_for(call(), 5)
                stored += 1
            except ApiError as error:
                refused += 1
                if error.code >= 500:
                    pytest.fail(f"{plural} {body}: {error.message}")
            except Exception as error:
                raise AssertionError(f"{plural} {body}") from error
    assert stored
    assert refused
