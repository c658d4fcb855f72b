"""Progressive delivery under load: canaries, blue-green, judged by the mesh and by Prometheus."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import APPS, ISOLATIONS, fresh
from tests.e2e.instance import EXAMPLES, Instance, Load, ask, wait_for

INGRESS = "kube-system/ingress"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        yield instance


def template(version: str, name: str, **env: str) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/calls?key=x", "port": "http"}, "periodSeconds": 1}
    variables = [{"name": k, "value": v} for k, v in {"VERSION": version, **env}.items()]
    container = {
        "name": "echo", "image": "echo:1", "env": variables, "readinessProbe": probe,
        "ports": [{"name": "http", "containerPort": 8080}],
    }  # fmt: skip
    return {"metadata": {"labels": {"app": name}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 5}}  # fmt: skip


def rollout(name: str, strategy: Any, replicas: int = 2, **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": template("v1", name), "strategy": strategy,
        },
    }  # fmt: skip


def service(name: str, app: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": app},
                 "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }  # fmt: skip


def gateway(name: str, to: str) -> list[dict[str, Any]]:
    """The way from outside to a Service. Its own calls go through the mesh's routes."""
    return list(
        yaml.safe_load_all(f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [{name}.test]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{name}.test]
  gateways: [{name}]
  http: [{{route: [{{destination: {{host: {to}}}}}]}}]
""")
    )


def apply(weft: Instance, *objects: Any) -> None:
    weft.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in objects))


def status(weft: Instance, name: str) -> Any:
    path = f"/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/{name}"
    return weft.read(path).get("status") or {}


def reaches(weft: Instance, name: str, phase: str, seconds: float = 100) -> None:
    def there() -> bool:
        found = status(weft, name)
        return bool(found.get("phase") == phase)

    try:
        wait_for(there, phase, seconds)
    except AssertionError:
        raise AssertionError(f"{name} is not {phase}: {status(weft, name)}") from None


def change(weft: Instance, name: str, version: str, **env: str) -> None:
    path = f"/apis/argoproj.io/v1alpha1/namespaces/default/rollouts/{name}"
    body = {"spec": {"template": template(version, name, **env)}}
    code, answer = weft.api(path, "PATCH", body)
    assert code == 200, answer
    wait_for(lambda: status(weft, name).get("phase") != "Healthy", "the change is seen")


def load(weft: Instance, name: str, path: str = "/who") -> Load:
    return Load(f"{weft.gateway()}{path}", clients=4, headers={"Host": f"{name}.test"})


def test_a_canary_goes_to_the_end_and_loses_nothing(weft: Instance) -> None:
    """Divided by the VirtualService that it names, as in Argo Rollouts."""
    routed, way = gateway("can", "can-stable")
    way["spec"]["http"] = [{"name": "primary", "route": [
        {"destination": {"host": "can-stable"}, "weight": 100},
        {"destination": {"host": "can-canary"}, "weight": 0}]}]  # fmt: skip
    steps = [{"setWeight": 50}, {"pause": {}}, {"setWeight": 80}]
    strategy = {"canary": {
        "stableService": "can-stable", "canaryService": "can-canary", "steps": steps,
        "scaleDownDelaySeconds": 1,
        "trafficRouting": {"istio": {"virtualService": {"name": "can"}}}}}  # fmt: skip
    services = [service(n, "can") for n in ("can-stable", "can-canary")]
    apply(weft, *services, routed, way, rollout("can", strategy))
    reaches(weft, "can", "Healthy")
    assert "can" in weft.weft("rollout", "list")

    async def run() -> None:
        async with load(weft, "can") as traffic:
            await traffic.until(50)
            await asyncio.to_thread(change, weft, "can", "v2")
            await asyncio.to_thread(reaches, weft, "can", "Paused")
            before = dict(traffic.bodies)
            await traffic.until(traffic.total + 400)
            new = traffic.bodies["v2"] - before.get("v2", 0)
            share = new / (new + traffic.bodies["v1"] - before.get("v1", 0))
            assert 0.35 < share < 0.65
            await asyncio.to_thread(weft.weft, "rollout", "promote", "can")
            await asyncio.to_thread(reaches, weft, "can", "Healthy")
            await alone(traffic, "v2")
        assert traffic.failed == 0, traffic.report()

    asyncio.run(run())
    tree = weft.weft("rollout", "get", "can")
    assert "Healthy" in tree
    assert "revision:2" in tree
    weft.kubectl("delete", "rollout/can", "vs/can", "gateway.networking.istio.io/can")


def test_a_bad_canary_goes_back_by_itself(weft: Instance) -> None:
    """Calls from pods are divided by the mesh, without any route; its signals judge."""
    strategy = {"canary": {
        "stableService": "bad", "canaryService": "bad-canary", "trafficRouting": {},
        "abortScaleDownDelaySeconds": 1, "steps": [{"setWeight": 50}, {"pause": {}}]}}  # fmt: skip
    services = [service(n, "bad") for n in ("bad", "bad-canary")]
    caller = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asks", "labels": {"app": "asks"}},
        "spec": template("asks", "asks")["spec"],
    }  # fmt: skip
    judged = rollout("bad", strategy, **{"weft.dev/judge": "true"})
    apply(weft, *services, judged, caller, service("asks", "asks"), *gateway("asks", "asks"))
    reaches(weft, "bad", "Healthy")
    weft.wait_ready("app=asks", 1)
    path = "/call?url=http://bad/who"

    async def run() -> None:
        async with load(weft, "asks", path) as traffic:
            await traffic.until(20)
            await asyncio.to_thread(change, weft, "bad", "v2", BROKEN="1")
            await asyncio.to_thread(reaches, weft, "bad", "Degraded")

    asyncio.run(run())
    found = status(weft, "bad")
    assert "RolloutAborted" in found["message"]
    assert "mesh-signals" in found["message"]
    assert found["canary"]["weights"]["canary"]["weight"] == 0
    (run_,) = weft.items("analysisruns")
    assert run_["status"]["phase"] == "Failed"


def test_blue_green_moves_at_once_and_loses_nothing(weft: Instance) -> None:
    strategy = {"blueGreen": {
        "activeService": "bg", "previewService": "bg-preview", "autoPromotionEnabled": False,
        "prePromotionAnalysis": {"templates": [{"templateName": "preview"}]},
        "scaleDownDelaySeconds": 1}}  # fmt: skip
    services = [service(n, "bg") for n in ("bg", "bg-preview")]
    asked = asks("preview", "http://bg-preview/env", "{$.VERSION}", 'result == "v2"')
    apply(weft, *services, *gateway("bg", "bg"), asked, rollout("bg", strategy))
    reaches(weft, "bg", "Healthy")

    async def run() -> None:
        async with load(weft, "bg") as traffic:
            await traffic.until(50)
            await asyncio.to_thread(change, weft, "bg", "v2")
            await asyncio.to_thread(reaches, weft, "bg", "Paused")
            assert set(traffic.bodies) == {"v1"}
            await asyncio.to_thread(weft.weft, "rollout", "promote", "bg")
            await asyncio.to_thread(reaches, weft, "bg", "Healthy")
            await alone(traffic, "v2")
            # The next one fails its analysis before anybody calls it.
            await asyncio.to_thread(change, weft, "bg", "v3")
            await asyncio.to_thread(reaches, weft, "bg", "Degraded")
            await traffic.until(traffic.total + 50)
            assert set(traffic.bodies) == {"v2"}
        assert traffic.failed == 0, traffic.report()

    asyncio.run(run())
    assert 'Metric "asked" assessed Failed' in status(weft, "bg")["message"]
    runs = weft.items("analysisruns", "rollout-type=PrePromotion")
    assert sorted(r["status"]["phase"] for r in runs) == ["Failed", "Successful"]


def asks(name: str, url: str, path: str, condition: str, count: int = 1) -> dict[str, Any]:
    """An AnalysisTemplate that reads JSON."""
    provider = {"web": {"url": url, "jsonPath": path}}
    metric = {"name": "asked", "count": count, "interval": "1s", "provider": provider,
              "successCondition": condition}  # fmt: skip
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisTemplate",
            "metadata": {"name": name}, "spec": {"metrics": [metric]}}  # fmt: skip


async def alone(traffic: Load, version: str) -> None:
    """Soon nobody else answers: proxies get routes a moment after the status says so."""
    for _ in range(20):
        traffic.bodies.clear()
        await traffic.until(traffic.total + 50)
        if set(traffic.bodies) == {version}:
            return
    raise AssertionError(f"not {version} alone: {traffic.bodies}")


def test_mirrored_calls_and_an_experiment_reach_the_new_version(weft: Instance) -> None:
    """Before it has any weight: first it sees copies only, then a trial has a part of the calls
    and is judged by what it answers."""
    trial = {
        "templates": [{"name": "trial", "specRef": "canary", "replicas": 1, "weight": 30,
                       "service": {"name": "try-trial"}}],
        "analyses": [{"name": "by-web", "templateName": "trial", "requiredForCompletion": True}],
    }  # fmt: skip
    seen = [{"path": {"prefix": "/seen"}}]
    steps = [
        {"setCanaryScale": {"replicas": 1}},
        {"setMirrorRoute": {"name": "copies", "percentage": 100, "match": seen}},
        {"pause": {}},
        {"setMirrorRoute": {"name": "copies"}},
        {"experiment": trial},
        {"pause": {}},
    ]  # fmt: skip
    routing = {"istio": {"virtualService": {"name": "try"}}, "managedRoutes": [{"name": "copies"}]}
    strategy = {"canary": {"stableService": "try-stable", "canaryService": "try-canary",
                           "trafficRouting": routing, "steps": steps}}  # fmt: skip
    routed, way = gateway("try", "try-stable")
    way["spec"]["http"][0]["route"] = [
        {"destination": {"host": f"try-{n}"}, "weight": w}
        for n, w in (("stable", 100), ("canary", 0))
    ]
    services = [service(f"try-{n}", "try") for n in ("stable", "canary")]
    judge = asks("trial", "http://try-trial:8080/env", "{$.VERSION}", 'result == "v2"', 3)
    apply(weft, *services, routed, way, judge, *gateway("new", "try-canary"),
          rollout("try", strategy, replicas=1))  # fmt: skip
    reaches(weft, "try", "Healthy")
    change(weft, "try", "v2")
    reaches(weft, "try", "Paused")
    for number in range(20):
        assert ask(weft, f"/seen/{number}", "try.test") == (200, "v1")
    copies = lambda n: ask(weft, f"/calls?key=/seen/{n}", "new.test")[1]  # noqa: E731
    wait_for(lambda: {copies(n) for n in range(20)} == {"1"}, "each call was copied once")
    weft.weft("rollout", "promote", "try")

    async def run() -> None:
        async with load(weft, "try") as traffic:
            await asyncio.to_thread(wait_for, lambda: traffic.bodies["v2"] > 5, "a part of them")
            await asyncio.to_thread(
                wait_for, lambda: status(weft, "try").get("currentStepIndex") == 5, "it is judged"
            )
            await asyncio.to_thread(reaches, weft, "try", "Paused")
            await alone(traffic, "v1")
        assert traffic.failed == 0, traffic.report()

    asyncio.run(run())
    (done,) = weft.items("experiments")
    assert done["status"]["phase"] == "Successful"
    weft.weft("rollout", "promote", "try")
    reaches(weft, "try", "Healthy")
    wait_for(lambda: ask(weft, "/who", "try.test") == (200, "v2"), "the new one alone")
    weft.kubectl("delete", "rollout/try")


EDGE = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: alb}
spec: {controller: weft.dev/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: turns, annotations: {kubernetes.io/ingress.class: alb}}
spec:
  rules:
  - host: turns.test
    http:
      paths:
      - path: /*
        pathType: ImplementationSpecific
        backend: {service: {name: turns-root, port: {name: use-annotation}}}
"""


def test_ping_pong_behind_an_ingress_for_another_load_balancer(weft: Instance) -> None:
    """The mesh divides what the Ingress of an `alb` sends to the root Service; ping and pong take
    turns, and no request is lost."""
    strategy = {"canary": {
        "pingPong": {"pingService": "turns-ping", "pongService": "turns-pong"},
        "steps": [{"setWeight": 50}, {"pause": {}}], "scaleDownDelaySeconds": 1,
        "trafficRouting": {"alb": {
            "ingress": "turns", "rootService": "turns-root", "servicePort": 80}}}}  # fmt: skip
    services = [service(f"turns-{n}", "turns") for n in ("root", "ping", "pong")]
    apply(weft, *yaml.safe_load_all(EDGE), *services, rollout("turns", strategy))
    reaches(weft, "turns", "Healthy")
    assert status(weft, "turns")["canary"]["stablePingPong"] == "ping"
    wait_for(lambda: ask(weft, "/who", "turns.test", gateway=INGRESS)[0] == 200, "reached")

    async def run() -> None:
        url = f"{weft.gateway(80, INGRESS)}/who"
        async with Load(url, clients=4, headers={"Host": "turns.test"}) as traffic:
            await traffic.until(50)
            await asyncio.to_thread(change, weft, "turns", "v2")
            await asyncio.to_thread(reaches, weft, "turns", "Paused")
            before = dict(traffic.bodies)
            await traffic.until(traffic.total + 300)
            new = traffic.bodies["v2"] - before.get("v2", 0)
            share = new / (new + traffic.bodies["v1"] - before.get("v1", 0))
            assert 0.35 < share < 0.65
            await asyncio.to_thread(weft.weft, "rollout", "promote", "turns")
            await asyncio.to_thread(reaches, weft, "turns", "Healthy")
            traffic.bodies.clear()
            await traffic.until(traffic.total + 50)
            assert set(traffic.bodies) == {"v2"}
        assert traffic.failed == 0, traffic.report()

    asyncio.run(run())
    assert status(weft, "turns")["canary"]["stablePingPong"] == "pong"
    assert "the mesh divides calls to turns-root" in weft.kubectl(
        "events", "--for", "rollout/turns"
    )
    weft.kubectl("delete", "rollout/turns", "ingress/turns", "ingressclass/alb")


PLAIN = """
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: {name}
spec:
  replicas: 3
  revisionHistoryLimit: 2
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      containers:
      - name: demo
        image: demo/rollouts:blue
        imagePullPolicy: Always
        ports:
        - containerPort: 8080
  strategy:
    canary:
      steps: {steps}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata:
  name: {name}
spec:
  args:
  - name: code
  metrics:
  - name: smoke
    count: 2
    interval: 1s
    provider:
      job:
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers:
              - name: sh
                image: sh:1
                args: [-c, "exit {{{{args.code}}}}"]
"""


def test_manifests_as_users_have_them(weft: Instance) -> None:
    """By pods, with an analysis by Jobs; the command that people know, in weft's words."""
    for colour in ("blue", "yellow", "red"):
        weft.image(f"demo/rollouts:{colour}", APPS / "echo", sys.executable, "app.py")
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    analysis = "{templates: [{templateName: NAME}], args: [{name: code, value: CODE}]}"
    steps = f"[{{setWeight: 20}}, {{pause: {{duration: 1}}}}, {{analysis: {analysis}}}]"
    for name, code in (("good", "'0'"), ("poor", "'1'")):
        written = steps.replace("NAME", name).replace("CODE", code)
        weft.kubectl("apply", "-f", "-", stdin=PLAIN.format(name=name, steps=written))
    for name in ("good", "poor"):
        reaches(weft, name, "Healthy")
        weft.weft("rollout", "set", "image", name, "demo=demo/rollouts:yellow")
    reaches(weft, "good", "Progressing")
    assert "Healthy" in weft.weft("rollout", "status", "good", "--timeout", "90s")
    failed = weft.run("rollout", "status", "poor", "--timeout", "90s")
    assert failed.returncode == 1, failed.stdout
    assert 'Metric "smoke" assessed Failed' in failed.stdout
    assert "poor" in weft.kubectl("get", "ro", "-o", "wide")
    weft.kubectl("scale", "rollout/good", "--replicas=1")
    weft.weft("rollout", "undo", "poor")
    weft.weft("rollout", "status", "poor", "--timeout", "90s")
    weft.wait_ready("app=good", 1)
    weft.kubectl("delete", "ro", "good", "poor")


def test_blue_red_serves_both(weft: Instance) -> None:
    """The recipe of docs/rollouts.md, as it is in examples/."""
    weft.image("colour:1", EXAMPLES / "rollouts/colour", sys.executable, "app.py")
    weft.kubectl("apply", "-f", str(EXAMPLES / "rollouts/blue-red.yaml"))
    reaches(weft, "colour", "Healthy")
    red = [{"op": "replace", "path": "/spec/template/spec/containers/0/env/0/value",
            "value": "red"}]  # fmt: skip
    weft.kubectl("patch", "rollout", "colour", "--type", "json", "-p", json.dumps(red))
    reaches(weft, "colour", "Paused")
    answers = [ask(weft, "/", "colour.example") for _ in range(60)]
    assert {code for code, _ in answers} == {200}
    assert {text for _, text in answers} == {"blue", "red"}
    chosen = [ask(weft, "/", "colour.example", **{"x-colour": "red"})[1] for _ in range(10)]
    assert set(chosen) == {"red"}
    weft.weft("rollout", "abort", "colour")
    reaches(weft, "colour", "Degraded")
    wait_for(lambda: {ask(weft, "/", "colour.example")[1] for _ in range(20)} == {"blue"}, "blue")
    weft.kubectl("delete", "-f", str(EXAMPLES / "rollouts/blue-red.yaml"))


def answers(weft: Instance, name: str) -> None:
    def there() -> bool:
        try:
            return ask(weft, "/who", f"{name}.test")[0] == 200
        except OSError:
            return False  # nobody listens yet

    wait_for(there, f"{name} answers")


def canary(name: str, **analysis: Any) -> list[dict[str, Any]]:
    """A Deployment and its Canary, as users of Flagger have them."""
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}},
                 "strategy": {"rollingUpdate": {"maxSurge": 2}}, "template": template("v1", name)},
    }  # fmt: skip
    rate = {"name": "request-success-rate", "interval": "20s", "thresholdRange": {"min": 95}}
    made = {
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 80, "targetPort": "http", "gateways": [name, "mesh"],
                        "hosts": [f"{name}.test"]},
            "analysis": {"interval": "1s", "threshold": 1, "stepWeight": 50, "maxWeight": 50,
                         "metrics": [rate], **analysis},
        },
    }  # fmt: skip
    return [gateway(name, name)[0], deployment, made]


def phase(weft: Instance, name: str, wanted: str) -> None:
    path = f"/apis/flagger.app/v1beta1/namespaces/default/canaries/{name}"
    found: dict[str, Any] = {}

    def there() -> bool:
        found.clear()
        found.update(weft.read(path).get("status") or {})
        return bool(found.get("phase") == wanted)

    try:
        wait_for(there, wanted, 100)
    except AssertionError:
        said = weft.kubectl("events", "--for", f"canary/{name}")
        raise AssertionError(f"{name} is not {wanted}: {found}\n{said}") from None


def roll(weft: Instance, name: str, version: str, **env: str) -> None:
    body = {"spec": {"template": template(version, name, **env)}}
    code, answer = weft.api(f"/apis/apps/v1/namespaces/default/deployments/{name}", "PATCH", body)
    assert code == 200, answer


def test_flaggers_canary_is_promoted_or_goes_back(weft: Instance) -> None:
    """A gate holds it, the mesh's signals judge it, an alert tells of it; no call is lost by a
    promotion, and a version that fails gets none in the end."""
    keeper = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gate", "labels": {"app": "gate"}},
        "spec": template("gate", "gate")["spec"],
    }  # fmt: skip
    tells = {"apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider",
             "metadata": {"name": "chat"},
             "spec": {"type": "slack", "address": "http://gate/hook"}}  # fmt: skip
    hook = {"name": "gate", "type": "confirm-rollout", "url": "http://gate/open"}
    alert = {"name": "chat", "severity": "info", "providerRef": {"name": "chat"}}
    apply(weft, keeper, service("gate", "gate"), tells, *gateway("gate", "gate"),
          *canary("flag", webhooks=[hook], alerts=[alert]),
          *canary("sour", alerts=[alert]))  # fmt: skip
    answers(weft, "gate")
    assert ask(weft, "/broken?value=true", "gate.test", method="POST")[0] == 200
    for name in ("flag", "sour"):
        phase(weft, name, "Initialized")
        weft.wait_ready(f"app={name}", 0)
        answers(weft, name)

    async def good() -> None:
        async with load(weft, "flag") as traffic:
            await traffic.until(50)
            await asyncio.to_thread(roll, weft, "flag", "v2")
            await asyncio.to_thread(phase, weft, "flag", "Waiting")
            assert set(traffic.bodies) == {"v1"}
            path = "/broken?value=false"
            await asyncio.to_thread(ask, weft, path, "gate.test", method="POST")
            await asyncio.to_thread(phase, weft, "flag", "Succeeded")
            traffic.bodies.clear()
            await traffic.until(traffic.total + 100)
            assert set(traffic.bodies) == {"v2"}
            await asyncio.to_thread(weft.wait_ready, "app=flag", 0)
            await traffic.until(traffic.total + 50)
            assert traffic.failed == 0, traffic.report()

    async def bad() -> None:
        async with load(weft, "sour") as traffic:
            await traffic.until(50)
            assert traffic.failed == 0, traffic.report()
            await asyncio.to_thread(roll, weft, "sour", "v2", BROKEN="1")
            await asyncio.to_thread(phase, weft, "sour", "Failed")
            await asyncio.to_thread(weft.wait_ready, "app=sour", 0)
            traffic.statuses.clear()
            await traffic.until(traffic.total + 100)
            assert traffic.failed == 0, traffic.report()

    async def both() -> None:
        await asyncio.gather(good(), bad())

    asyncio.run(both())
    why = weft.kubectl("events", "--for", "canary/sour")
    assert "Rolling back sour.default failed checks threshold reached 1" in why
    told = json.loads(ask(weft, "/hook", "gate.test")[1])
    texts = [each["attachments"][0]["text"] for each in told]
    assert "Canary analysis completed successfully, promotion finished." in texts
    assert "Failed checks threshold reached 1" in texts
    head, *rows = weft.kubectl("get", "canaries").splitlines()
    assert head.split() == ["NAME", "STATUS", "WEIGHT", "LASTTRANSITIONTIME"]
    ended = [row.split()[:3] for row in rows]
    assert ended == [["flag", "Succeeded", "0"], ["sour", "Failed", "0"]]
    kinds = ("canary", "deploy", "gateway.networking.istio.io")
    made = [f"{kind}/{name}" for name in ("flag", "sour") for kind in kinds]
    weft.kubectl("delete", *made, "pod/gate", "svc/gate", "alertprovider/chat")
    left = {"flag", "sour"}
    wait_for(
        lambda: not left & {v["metadata"]["name"] for v in weft.items("virtualservices")}, "gone"
    )
