"""Custom resources over HTTP, as the documentation of Kubernetes tells it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.apiserver.crds import CRON_SCHEMA, GROUP, crd, cron_tab, version
from tests.apiserver.serving import Running
from tests.apiserver.support import config_map

pytest.importorskip("re2")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def define(live: Running, definition: dict[str, Any] | None = None) -> dict[str, Any]:
    code, body = await live.json("POST", CRDS, json=definition or crd())
    assert code == 201, body
    return body


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_definition_is_served_when_its_creation_is_answered(live: Running) -> None:
    made = await define(live)
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert made["status"]["acceptedNames"]["listKind"] == "CronTabList"
    assert made["status"]["storedVersions"] == ["v1"]
    code, made = await live.json("POST", TABS, json=cron_tab(steps=[{"name": "x"}]))
    assert code == 201, made
    assert made["metadata"]["generation"] == 1
    assert made["spec"] == {
        "cronSpec": "* * * * */5", "image": "busybox", "replicas": 1, "minReplicas": 0,
        "steps": [{"name": "x", "seconds": 5}],
    }  # fmt: skip
    _, listed = await live.json("GET", TABS)
    assert listed["kind"] == "CronTabList"
    _, groups = await live.json("GET", "/apis")
    assert GROUP in [g["name"] for g in groups["groups"]]
    _, found = await live.json("GET", f"/apis/{GROUP}/v1")
    assert {r["name"] for r in found["resources"]} == {
        "crontabs", "crontabs/status", "crontabs/scale",
    }  # fmt: skip
    _, document = await live.json("GET", f"/openapi/v3/apis/{GROUP}/v1")
    model = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert model["properties"]["spec"]["properties"]["replicas"]["maximum"] == 10
    patch = document["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/crontabs/{{name}}"]
    assert "application/strategic-merge-patch+json" not in patch["patch"]["requestBody"]["content"]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"replicas": 0}, "spec.replicas in body should be greater than or equal to 1"),
    ({"replicas": 11}, "spec.replicas in body should be less than or equal to 10"),
    ({"replicas": "2"}, 'spec.replicas in body must be of type integer: "string"'),
    ({"cronSpec": "x"}, "spec.cronSpec in body should match"),
    ({"mode": "Other"}, 'spec.mode: Unsupported value: "Other": supported values: "Fast", "Slow"'),
    ({"image": "x" * 21}, "Too long: may not be more than 20 bytes"),
    ({"port": 1.5}, "must be of type integer or string"),
    ({"since": "now"}, "must be of type date-time"),
    ({"labels": {"a": 1}}, "spec.labels.a in body must be of type string"),
    ({"steps": [{}]}, "spec.steps[0].name: Required value"),
    ({"steps": [{"name": "a"}, {"name": "a"}]}, "spec.steps[1]: Duplicate value"),
    ({"steps": [{"name": n} for n in "abcd"]}, "Too many: 4: must have at most 3 items"),
    ({"tags": ["a", "a"]}, "spec.tags[1]: Duplicate value"),
    ({"minReplicas": 5}, "spec.replicas: Forbidden: replicas should be at least 5"),
    ({"steps": [{"name": "a", "seconds": 0}]}, "failed rule: !has(self.steps) || "),
    ({"image": None, "mode": None, "replicas": None, "owner": None}, "spec.owner in body"),
]  # fmt: skip


async def test_objects_that_break_their_schema(live: Running) -> None:
    await define(live)
    for spec, text in BAD:
        code, body = await live.json("POST", TABS, json=cron_tab(**spec))
        assert code == 422, (spec, body)
        assert text in body["message"]
        assert body["details"]["causes"]
    code, body = await live.json("POST", TABS, json={**cron_tab(), "spec": None})
    assert (code, body["reason"]) == (422, "Invalid")


async def test_unknown_fields_are_pruned_and_told(live: Running) -> None:
    await define(live)
    obj = cron_tab(imag="x", free={"any": {"thing": 1}}, labels={"k": "v"})
    async with live.session.post(TABS, json=obj) as response:
        made = await response.json()
        assert (
            'unknown field \\"spec.imag\\" (did you mean `image`?)' in response.headers["Warning"]
        )
    assert "imag" not in made["spec"]
    assert made["spec"]["free"] == {"any": {"thing": 1}}
    obj["metadata"]["name"] = "b"
    code, body = await live.json("POST", f"{TABS}?fieldValidation=Strict", json=obj)
    assert code == 400
    assert 'strict decoding error: unknown field "spec.imag"' in body["message"]


async def test_transition_rules_and_ratcheting(live: Running) -> None:
    await define(live)
    await live.json("POST", TABS, json=cron_tab(owner="eve", image="long-image-name"))
    path = f"{TABS}/a"
    code, body = await live.json("PATCH", path, json={"spec": {"owner": "bob"}}, headers=MERGE)
    assert code == 422
    assert 'spec.owner: Invalid value: "bob": owner is immutable' in body["message"]
    stricter = crd()
    _, stored = await live.json("GET", f"{CRDS}/{stricter['metadata']['name']}")
    schema = stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["image"]["maxLength"] = 7
    code, body = await live.json("PUT", f"{CRDS}/{stored['metadata']['name']}", json=stored)
    assert code == 200, body
    code, body = await live.json("PATCH", path, json={"spec": {"replicas": 3}}, headers=MERGE)
    assert code == 200, body
    assert body["metadata"]["generation"] == 2
    code, body = await live.json(
        "PATCH", path, json={"spec": {"image": "longer-one"}}, headers=MERGE
    )
    assert code == 422
    assert "Too long" in body["message"]


async def test_status_and_scale(live: Running) -> None:
    await define(live)
    await live.json("POST", TABS, json=cron_tab() | {"status": {"replicas": 9}})
    path = f"{TABS}/a"
    _, found = await live.json("GET", path)
    assert "status" not in found
    body = {"status": {"replicas": 3, "selector": "a=b"}, "spec": {"replicas": 9}}
    _, found = await live.json("PATCH", f"{path}/status", json=body, headers=MERGE)
    assert (found["status"]["replicas"], found["spec"]["replicas"]) == (3, 1)
    assert found["metadata"]["generation"] == 1
    bad = {"status": {"replicas": "x"}}
    code, _ = await live.json("PATCH", f"{path}/status", json=bad, headers=MERGE)
    assert code == 422
    _, scale = await live.json("GET", f"{path}/scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 1}, {"replicas": 3, "selector": "a=b"})
    scaled = {"spec": {"replicas": 4}}
    _, scale = await live.json("PATCH", f"{path}/scale", json=scaled, headers=MERGE)
    assert scale["spec"] == {"replicas": 4}
    _, found = await live.json("GET", path)
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (4, 2)


async def test_tables_and_selectable_fields(live: Running) -> None:
    await define(live)
    await live.json("POST", TABS, json=cron_tab("a"))
    await live.json("POST", TABS, json=cron_tab("b", image="other"))
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await live.json("PATCH", f"{TABS}/a/status", json=ready, headers=MERGE)
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    _, table = await live.json("GET", TABS, headers=headers)
    heads = [(c["name"], c["priority"]) for c in table["columnDefinitions"]]
    assert heads == [("Name", 0), ("Spec", 0), ("Replicas", 0), ("Ready", 0), ("Wide", 1),
                     ("Age", 0)]  # fmt: skip
    assert [row["cells"][:5] for row in table["rows"]] == [
        ["a", "* * * * */5", 1, "True", "busybox"], ["b", "* * * * */5", 1, None, "other"],
    ]  # fmt: skip
    _, found = await live.json("GET", f"{TABS}?fieldSelector=spec.image%3Dother")
    assert [o["metadata"]["name"] for o in found["items"]] == ["b"]
    code, body = await live.json("GET", f"{TABS}?fieldSelector=spec.replicas%3D1")
    assert code == 400
    assert "field label not supported: spec.replicas" in body["message"]


async def test_several_versions(live: Running) -> None:
    """One object through all; a deprecated version says so; the storage version may move."""
    old = version("v1beta1", storage=False, deprecated=True,
                  deprecationWarning="use v1 of CronTab")  # fmt: skip
    made = await define(live, crd(old, version("v1")))
    await live.json("POST", TABS, json=cron_tab())
    beta = TABS.replace("/v1/", "/v1beta1/")
    async with live.session.get(f"{beta}/a") as response:
        assert (await response.json())["apiVersion"] == f"{GROUP}/v1beta1"
        assert "use v1 of CronTab" in response.headers["Warning"]
    for entry in made["spec"]["versions"]:
        entry["storage"] = entry["name"] == "v1beta1"
    name = made["metadata"]["name"]
    code, moved = await live.json("PUT", f"{CRDS}/{name}", json=made)
    assert code == 200, moved
    assert moved["status"]["storedVersions"] == ["v1", "v1beta1"]
    _, found = await live.json("GET", f"{TABS}/a")
    assert (found["apiVersion"], found["spec"]["image"]) == (f"{GROUP}/v1", "busybox")
    moved["spec"]["versions"] = [v for v in moved["spec"]["versions"] if v["name"] == "v1beta1"]
    code, body = await live.json("PUT", f"{CRDS}/{name}", json=moved)
    assert code == 422
    assert "status.storedVersions[0]" in body["message"]
    _, group = await live.json("GET", f"/apis/{GROUP}")
    assert [v["version"] for v in group["versions"]] == ["v1", "v1beta1"]


async def test_deleting_a_definition_removes_its_objects(live: Running) -> None:
    made = await define(live)
    held = cron_tab()
    held["metadata"]["finalizers"] = ["example.com/wait"]
    await live.json("POST", TABS, json=held)
    await live.json("POST", TABS, json=cron_tab("b"))
    path = f"{CRDS}/{made['metadata']['name']}"
    _, body = await live.json("DELETE", path)
    conditions = {c["type"] for c in body["status"]["conditions"]}
    assert "Terminating" in conditions

    async def only_the_held() -> bool:
        _, found = await live.json("GET", TABS)
        return [o["metadata"]["name"] for o in found["items"]] == ["a"]

    await until(only_the_held)
    code, body = await live.json("POST", TABS, json=cron_tab("c"))
    assert code == 405
    assert "terminating" in body["message"]
    release = {"metadata": {"finalizers": None}}
    await live.json("PATCH", f"{TABS}/a", json=release, headers=MERGE)

    async def all_gone() -> bool:
        return (await live.json("GET", path))[0] == 404

    await until(all_gone)
    code, _ = await live.json("GET", TABS)
    assert code == 404
    code, _ = await live.json("GET", f"/apis/{GROUP}")
    assert code == 404


async def test_owners_and_namespaces(live: Running) -> None:
    """Dependents of custom objects, custom dependents, and namespaces that end."""
    await define(live)
    _, owner = await live.json("POST", TABS, json=cron_tab())
    maps = "/api/v1/namespaces/default/configmaps"

    def owned(obj: dict[str, Any], by: dict[str, Any], **more: Any) -> dict[str, Any]:
        head = {k: by[k] for k in ("apiVersion", "kind")}
        meta = {k: by["metadata"][k] for k in ("name", "uid")}
        obj["metadata"]["ownerReferences"] = [head | meta | more]
        return obj

    _, plain = await live.json("POST", maps, json=owned(config_map("m"), owner))
    await live.json("POST", TABS, json=owned(cron_tab("below"), plain))
    await live.json("DELETE", f"{TABS}/a")

    async def gone(path: str) -> bool:
        return (await live.json("GET", path))[0] == 404

    await until(lambda: gone(f"{maps}/m"))
    await until(lambda: gone(f"{TABS}/below"))

    _, owner = await live.json("POST", TABS, json=cron_tab())
    blocking = owned(config_map("m"), owner, blockOwnerDeletion=True)
    blocking["metadata"]["finalizers"] = ["example.com/wait"]
    await live.json("POST", maps, json=blocking)
    await live.json("DELETE", f"{TABS}/a", json={"propagationPolicy": "Foreground"})

    async def deleting() -> bool:
        _, found = await live.json("GET", f"{maps}/m")
        return "deletionTimestamp" in found["metadata"]

    await until(deleting)
    assert not await gone(f"{TABS}/a")
    release = {"metadata": {"finalizers": None}}
    await live.json("PATCH", f"{maps}/m", json=release, headers=MERGE)
    await until(lambda: gone(f"{TABS}/a"))

    _, owner = await live.json("POST", TABS, json=cron_tab())
    await live.json("POST", maps, json=owned(config_map("kept"), owner))
    await live.json("DELETE", f"{TABS}/a", json={"propagationPolicy": "Orphan"})
    await until(lambda: gone(f"{TABS}/a"))
    _, kept = await live.json("GET", f"{maps}/kept")
    assert "ownerReferences" not in kept["metadata"]


async def test_names_that_are_taken(live: Running) -> None:
    await define(live)
    other = await define(live, crd(plural="tabs", kind="CronTab", shortNames=["x"]))
    conditions = {c["type"]: (c["status"], c["reason"]) for c in other["status"]["conditions"]}
    assert conditions["NamesAccepted"] == ("False", "KindConflict")
    assert conditions["Established"][0] == "False"
    code, _ = await live.json("GET", f"/apis/{GROUP}/v1/namespaces/default/tabs")
    assert code == 404
    await live.json("DELETE", f"{CRDS}/crontabs.{GROUP}")

    async def served() -> bool:
        return (await live.json("GET", f"/apis/{GROUP}/v1/namespaces/default/tabs"))[0] == 200

    await until(served)


async def test_kinds_that_weft_serves_itself_win(live: Running) -> None:
    names = {"plural": "virtualservices", "kind": "VirtualService", "shortNames": ["vs"]}
    definition = crd(**names)
    definition["metadata"]["name"] = "virtualservices.networking.istio.io"
    definition["spec"]["group"] = "networking.istio.io"
    async with live.session.post(CRDS, json=definition) as response:
        made = await response.json()
        assert response.status == 201
        assert (
            "weft serves virtualservices.networking.istio.io itself"
            in (response.headers["Warning"])
        )
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions["Established"] == "True"
    bad = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
           "metadata": {"name": "x"}, "spec": {"cronSpec": "* * * * *"}}  # fmt: skip
    path = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"
    code, body = await live.json("POST", f"{path}?fieldValidation=Strict", json=bad)
    assert code == 400
    assert "cronSpec" in body["message"]
    code, _ = await live.json("DELETE", f"{CRDS}/{definition['metadata']['name']}")
    assert code == 200


def _schema(**change: Any) -> dict[str, Any]:
    spec = {**CRON_SCHEMA["properties"]["spec"], **change}
    schema = {**CRON_SCHEMA, "properties": {**CRON_SCHEMA["properties"], "spec": spec}}
    return crd(version(schema={"openAPIV3Schema": schema}))


_URL = {"url": "https://a.b"}


def _hook(client: Any, *versions: str) -> dict[str, Any]:
    webhook = {"clientConfig": client, "conversionReviewVersions": list(versions)}
    return {"strategy": "Webhook", "webhook": webhook}


def _spec(**change: Any) -> dict[str, Any]:
    made = crd()
    made["spec"] |= change
    return made


def _property(**schema: Any) -> dict[str, Any]:
    return _schema(properties={"x": schema}, required=[])


WRONG: list[tuple[dict[str, Any], str]] = [
    (crd() | {"metadata": {"name": "x.y"}}, 'must be spec.names.plural+"."+spec.group'),
    (_spec(scope="Galaxy"), "spec.scope: Unsupported value"),
    (_spec(versions=[]), "must have at least one version"),
    (crd(version(), version("v2")), "exactly one version marked as storage version"),
    (crd(version(), version(storage=False)), "must contain unique version names"),
    (crd(version(schema={})), "schemas are required"),
    (_spec(conversion={"strategy": "Magic"}), 'supported values: "None", "Webhook"'),
    (_spec(conversion={"strategy": "Webhook"}), "required when strategy is set to Webhook"),
    (_spec(conversion=_hook(None, "v1")), "required when strategy is set to Webhook"),
    (_spec(conversion=_hook({"url": "http://a.b"}, "v1")), "'https' is the only allowed"),
    (_spec(conversion=_hook(_URL)), "conversionReviewVersions: Required value"),
    (_spec(conversion=_hook(_URL, "v9")), "must include at least one of v1, v1beta1"),
    (_spec(conversion=_hook(_URL, "v1", "v1")), "duplicate version"),
    (_spec(conversion=_hook(_URL, "v1") | {"strategy": "None"}), "should not be set when strategy"),
    (_spec(preserveUnknownFields=True), "cannot set to true"),
    (crd(kind="Bad_Kind"), "spec.names.kind"),
    (_property(), "must not be empty for specified object fields"),
    (_property(type="text"), "Unsupported value"),
    (_property(type="string", pattern="("), "must be a valid regular expression"),
    (_property(type="object", properties={"a": {"type": "string"}}, additionalProperties={
        "type": "string"}), "mutual exclusive"),
    (_property(type="object", additionalProperties=False), "cannot be set to false"),
    (_property(type="array"), "items: Required value"),
    (_property(type="array", items={"type": "string"}, uniqueItems=True), "quadratic"),
    (_property(type="array", items={"type": "object"}, **{"x-kubernetes-list-type": "map"}),
     "must not be empty if x-kubernetes-list-type is map"),
    (_property(type="integer", default="x"), "must be of type integer"),
    (_property(type="string", oneOf=[{"type": "string"}]), "must be empty to be structural"),
    (_property(**{"$ref": "#/x", "type": "string"}), "$ref is not supported"),
    (_property(type="string", **{"x-kubernetes-validations": [{"rule": "self.size( > 1"}]}),
     "compilation failed: ERROR: Syntax error"),
    (_property(type="string", **{"x-kubernetes-validations": [{"rule": "this > 1"}]}),
     "undeclared reference to 'this'"),
    (_property(type="string", **{"x-kubernetes-validations": [{"rule": "self.nope()"}]}),
     "undeclared reference to 'nope'"),
    (crd(version(additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": "x"}])),
     "JSONPath"),
    (crd(version(subresources={"scale": {"specReplicasPath": ".x", "statusReplicasPath": ""}})),
     "should be a json path under .spec"),
]  # fmt: skip


async def test_definitions_that_are_refused(live: Running) -> None:
    for definition, text in WRONG:
        code, body = await live.json("POST", CRDS, json=definition)
        assert code == 422, (text, body)
        assert text in body["message"]
    code, body = await live.json("GET", CRDS)
    assert body["items"] == []


async def test_what_a_definition_may_not_change(live: Running) -> None:
    made = await define(live)
    path = f"{CRDS}/{made['metadata']['name']}"
    made["spec"]["scope"] = "Cluster"
    code, body = await live.json("PUT", path, json=made)
    assert code == 422
    assert 'spec.scope: Invalid value: "Cluster": field is immutable' in body["message"]


async def test_rules_that_would_run_for_ever_end(live: Running) -> None:
    rule = "self.all(a, self.all(b, self.all(c, self.all(d, a != b || c != d || a == a))))"
    schema = _property(type="array", items={"type": "integer"},
                       **{"x-kubernetes-validations": [{"rule": rule}]})  # fmt: skip
    await define(live, schema)
    obj = cron_tab()
    obj["spec"] = {"x": list(range(200))}
    async with asyncio.timeout(20):
        code, body = await live.json("POST", TABS, json=obj)
    assert code == 422
    assert "cost limit exceeded" in body["message"]


def _install(group: str, plural: str, kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    """As generators of other projects write it, an empty status included."""
    made = crd(version(schema={"openAPIV3Schema": schema}, subresources={}), plural=plural,
               kind=kind, shortNames=[])  # fmt: skip
    made["metadata"] = {
        "name": f"{plural}.{group}",
        "creationTimestamp": None,
        "annotations": {"api-approved.kubernetes.io": "https://example.com"},
    }
    made["spec"]["group"] = group
    made["status"] = {"acceptedNames": {"kind": "", "plural": ""}, "conditions": [],
                      "storedVersions": []}  # fmt: skip
    return made


def _spec_of(**properties: Any) -> dict[str, Any]:
    head = {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": {"type": "object"}}  # fmt: skip
    spec = {"type": "object", **properties}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"type": "object", "properties": {**head, "spec": spec, "status": status}}


LISTENERS = {
    "type": "array", "maxItems": 64,
    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
    "items": {"type": "object", "required": ["name", "port"], "properties": {
        "name": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "namespace": {"type": "string"},
        "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "default": "HTTP"},
        "hostname": {"type": "string"},
        "tls": {"type": "object", "properties": {"mode": {"type": "string"}}}}},
    "x-kubernetes-validations": [
        {"rule": "self.all(l, l.protocol.matches('(?i)^(http|tcp)$') ? !has(l.tls) : true)",
         "message": "no tls"},
        {"rule": "self.all(a, self.exists_one(b, a.port == b.port && (has(a.hostname) && "
                 "has(b.hostname) ? a.hostname == b.hostname : !has(a.hostname) && "
                 "!has(b.hostname))))", "message": "unique"},
        {"rule": "self.all(a, !has(a.__namespace__) || a.__namespace__ != '')"},
    ],
}  # fmt: skip
DURATION = {
    "type": "string",
    "x-kubernetes-validations": [
        {"rule": "duration(self) >= duration('1ms')", "message": "must be at least 1ms"}
    ],
}
EITHER = [
    {"not": {"anyOf": [{"required": ["simple"]}, {"required": ["consistent"]}]}},
    {"required": ["simple"]},
    {"required": ["consistent"]},
]


async def test_definitions_of_other_projects_next_to_our_kinds(live: Running) -> None:
    """One in the group of our Gateways, one as Istio writes them, one as Argo does."""
    schemas = {
        ("gateway.networking.k8s.io", "listenerkits", "ListenerKit"): _spec_of(
            properties={"listeners": LISTENERS}
        ),
        ("extensions.istio.io", "sketchplugins", "SketchPlugin"): _spec_of(
            properties={
                "interval": DURATION,
                "lb": {"type": "object", "oneOf": EITHER, "properties": {
                    "simple": {"type": "string", "enum": ["ROUND_ROBIN"]},
                    "consistent": {"type": "object", "properties": {
                        "size": {"type": "integer", "minimum": 0}}}}},
            }
        ),
        ("argoproj.io", "sketches", "Sketch"): _spec_of(
            properties={
                "template": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "maxSurge": {"anyOf": [{"type": "integer"}, {"type": "string"}],
                             "x-kubernetes-int-or-string": True},
            }
        ),
    }  # fmt: skip
    for (group, plural, kind), schema in schemas.items():
        code, body = await live.json("POST", CRDS, json=_install(group, plural, kind, schema))
        assert code == 201, body

    async def post(group: str, plural: str, spec: dict[str, Any]) -> tuple[int, str]:
        path = f"/apis/{group}/v1/namespaces/default/{plural}"
        obj = {"metadata": {"generateName": "x-"}, "spec": spec}
        code, body = await live.json("POST", path, json=obj)
        return code, body.get("message", "")

    gateway = ("gateway.networking.k8s.io", "listenerkits")
    one = {"name": "a", "port": 80}
    good = {"listeners": [one, {"name": "b", "port": 81}]}
    assert await post(*gateway, good) == (201, "")
    assert (await post(*gateway, {"listeners": [one | {"namespace": "n"}]}))[0] == 201
    assert "unique" in (await post(*gateway, {"listeners": [one, one | {"name": "b"}]}))[1]
    assert "no tls" in (await post(*gateway, {"listeners": [one | {"tls": {}}]}))[1]
    many = [{"name": f"l{n}", "port": n + 1, "hostname": f"h{n}"} for n in range(64)]
    assert (await post(*gateway, {"listeners": many}))[0] == 201
    istio = ("extensions.istio.io", "sketchplugins")
    assert (await post(*istio, {"interval": "5s", "lb": {"simple": "ROUND_ROBIN"}}))[0] == 201
    assert (await post(*istio, {"lb": {}}))[0] == 201
    code, text = await post(*istio, {"lb": {"simple": "ROUND_ROBIN", "consistent": {}}})
    assert code == 422
    assert "must validate one and only one schema (oneOf)" in text
    assert "must be at least 1ms" in (await post(*istio, {"interval": "1us"}))[1]
    argo = ("argoproj.io", "sketches")
    for surge in (1, "25%"):
        assert (await post(*argo, {"template": {"any": 1}, "maxSurge": surge}))[0] == 201
    _, found = await live.json("GET", "/apis/gateway.networking.k8s.io/v1")
    assert {"gateways", "httproutes", "listenerkits"} <= {r["name"] for r in found["resources"]}
    code, document = await live.json("GET", "/openapi/v3/apis/gateway.networking.k8s.io/v1")
    assert code == 200
    assert "io.k8s.networking.gateway.v1.ListenerKit" in document["components"]["schemas"]
