"""Definitions as Istio, the Gateway API and Argo install them, next to the kinds weft serves."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import Kubectl, binaries

pytest.importorskip("re2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]
FILE = str(Path(__file__).parent / "upstream_crds.yaml")
POLICY = str(Path(__file__).parent / "upstream_policy.yaml")
ANNOTATIONS_BYTES_MAX = 262_144
RULES = Path(__file__).parent / "upstream_rules.yaml"
BUILT_IN = {
    "virtualservices.networking.istio.io", "gateways.gateway.networking.k8s.io",
    "referencegrants.gateway.networking.k8s.io",
}  # fmt: skip
CUSTOM = {
    "wasmplugins.extensions.istio.io", "xmeshes.gateway.networking.x-k8s.io",
    "workflows.argoproj.io",
}  # fmt: skip
OBJECTS = """
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: a}
spec: {url: "oci://x/y:1", vmConfig: {env: [{name: A, value: b}]}}
---
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: w}
spec: {replicas: 2, strategy: {canary: {maxSurge: 25%, steps: [{pause: {duration: 10}}]}}}
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: v}
spec: {hosts: [v], http: [{route: [{destination: {host: v}}]}]}
"""


async def test_they_apply_cleanly_and_built_in_kinds_win(live: Running) -> None:
    """Client side, again, and server side; as an install script does it."""
    kubectl = Kubectl(binaries()[-1], live)
    _, out, err = await kubectl.run("apply", "-f", FILE)
    assert out.count(" created") == len(BUILT_IN | CUSTOM), err
    warned = {line.split()[3] for line in err.splitlines() if line.startswith("Warning: weft")}
    assert warned == BUILT_IN
    assert "error" not in (await kubectl("apply", "-f", FILE)).lower()
    forced = await kubectl("apply", "--server-side", "--force-conflicts", "-f", FILE)
    assert forced.count("serverside-applied") == len(BUILT_IN | CUSTOM)
    await kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=5s")
    listed = (await kubectl("get", "crd", "-o", "name")).split()
    assert {name.split("/")[1] for name in listed} == BUILT_IN | CUSTOM
    reason = '{.status.conditions[?(@.type=="Established")].reason}'
    for name in BUILT_IN:
        assert await kubectl("get", "crd", name, "-o", f"jsonpath={reason}") == "ServedByWeft"

    assert (await kubectl("apply", "-f", "-", stdin=OBJECTS)).count("created") == 3
    bad = '{"spec":{"url":"ftp://x"}}'
    refused = await kubectl.fails("patch", "wasmplugin", "a", "--type=merge", "-p", bad)
    assert "url must have schema one of [http, https, file, oci]" in refused
    assert "scaled" in await kubectl("scale", "wf/w", "--replicas=3")
    assert "deleted" in await kubectl("delete", "-f", FILE)
    assert "virtualservice.networking.istio.io/v" in await kubectl("get", "vs", "-o", "name")


def definition(version: str, channel: str) -> str:
    """The file's definition of a built-in kind, as another release has it."""
    every = yaml.safe_load_all(Path(FILE).read_text())
    found = next(d for d in every if d["metadata"]["name"].startswith("gateways."))
    notes = {"example.com/version": version, "example.com/channel": channel}
    found["metadata"] = {"name": found["metadata"]["name"], "annotations": notes}
    return json.dumps(found)


async def test_a_policy_guards_definitions_of_built_in_kinds(live: Running) -> None:
    """Only definitions of its group, and only older and experimental ones."""
    kubectl = Kubectl(binaries()[-1], live)
    assert (await kubectl("apply", "-f", POLICY)).count("created") == 2
    again = await kubectl("apply", "--server-side", "--force-conflicts", "-f", POLICY)
    assert again.count("serverside-applied") == 2
    server_side = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    for how in (("apply", "-f", "-"), server_side):
        for version in ("v1.6.0", "v1.5.0-rc.1", "v1.10.2"):
            assert "gateways" in await kubectl(*how, stdin=definition(version, "standard"))
        for version, channel, why in (
            ("v1.4.1", "standard", "too old"),
            ("v1.6.0", "experimental", "no way back"),
        ):
            denied = await kubectl.fails(*how, stdin=definition(version, channel))
            assert "binding 'guard.gateway.networking.k8s.io' denied request: " + why in denied
    version = "jsonpath={.metadata.annotations.example\\.com/version}"
    name = "gateways.gateway.networking.k8s.io"
    assert await kubectl("get", "crd", name, "-o", version) == "v1.10.2"
    await kubectl("wait", "--for=condition=established", f"crd/{name}", "--timeout=5s")
    others = [
        d for d in yaml.safe_load_all(Path(FILE).read_text()) if d["metadata"]["name"] != name
    ]
    out = await kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(others))
    assert out.count("created") == len(BUILT_IN | CUSTOM) - 1


def tree(depth: int) -> dict[str, Any]:
    """A schema of 7 to the power of `depth` fields that say much of themselves."""
    if not depth:
        return {"type": "string", "description": "It says what the field means. " * 7}
    return {"type": "object", "properties": {f"field{n}": tree(depth - 1) for n in range(7)}}


async def test_a_definition_too_long_for_an_annotation(live: Running) -> None:
    """Client-side apply keeps the file in an annotation; the others need none."""
    kubectl = Kubectl(binaries()[-1], live)
    large = yaml.safe_load(RULES.read_text())
    schema = large["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"] |= tree(4)["properties"]
    text = json.dumps(large)
    assert len(text) > ANNOTATIONS_BYTES_MAX
    refused = await kubectl.fails("apply", "-f", "-", stdin=text)
    assert "metadata.annotations: Too long: may not be more than 262144 bytes" in refused
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=text)
    assert "serverside-applied" in await kubectl("apply", "--server-side", "-f", "-", stdin=text)
    assert "replaced" in await kubectl("replace", "-f", "-", stdin=text)
    told = await kubectl("explain", "xroutes.spec.field1.field2.field3.field4")
    assert "It says what the field means." in told


async def test_rules_as_the_gateway_api_writes_them(live: Running) -> None:
    """Raw strings in three quotes, nested quantifiers, sums of sizes, durations, defaults."""
    kubectl = Kubectl(binaries()[-1], live)
    assert "created" in await kubectl("apply", "-f", str(RULES))

    def route(**spec: Any) -> str:
        kind = {"apiVersion": "gateway.networking.x-k8s.io/v1", "kind": "XRoute"}
        return json.dumps(kind | {"metadata": {"name": "r"}, "spec": spec})

    one, two = {"name": "a", "port": 80}, {"name": "b", "port": 80, "hostname": "h"}
    fine = {"listeners": [one, two], "timeout": "1s500ms", "surge": "25%"}
    assert "created" in await kubectl("apply", "-f", "-", stdin=route(**fine))
    path = await kubectl("get", "xroutes", "r", "-o", "jsonpath={.spec.path}")
    assert json.loads(path) == {"type": "PathPrefix", "value": "/"}
    for spec, why in (
        ({"listeners": [one, {"name": "b", "port": 80}]}, "listeners must be distinct"),
        ({"path": {"value": "/a b"}}, "only valid characters"),
        ({"rules": [{"matches": ["a", "b"]}, {"matches": ["c", "d"]}]}, "at most 3 matches"),
        ({"timeout": "0ms"}, "must be at least 1ms"),
        ({"surge": 1.5}, "spec.surge"),
    ):
        assert why in await kubectl.fails("apply", "-f", "-", stdin=route(**fine | spec))


GROUPS = (
    "networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io",
    "argoproj.io",
)  # fmt: skip


def structural(schema: Any, schemas: Any) -> Any:
    """An OpenAPI v3 schema as the schema of a definition has to be: whole, without references."""
    if isinstance(schema, list):
        return [structural(each, schemas) for each in schema]
    if not isinstance(schema, dict):
        return schema
    for one in (schema, *schema.get("allOf", ())):
        if "$ref" in one:
            return structural(schemas[one["$ref"].rpartition("/")[2]], schemas)
    if schema.get("format") == "int-or-string" or "oneOf" in schema:
        return {"x-kubernetes-int-or-string": True}
    left_out = ("default", "x-kubernetes-group-version-kind", "x-kubernetes-patch-strategy",
                "x-kubernetes-patch-merge-key", "x-kubernetes-list-type",
                "x-kubernetes-list-map-keys", "x-kubernetes-map-type")  # fmt: skip
    made = {k: structural(v, schemas) for k, v in schema.items() if k not in left_out}
    if made.get("type") == "object" and not made.keys() & {"properties", "additionalProperties"}:
        made["x-kubernetes-preserve-unknown-fields"] = True
    if made.keys() == {"description"} and isinstance(made["description"], str):
        made["x-kubernetes-preserve-unknown-fields"] = True
    return made


async def whole_definition(live: Running, group: str, kinds: dict[str, Any]) -> dict[str, Any]:
    """Of one kind, with all its versions and fields."""
    versions = []
    for number, resource in kinds.items():
        _, document = await live.json("GET", f"/openapi/v3/apis/{group}/{number}")
        schemas = document["components"]["schemas"]
        named = {"group": group, "version": number, "kind": resource["kind"]}
        (found,) = (
            s for s in schemas.values() if named in s.get("x-kubernetes-group-version-kind", ())
        )
        schema = {**found, "properties": {**found["properties"], "metadata": {"type": "object"}}}
        whole = structural(schema, schemas)
        whole["properties"]["metadata"] = {"type": "object"}
        versions.append({
            "name": number, "served": True, "storage": not versions,
            "subresources": {"status": {}}, "schema": {"openAPIV3Schema": whole},
        })  # fmt: skip
    names = {"plural": resource["name"], "singular": resource["singularName"],
             "kind": resource["kind"], "listKind": f"{resource['kind']}List",
             "shortNames": resource.get("shortNames", [])}  # fmt: skip
    scope = "Namespaced" if resource["namespaced"] else "Cluster"
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource['name']}.{group}",
                     "annotations": {"api-approved.kubernetes.io": "https://example.com"}},
        "spec": {"group": group, "names": names, "scope": scope, "versions": versions},
    }  # fmt: skip


async def test_definitions_of_every_kind_of_others_that_weft_serves(live: Running) -> None:
    """Whole ones, in one file, as long as upstream's: each is established and told to be without
    effect, and what is served stays as it was."""
    kubectl = Kubectl(binaries()[-1], live)
    made = []
    for group in GROUPS:
        _, found = await live.json("GET", f"/apis/{group}")
        kinds: dict[str, dict[str, Any]] = {}
        for version in (each["version"] for each in found["versions"]):
            _, listed = await live.json("GET", f"/apis/{group}/{version}")
            for resource in listed["resources"]:
                if "/" not in resource["name"]:
                    kinds.setdefault(resource["name"], {})[version] = resource
        made += [await whole_definition(live, group, versions) for versions in kinds.values()]
    text = "\n---\n".join(map(json.dumps, made))
    assert len(text) > 500_000
    explained = await kubectl("explain", "rollout.spec.strategy.canary", "--recursive")
    code, out, err = await kubectl.run("apply", "--server-side", "-f", "-", stdin=text)
    assert code == 0, err
    assert out.count("serverside-applied") == len(made) > 25
    warned = {line.split()[3] for line in err.splitlines() if line.startswith("Warning: weft")}
    assert warned == {each["metadata"]["name"] for each in made}
    await kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=20s")
    assert await kubectl("explain", "rollout.spec.strategy.canary", "--recursive") == explained
    assert "virtualservice.networking.istio.io/v created" in await kubectl(
        "apply", "-f", "-", stdin=OBJECTS.rpartition("---")[2]
    )
