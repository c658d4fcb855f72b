"""What is found out about an object among its neighbours is what is found out among all."""

import random
import time
from typing import Any

import pytest
from msgspec.structs import replace

from tests.golden_support import case_names, documents, loaded
from tests.mesh.cluster import snapshot
from weft.api import registry
from weft.api.diagnostics import Diagnostic
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import ObjectSnapshot
from weft.mesh.analysis import analyze
from weft.mesh.analysis.at_admission import UNSEEN
from weft.mesh.analysis.neighbours import Neighbours
from weft.mesh.analysis.objects import by_object, findings_of, object_key
from weft.mesh.build import DEFAULTS

OBJECTS = 1000
REVIEW_SECONDS_MAX = 0.02
"""A bound for loaded machines; alone it takes less than a tenth of it."""


def everything(found: ObjectSnapshot) -> list[Any]:
    """All objects; pods without the owners that stand in their place."""
    kinds = (k.struct for k in registry.KINDS if k.struct is not None)
    return [_unowned(obj) if cls is Pod else obj for cls in kinds for obj in found.list(cls)]


def _unowned(pod: Any) -> Any:
    return replace(pod, metadata=replace(pod.metadata, owner_references=()))


def said(found: tuple[Diagnostic, ...], obj: Any) -> list[tuple[str, str, str, str]]:
    """What is said at admission: no notes, and nothing that is known elsewhere."""
    own = (d for d in findings_of(found, obj) if d.severity != "info" and d.code not in UNSEEN)
    return [(d.code, d.path, d.message, d.hint) for d in own]


def compare(objects: list[Any]) -> int:
    whole = analyze(ObjectSnapshot(objects), DEFAULTS)
    neighbours = Neighbours()
    for obj in objects:
        neighbours.put(None, obj)
    compared = 0
    for obj in objects:
        near = analyze(neighbours.around(obj), DEFAULTS)
        if type(obj).__name__ in ("Pod", "EndpointSlice", "Namespace", "Secret"):
            continue
        wanted, got = said(whole, obj), said(near, obj)
        assert [w[:3] for w in got] == [w[:3] for w in wanted], (
            f"{object_key(obj)}: say in neighbours.py what else a finding about it looks up"
        )
        compared += len(wanted)
    return compared


@pytest.mark.parametrize("case", case_names("mesh"))
def test_golden_cases(case: str) -> None:
    compare(everything(snapshot(documents("mesh", case))))


@pytest.mark.slow
def test_random_sets() -> None:
    total = 0
    for seed in range(40):
        total += compare(everything(snapshot(random_set(random.Random(seed)))))
    assert total > 300, "the sets are too sound to compare anything"


def random_set(rng: random.Random) -> list[dict[str, Any]]:
    """Services, rules and gateways that name one another, rightly and wrongly."""
    names, spaces = ["web", "shop", "reviews", "cart"], ["default", "prod"]
    made: dict[tuple[str, str, str], dict[str, Any]] = {}

    def add(api: str, kind: str, spec: dict[str, Any], name: str = "") -> None:
        name, space = name or rng.choice(names), rng.choice(spaces)
        meta = {"name": name, "namespace": space}
        meta["creationTimestamp"] = f"2026-01-{rng.randint(1, 28):02}T00:00:00Z"
        made[kind, space, name] = {"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec}

    def host() -> str:
        name = rng.choice([*names, "wep", "api.corp"])
        return name if "." in name or rng.random() < 0.6 else f"{name}.{rng.choice(spaces)}"

    def share() -> dict[str, Any]:
        target: dict[str, Any] = {"host": host(), "subset": rng.choice(["", "v1", "v2"])}
        if rng.random() < 0.6:
            target["port"] = {"number": rng.choice([80, 81])}
        return {"destination": target}

    istio = "networking.istio.io/v1"
    for _ in range(rng.randint(2, 6)):
        ports = [{"name": rng.choice(["http", "tcp", "x"]), "port": 80}]
        labels = {"app": rng.choice(names), "tier": rng.choice(["a", "b"])}
        add("v1", "Service", {"selector": labels, "ports": ports})
        labels |= {"version": rng.choice(["v1", "v2"])}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}
        add("apps/v1", "Deployment", {"template": template})
    for _ in range(rng.randint(1, 4)):
        subsets = [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")]
        add(istio, "DestinationRule", {"host": host(), "subsets": subsets[: rng.randint(0, 2)]})
    for _ in range(rng.randint(1, 5)):
        match = [{"uri": {"prefix": rng.choice(["/", "/a", "/a/b"])}}]
        rules = [{"match": match, "route": [share()]}, {"route": [share(), share()]}]
        rules[1]["route"][0]["weight"] = rng.choice([50, 100])
        spec = {"hosts": [rng.choice([host(), "*.corp", "a.example.com"])], "http": rules}
        if rng.random() < 0.5:
            spec["gateways"] = [rng.choice(["edge", "egde", "prod/edge"])]
        add(istio, "VirtualService", spec)
    for name in ("edge", "other")[: rng.randint(0, 2)]:
        port = {"number": 80, "name": "http", "protocol": rng.choice(["HTTP", "TCP"])}
        servers = [{"port": port, "hosts": [rng.choice(["*", "a.example.com"])]}]
        add(istio, "Gateway", {"servers": servers}, name)
    if rng.random() < 0.7:
        port = {"number": 80, "name": "p", "protocol": rng.choice(["HTTP", "TCP"])}
        entry = {"hosts": ["api.corp"], "ports": [port], "resolution": "DNS"}
        add(istio, "ServiceEntry", entry, rng.choice(["one", "two"]))
    return list(made.values())


def test_hints_name_what_is_near() -> None:
    text = """
kind: Service
apiVersion: v1
metadata: {name: reviews}
spec: {selector: {app: reviewz}, ports: [{name: http, port: 80}]}
---
kind: Deployment
apiVersion: apps/v1
metadata: {name: reviews}
spec: {template: {metadata: {labels: {app: reviews}}}}
---
kind: VirtualService
apiVersion: networking.istio.io/v1
metadata: {name: reviews}
spec: {hosts: [reviews], gateways: [mesh, edge], http: [{route: [{destination: {host: revews}}]}]}
---
kind: Gateway
apiVersion: networking.istio.io/v1
metadata: {name: edges}
spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
"""
    objects = everything(snapshot(loaded(text)))
    neighbours = Neighbours()
    for obj in objects:
        neighbours.put(None, obj)
    hints = {
        (d.code, d.hint)
        for obj in objects
        for d in findings_of(analyze(neighbours.around(obj), DEFAULTS), obj)
    }
    assert ("WEFT2101", "did you mean `reviews`?") in hints
    assert ("WEFT2105", "did you mean `default/edges`?") in hints
    assert ("WEFT2110", "did you mean `reviews`?") in hints


def test_what_only_filters_of_a_route_name() -> None:
    text = """
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  rules:
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copy, port: 80}}}]
    backendRefs: [{name: web, port: 80}]
"""
    services = ({"kind": "Service", "apiVersion": "v1", "metadata": {"name": name},
                 "spec": {"ports": [{"port": 80}]}} for name in ("web", "copy"))  # fmt: skip
    objects = everything(snapshot([*loaded(text), *services]))
    without = [obj for obj in objects if obj.metadata.name != "copy"]
    assert compare(without) == compare(objects) + 1


def test_what_is_gone_is_forgotten() -> None:
    objects = everything(snapshot(documents("mesh", "gateways")))
    neighbours = Neighbours()
    for obj in objects:
        neighbours.put(None, obj)
    for obj in objects:
        neighbours.put(obj, None)
    for obj in objects:
        assert everything(neighbours.around(obj)) == [obj]


def test_one_object_among_three_thousand_is_judged_quickly() -> None:
    made = []
    for n in range(OBJECTS):
        meta = {"name": f"svc{n}", "namespace": f"ns{n % 20}"}
        share = {"destination": {"host": f"svc{n}", "subset": "v1"}}
        for api, kind, spec in (
            ("v1", "Service", {"selector": {"app": f"svc{n}"}, "ports": [{"port": 80}]}),
            ("networking.istio.io/v1", "VirtualService",
             {"hosts": [f"svc{n}"], "http": [{"route": [share]}]}),
            ("networking.istio.io/v1", "DestinationRule",
             {"host": f"svc{n}", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}),
        ):  # fmt: skip
            made.append({"apiVersion": api, "kind": kind, "metadata": meta, "spec": spec})
    objects = everything(snapshot(made))
    neighbours = Neighbours()
    for obj in objects:
        neighbours.put(None, obj)
    took = []
    for obj in objects[::100]:
        start = time.process_time()
        analyze(neighbours.around(obj), DEFAULTS)
        took.append(time.process_time() - start)
    assert sorted(took)[len(took) // 2] < REVIEW_SECONDS_MAX
    start = time.process_time()
    whole = analyze(ObjectSnapshot(objects), DEFAULTS)
    assert time.process_time() - start < 5.0
    assert len(by_object(whole)) >= OBJECTS
