"""Alerts, objectives and a real Prometheus, while a service fails under load."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.cli.command_tree import showing
from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, wait_for
from weft.cli.main import main
from weft.runtime import kubeconfig

pytestmark = pytest.mark.e2e

API, HOOK = "api.example", "hook.example"
WATCHED = """
---
apiVersion: monitoring.weft.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: api-answers}
spec:
  service: {name: api}
  objective: 99
  window: 1h
---
apiVersion: monitoring.weft.dev/v1alpha1
kind: AlertRule
metadata: {name: api-errors}
spec:
  service: {name: api}
  signal: errorPercent
  above: 1
  over: 10s
  for: 1s
  severity: info
  labels: {team: shop}
  summary: the api returns errors
---
apiVersion: monitoring.weft.dev/v1alpha1
kind: AlertReceiver
metadata: {name: hook}
spec:
  service: {name: hook, path: /hook}
"""


def alerts(weft: Instance) -> dict[str, Any]:
    """Those that fire, by name; without those of the hook, which fails until it runs."""
    document = json.loads(weft.weft("alerts", "-o", "json"))
    firing = [a for a in document["alerts"] if a["state"] == "firing"]
    return {a["name"]: a for a in firing if a["object"] != "hook"}


@pytest.fixture(scope="module")
def failing(isolated: Instance) -> Iterator[Instance]:
    """Two services; one is called all the time and fails, from a moment on when nothing was
    wrong."""
    weft = isolated
    text = m.echo("api") + "---" + m.echo("hook") + m.service("api") + m.service("hook")
    text += m.gateway("front", "*.example")
    text += m.routes("api-front", m.to("api"), API, "front")
    text += m.routes("hook-front", m.to("hook"), HOOK, "front")
    weft.weft("apply", "-f", "-", "--wait", stdin=text + WATCHED)
    for host in (API, HOOK):
        wait_for(lambda host=host: ask(weft, "/who", host)[0] == 200, f"{host} answers")
    assert "nothing is wrong" in weft.weft("alerts")
    over = threading.Event()

    def call() -> None:
        while not over.wait(0.02):
            ask(weft, "/flaky?key=a&times=1000000", API)

    caller = threading.Thread(target=call)
    caller.start()
    yield weft
    over.set()
    caller.join()


def test_a_failing_service_is_told_everywhere(failing: Instance) -> None:
    weft = failing
    wait_for(lambda: {"HighErrorRate", "api-errors"} <= set(alerts(weft)), "alerts", 90)
    wait_for(lambda: alerts(weft)["HighErrorRate"]["severity"] == "critical", "its severity")
    found = alerts(weft)
    assert found["HighErrorRate"]["hint"] == "weft tap --to default/api --status error"
    assert found["api-errors"]["labels"]["team"] == "shop"
    assert found["api-errors"]["rule"] == "api-errors"
    printed = weft.weft("alerts")
    assert "the requests to default/api fail" in printed
    assert "the api returns errors" in printed

    def told() -> set[str]:
        messages = json.loads(ask(weft, "/hook", HOOK)[1])
        assert {message["receiver"] for message in messages} <= {"default/hook"}
        return {a["labels"]["alertname"] for message in messages for a in message["alerts"]}

    wait_for(lambda: {"HighErrorRate", "api-errors"} <= told(), "the webhook")
    (slo,) = weft.items("servicelevelobjectives")
    wait_for(lambda: state_of(weft) in ("burning", "missed"), "the objective's state")
    assert slo["spec"]["objective"] == 99
    wait_for(lambda: {"ErrorBudgetBurnsFast", "ObjectiveMissed"} & set(alerts(weft)), "its alert")
    wait_for(lambda: "HighErrorRate" in {e["reason"] for e in weft.items("events")}, "the Event")
    (rule,) = weft.items("alertrules")
    assert (rule["status"]["state"], rule["status"]["services"]) == ("firing", ["api"])


def state_of(weft: Instance) -> str:
    (slo,) = weft.items("servicelevelobjectives")
    return str(slo.get("status", {}).get("state"))


def test_what_cannot_be_watched_is_refused_with_its_field(isolated: Instance) -> None:
    bad = WATCHED.replace("above: 1", "above: 1\n  below: 2").replace(
        "objective: 99", "objective: 100"
    )
    bad = bad.replace("service: {name: hook, path: /hook}", "url: http://127.0.0.1:1/")
    done = isolated.run("apply", "-f", "-", stdin=bad)
    assert done.returncode == 1
    assert "spec.below" in done.stderr
    assert "exactly one of `above`, `below`" in done.stderr
    assert "spec.objective" in done.stderr
    assert "only in namespace kube-system" in done.stderr


@pytest.fixture
def prometheus(isolated: Instance, tmp_path: Path) -> Iterator[str]:
    """A real Prometheus that scrapes this instance every second; its address."""
    access = kubeconfig.read(isolated.kubeconfig)
    (tmp_path / "ca.crt").write_text(access.ca)
    (tmp_path / "token").write_text(access.token)
    target = access.server.removeprefix("https://")
    (tmp_path / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: weft
    scheme: https
    tls_config: {{ca_file: {tmp_path}/ca.crt}}
    authorization: {{credentials_file: {tmp_path}/token}}
    static_configs: [{{targets: ["{target}"]}}]
"""
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = shutil.which("prometheus")
    assert binary is not None
    with subprocess.Popen(
        [
            *(binary, f"--config.file={tmp_path}/prometheus.yml"),
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "log").open("wb"),
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.tools("prometheus")
def test_a_real_prometheus_scrapes_and_answers(failing: Instance, prometheus: str) -> None:
    def answer(query: str) -> list[Any]:
        url = f"{prometheus}/api/v1/query?query={urllib.parse.quote(query)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                found: list[Any] = json.load(response)["data"]["result"]
                return found
        except OSError:
            return []

    total = 'sum(istio_requests_total{destination_service_name="api", response_code="503"})'

    def counted() -> float:
        found = answer(total)
        return float(found[0]["value"][1]) if found else 0

    wait_for(lambda: counted() >= 100, "Prometheus counts")
    p95 = (
        "histogram_quantile(0.95, sum by (le) "
        '(istio_request_duration_milliseconds_bucket{destination_workload="api-v1"}))'
    )
    (sample,) = answer(p95)
    assert 0 < float(sample["value"][1]) < 10_000
    (up,) = answer('up{job="weft"}')
    assert up["value"][1] == "1"

    # weft of itself: until proxies have a change, what they acknowledged, queues, the API.
    for query, least, most in (
        ("histogram_quantile(0.9, sum by (le) (pilot_proxy_convergence_time_bucket))", 0, 30),
        ("sum(weft_proxy_acknowledged)", 1, 1),
        ("pilot_total_xds_rejects", 0, 0),
        ('workqueue_depth{name="deployment"}', 0, 100),
        ('histogram_quantile(0.9, sum by (le) '
         '(apiserver_request_duration_seconds_bucket{method="GET"}))', 0, 30),
    ):  # fmt: skip
        found = wait_for(lambda query=query: answer(query), query)
        assert least <= float(found[0]["value"][1]) <= most, (query, found)

    def firing() -> set[str]:
        return {one["metric"]["alertname"] for one in answer('ALERTS{alertstate="firing"}')}

    wait_for(lambda: "HighErrorRate" in firing(), "Prometheus has the alerts")

    # Analyses of Rollouts ask it.
    for name, condition in (("many", "result[0] >= 100"), ("few", "result[0] < 100")):
        provider = {"prometheus": {"address": prometheus, "query": total}}
        metric = {"name": "errors", "provider": provider, "successCondition": condition}
        run = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun",
               "metadata": {"name": name}, "spec": {"metrics": [metric]}}  # fmt: skip
        failing.kubectl("create", "-f", "-", stdin=json.dumps(run))
    ends = lambda: {r["metadata"]["name"]: r.get("status", {}).get("phase")  # noqa: E731
                    for r in failing.items("analysisruns")}  # fmt: skip
    wait_for(lambda: ends() == {"many": "Successful", "few": "Failed"}, "it is asked and judged")


MANIFEST = "---" + m.service("api") + m.service("other")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "why": ("--from", "deploy/api-v1", "http://hook/"),
    "translate": ("-f", "-"), "diff": ("-f", "-"), "analyze": ("--live",),
    "simulate": ("--nodes", "3", "--pods", "5"), "tap": ("--count", "2"),
    "node drain": ("vm", "--timeout", "1s"), "rollout get": ("stepwise",),
    "queue get": ("batch",), "get": ("pods",), "image inspect": ("echo:1",),
}  # fmt: skip
CHANGES = ("ca rotate", "node drain")
"""Tried where it may be done: tests/e2e/test_mutual_tls.py, tests/e2e/test_nodes.py."""
WAITING = """
---
apiVersion: queue.weft.dev/v1alpha1
kind: Queue
metadata: {name: batch}
spec: {}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: stepwise}
spec:
  replicas: 0
  selector: {matchLabels: {app: stepwise}}
  strategy: {canary: {}}
  template:
    metadata: {labels: {app: stepwise}}
    spec: {containers: [{name: echo, image: "echo:1"}]}
"""


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_commands_print_what_programs_read(failing: Instance, form: str) -> None:
    """Every command that shows data, against the running instance."""
    failing.weft("apply", "-f", "-", stdin=WAITING)
    where = {"WEFT_HOME": str(failing.data_dir), "FORCE_COLOR": "", "NO_COLOR": ""}
    runner = CliRunner()
    for name in showing():
        if name in CHANGES:
            continue
        words = (*name.split(), *ARGUMENTS.get(name, ()), "-o", form)
        done = runner.invoke(main, words, input=MANIFEST, env=where)
        assert done.exit_code in ((0, 1) if name in ("diff", "analyze") else (0,)), done.output
        assert "\x1b" not in done.stdout
        if form == "yaml":
            found = list(yaml.safe_load_all(done.stdout))
        else:
            lines = done.stdout.splitlines() if name == "tap" else [done.stdout]
            found = [json.loads(line) for line in lines]
        assert found, name
        assert all(isinstance(each, dict | list) for each in found), (name, done.stdout)


def test_pipes_get_no_colours_and_no_hints(failing: Instance) -> None:
    where = {"WEFT_HOME": str(failing.data_dir)}
    runner = CliRunner()
    for words in (["status"], ["get", "pods"], ["alerts"], ["graph"], ["top"], ["token", "list"]):
        plain = runner.invoke(main, words, env=where | {"FORCE_COLOR": ""})
        assert plain.exit_code == 0, plain.output
        assert "\x1b" not in plain.stdout, words
    coloured = runner.invoke(main, ["status"], env=where | {"FORCE_COLOR": "1"})
    assert "\x1b[" in coloured.stdout
    assert "\x1b" not in runner.invoke(main, ["status"], env=where | {"NO_COLOR": "1"}).stdout
    # Nothing but data where data are wanted; what people should know goes to the other stream.
    words = ["image", "list", "--data-dir", str(failing.data_dir / "nowhere")]
    listed = runner.invoke(main, words, env=where)
    assert (listed.stdout, "weft image import" in listed.stderr) == ("", True)


ROUTES = 200
MORE_SERIES_MAX = 60
"""Some numbers of weft itself have a label of what came anew."""


def test_routes_cost_no_series(failing: Instance) -> None:
    """Neither in what Prometheus gets nor in what Envoy counts, however many there are."""

    def series(path: str) -> set[str]:
        page = failing.api(path)[1].decode()
        return {line.rpartition(" ")[0] for line in page.splitlines() if line[:1] not in ("", "#")}

    pages = ("/metrics", "/weft/v1/proxy-metrics")
    before = {path: series(path) for path in pages}
    ends = [f"route-{number}" for number in range(ROUTES)]
    text = "---".join(
        m.routes(f"many-{start}", "".join(
            f"\n        - match: [{{uri: {{prefix: /{end}}}}}]\n"
            "          route: [{destination: {host: hook}}]" for end in ends[start : start + 25]
        ), f"many-{start}.example", "front")
        for start in range(0, ROUTES, 25)
    )  # fmt: skip
    failing.weft("apply", "-f", "-", "--wait", stdin=text)
    for start in (0, ROUTES - 25):
        host = f"many-{start}.example"
        assert ask(failing, f"/{ends[start]}", host)[0] != 404
    after = {path: series(path) for path in pages}
    for path in pages:
        assert len(after[path] - before[path]) < MORE_SERIES_MAX, sorted(after[path] - before[path])
    assert len(after["/metrics"]) < 1000
