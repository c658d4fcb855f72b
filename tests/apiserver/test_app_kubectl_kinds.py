"""Every kind of Kubernetes that weft serves, through real kubectl."""

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml

from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import LATEST, Kubectl, binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]
OLD_HPA = "horizontalpodautoscalers.v1.autoscaling"
FILE = Path(__file__).parent / "kinds.yaml"
NAMES = [
    (f"{o['kind'].lower()}.{o['apiVersion'].rpartition('/')[0]}".rstrip("."), o["metadata"]["name"])
    for o in yaml.safe_load_all(FILE.read_text())
]


@pytest.fixture(params=[binaries()[0], *LATEST], ids=lambda p: Path(p).name)
def kubectl(request: pytest.FixtureRequest, live: Running) -> Kubectl:
    return Kubectl(request.param, live)


@pytest.fixture
def latest(live: Running) -> Kubectl:
    return Kubectl(LATEST[0], live)


async def test_every_kind_is_applied_shown_and_deleted(kubectl: Kubectl) -> None:
    first = await kubectl("apply", "-f", str(FILE))
    assert first.count(" created") == len(NAMES)
    named = [f"{kind}/{name}" for kind, name in NAMES]
    revisions = ("get", *named, "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    before = await kubectl(*revisions)
    await kubectl("apply", "-f", str(FILE))
    assert await kubectl(*revisions) == before
    described = await asyncio.gather(*(kubectl("describe", n) for n in named))
    for (_, name), text in zip(NAMES, described, strict=True):
        assert name in text
    applied = await kubectl("apply", "--server-side", "--force-conflicts", "-f", str(FILE))
    assert applied.count(" serverside-applied") == len(NAMES)
    # A claim is held by its finalizer, which nobody takes off here.
    gone = await kubectl("delete", "--wait=false", "-f", str(FILE))
    assert gone.count("deleted") == len(NAMES)
    left = await kubectl("get", "pv,pvc", "-o", "jsonpath={.items[*].metadata.finalizers}")
    assert left == '["kubernetes.io/pvc-protection"]'


async def test_tables(latest: Kubectl) -> None:
    await latest("apply", "-f", str(FILE))
    shown = {
        "sts": "db  0/1",
        "ds": "agent  0  0  0  0  0  <none>",
        "controllerrevisions": "db-1  <none>  1",
        "cj": "nightly  30 2 * * mon-fri  Europe/Berlin  False  0  <none>",
        "rc": "old  2  0  0",
        "podtemplates": "shape  c  shape:1  app=shape",
        "hpa": "scaler  Deployment/web  cpu: <unknown>/60%, <unknown>/10  1  5  0",
        "pdb": "budget  50%  N/A  0",
        "pv": "disk  1Gi  RWO,ROX  Retain  Pending  local  <unset>",
        "pvc": "claim  Pending  local  <unset>",
        "sc": "fast (default)  example.com/disks  Delete  Immediate  false",
        "ing": "front  edge  a.example.com  80, 443",
        "ingressclasses": "edge  example.com/edge  <none>",
        "netpol": "closed  app=db",
        "ep": "outside  192.0.2.1:80,192.0.2.2:80",
        "runtimeclasses": "sandbox  sandbox",
    }
    found = await asyncio.gather(*(latest("get", k, "--no-headers") for k in shown))
    for text, wanted in zip(found, shown.values(), strict=True):
        (row,) = (line for line in text.splitlines() if line.startswith(wanted.split()[0]))
        assert " ".join(row.split()).startswith(" ".join(wanted.split()))


async def test_creating_by_flags(kubectl: Kubectl) -> None:
    """kubectl ≥ 1.32 sends these as protobuf."""
    await kubectl("create", "cronjob", "tick", "--image=a:1", "--schedule=@hourly", "--", "true")
    await kubectl("create", "job", "now", "--from=cronjob/tick")
    owner = await kubectl("get", "job", "now", "-o", "jsonpath={.metadata.ownerReferences[0].kind}")
    assert owner == "CronJob"
    await kubectl("create", "pdb", "p", "--selector=app=web", "--max-unavailable=1")
    await kubectl("create", "ingress", "i", "--class=edge", "--rule=a.com/x*=web:80,tls=cert")
    path = "jsonpath={.spec.rules[0].http.paths[0]['path','pathType']}"
    assert await kubectl("get", "ing", "i", "-o", path) == "/x Prefix"
    await kubectl("create", "deployment", "web", "--image=a:1")
    out = await kubectl("autoscale", "deploy", "web", "--max=4", "--cpu-percent=70")
    assert "autoscaled" in out
    old = json.loads(await kubectl("get", OLD_HPA, "web", "-o", "json"))
    assert old["apiVersion"] == "autoscaling/v1"
    assert old["spec"]["targetCPUUtilizationPercentage"] == 70
    new = json.loads(await kubectl("get", "hpa", "web", "-o", "json"))
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    await kubectl("delete", "deploy,job,cj,pdb,ing,hpa", "--all", "--wait=false")


async def test_one_storage_two_versions(latest: Kubectl) -> None:
    """A patch through autoscaling/v1 keeps what only v2 has; an apply through it meets the same
    object; so it is with Events."""
    await latest("apply", "-f", str(FILE))
    change = json.dumps({"spec": {"maxReplicas": 7, "targetCPUUtilizationPercentage": 50}})
    await latest(
        "patch", "horizontalpodautoscalers.v1.autoscaling", "scaler", "--type=merge", "-p", change
    )
    spec = json.loads(await latest("get", "hpa", "scaler", "-o", "jsonpath={.spec}"))
    assert spec["maxReplicas"] == 7
    assert [m["type"] for m in spec["metrics"]] == ["Resource", "Pods"]
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    event = {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
        "regarding": {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": "default"},
        "note": "hello",
        "reason": "Said", "type": "Normal", "action": "Say", "reportingController": "x.y/z",
        "reportingInstance": "z-1", "eventTime": "2026-01-02T03:04:05.000006Z",
    }  # fmt: skip
    await latest("create", "-f", "-", stdin=json.dumps(event))
    core = json.loads(await latest("get", "events", "e", "-o", "json"))
    assert (core["apiVersion"], core["message"]) == ("v1", "hello")
    assert core["involvedObject"]["name"] == "p"
    again = json.loads(await latest("get", "events.events.k8s.io", "e", "-o", "json"))
    assert (again["apiVersion"], again["note"]) == ("events.k8s.io/v1", "hello")
    chosen = await latest(
        "get", "events.events.k8s.io", "--field-selector=regarding.name=p", "-o", "name"
    )
    assert chosen.strip() == "event.events.k8s.io/e"
    assert "hello" in await latest("get", "events.events.k8s.io")
    assert "hello" in await latest("events")
    assert "hello" in await latest("events", "--for=pod/p")


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("sts/db", '{"spec":{"serviceName":"x"}}', "updates to statefulset spec for fields other"),
        ("ds/agent", '{"spec":{"selector":{"matchLabels":{"a":"b"}}}}', "field is immutable"),
        ("cj/nightly", '{"spec":{"schedule":"61 * * * *"}}', "end of range (61) above maximum"),
        ("cj/nightly", '{"spec":{"timeZone":"Mars/Base"}}', "unknown time zone Mars/Base"),
        ("hpa/scaler", '{"spec":{"minReplicas":9}}', "greater than or equal to `minReplicas`"),
        ("pdb/budget", '{"spec":{"maxUnavailable":1}}', "cannot be both set"),
        ("pvc/claim", '{"spec":{"volumeMode":"Block"}}', "spec is immutable after creation"),
        ("pv/disk", '{"spec":{"hostPath":{"path":"/x"}}}', "persistentvolumesource is immutable"),
        ("sc/fast", '{"parameters":{"a":"b"}}', "updates to parameters are forbidden."),
        ("ing/front", '{"spec":{"rules":[{"host":"1.2.3.4"}]}}', "not an IP address"),
        ("netpol/closed", '{"spec":{"policyTypes":["Sideways"]}}', "Unsupported value"),
        ("ingressclass/edge", '{"spec":{"controller":"a.b/c"}}', "field is immutable"),
        ("controllerrevision/db-1", '{"data":{"x":1}}', "field is immutable"),
        ("rc/old", '{"spec":{"selector":{"app":"other"}}}', "does not match template `labels`"),
    ],
)  # fmt: skip
async def test_refusals(latest: Kubectl, kind: str, change: str, words: str) -> None:
    await latest("apply", "-f", str(FILE))
    assert words in await latest.fails("patch", kind, "--type=merge", "-p", change)


async def test_scale_and_explain(latest: Kubectl) -> None:
    await latest("apply", "-f", str(FILE))
    await latest("scale", "sts/db", "rc/old", "--replicas=3")
    replicas = "jsonpath={.items[*].spec.replicas}"
    assert await latest("get", "sts,rc", "-o", replicas) == "3 3"
    for path in ("hpa.spec.behavior", "ingress.spec.rules.http.paths", "cronjob.spec.timeZone"):
        assert "DESCRIPTION" in await latest("explain", path)
    old = await latest("explain", "hpa.spec", "--api-version=autoscaling/v1")
    assert "targetCPUUtilizationPercentage" in old
    assert "note\t<string>" in await latest("explain", "event", "--api-version=events.k8s.io/v1")


async def test_every_kind_is_explained_in_every_version(latest: Kubectl, live: Running) -> None:
    """kubectl shows one kind of each group and version down to its last field; what it shows the
    others from is there and whole."""
    explained, at_once = 0, asyncio.Semaphore(2)

    async def explain(name: str, version: str, kind: str) -> str:
        async with at_once:
            shown = ("explain", name, "--recursive", f"--api-version={version}")
            code, out, err = await latest.run(*shown)
        lines = out.splitlines()
        right = f"KIND:       {kind}" in lines and "  metadata\t<ObjectMeta>" in out
        return "" if code == 0 and right else f"{name} {version}: {err}{out[:200]}"

    asked = []
    for version in (await latest("api-versions")).split():
        path = "api/v1" if version == "v1" else f"apis/{version}"
        _, found = await live.json("GET", f"/{path}")
        kinds = [(r["name"], r["kind"]) for r in found["resources"] if "/" not in r["name"]]
        _, document = await live.json("GET", f"/openapi/v3/{path}")
        schemas = document["components"]["schemas"]
        for reference in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
            assert reference in schemas, f"{version} refers to {reference}"
        group, _, number = version.rpartition("/")
        for _, kind in kinds:
            named = {"group": group, "kind": kind, "version": number}
            (schema,) = (
                s for s in schemas.values() if named in s.get("x-kubernetes-group-version-kind", ())
            )
            assert schema["properties"], f"{kind} of {version} has no fields"
            assert schema["description"], f"{kind} of {version} is not described"
            explained += 1
        asked.append(explain(kinds[-1][0], version, kinds[-1][1]))
    assert explained > 100
    assert not [text for text in await asyncio.gather(*asked) if text]
