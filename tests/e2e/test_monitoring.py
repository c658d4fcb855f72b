"""Alerts, objectives and a real Prometheus, while a service fails under load."""

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, Load, ask, wait_for
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
    document = json.loads(weft.weft("alerts", "-o", "json"))
    return {a["name"]: a for a in document["alerts"] if a["state"] == "firing"}


async def test_a_failing_service_is_told_everywhere(isolated: Instance) -> None:
    weft = isolated
    text = m.echo("api") + "---" + m.echo("hook") + m.service("api") + m.service("hook")
    text += m.gateway("front", "*.example")
    text += m.routes("api-front", m.to("api"), API, "front")
    text += m.routes("hook-front", m.to("hook"), HOOK, "front")
    weft.weft("apply", "-f", "-", stdin=text + WATCHED)
    for host in (API, HOOK):
        wait_for(lambda host=host: ask(weft, "/who", host)[0] == 200, f"{host} answers")
    assert "nothing is wrong" in weft.weft("alerts")
    failing = weft.gateway() + "/flaky?key=a&times=1000000"
    async with Load(failing, clients=1, headers={"Host": API}) as load:
        await load.until(100)
        wait_for(lambda: {"HighErrorRate", "api-errors"} <= set(alerts(weft)), "alerts", 60)
        await load.until(load.total + 1)
    found = alerts(weft)
    assert found["HighErrorRate"]["severity"] == "critical"
    assert found["HighErrorRate"]["hint"] == "weft tap --to default/api --status error"
    assert found["api-errors"]["labels"]["team"] == "shop"
    assert found["api-errors"]["rule"] == "api-errors"
    printed = weft.weft("alerts")
    assert "the requests to default/api fail" in printed
    assert "the api returns errors" in printed

    told = wait_for(lambda: json.loads(ask(weft, "/hook", HOOK)[1]), "the webhook")
    names = {alert["labels"]["alertname"] for message in told for alert in message["alerts"]}
    assert {"HighErrorRate", "api-errors"} <= names
    assert {message["receiver"] for message in told} == {"default/hook"}

    (slo,) = weft.items("servicelevelobjectives")
    wait_for(lambda: state_of(weft) in ("burning", "missed"), "the objective's state")
    assert slo["spec"]["objective"] == 99
    assert "ErrorBudgetBurnsFast" in alerts(weft) or "ObjectiveMissed" in alerts(weft)
    events = weft.items("events")
    assert any(e["reason"] == "HighErrorRate" for e in events), events
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
def test_a_real_prometheus_scrapes_and_answers(isolated: Instance, prometheus: str) -> None:
    def answer(query: str) -> list[Any]:
        url = f"{prometheus}/api/v1/query?query={urllib.parse.quote(query)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                found: list[Any] = json.load(response)["data"]["result"]
                return found
        except OSError:
            return []

    total = 'sum(istio_requests_total{destination_service_name="api", response_code="503"})'
    (sample,) = wait_for(lambda: answer(total), "Prometheus' answer")
    assert float(sample["value"][1]) >= 100
    p95 = (
        "histogram_quantile(0.95, sum by (le) "
        '(istio_request_duration_milliseconds_bucket{destination_workload="api-v1"}))'
    )
    (sample,) = answer(p95)
    assert 0 < float(sample["value"][1]) < 10_000
    (up,) = answer('up{job="weft"}')
    assert up["value"][1] == "1"
    firing = {one["metric"]["alertname"] for one in answer('ALERTS{alertstate="firing"}')}
    assert "HighErrorRate" in firing
