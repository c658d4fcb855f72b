"""Definitions as Istio, the Gateway API and Argo install them, next to the kinds weft serves."""

from pathlib import Path

import pytest

from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import Kubectl, binaries

pytest.importorskip("re2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]
FILE = str(Path(__file__).parent / "upstream_crds.yaml")
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
