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
BUILT_IN = {"virtualservices.networking.istio.io", "gateways.gateway.networking.k8s.io"}
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
