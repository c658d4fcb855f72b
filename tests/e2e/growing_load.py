"""An autoscaler that looks ahead, and the calls that it foresees: ever more per second."""

import json
import math
import threading
import time
from typing import Any

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, wait_for

GROWTH = 0.06
"""Calls per second, each second; an autoscaler that asks for one replica for each of them..."""
CALLS_MOST = 4.5
"""...never needs more than five."""
REPLICAS_MOST = 6
PREDICT_SECONDS = 120
HPA = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
SHARE_MOST = 0.85
"""Of what is wanted of each pod: with less the measurement alone would have fewer of them."""


class GrowingLoad:
    """Of the Deployment `<name>-v1` of the echo program, through the gateway, until left.

    A forecast needs 10 steps of 5 s of history: start early, look late.
    """

    def __init__(self, weft: Instance, name: str) -> None:
        self.weft, self.name, self.host = weft, name, f"{name}.test"
        self.failures: list[str] = []
        self.foreseen = threading.Event()
        """Seen at least once: while calls still became more, whenever the test looks."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        text = m.echo(name) + m.service(name) + m.gateway(name, self.host)
        text += m.routes(name, m.to(name), self.host, name)
        text += "\n---\n" + json.dumps(self._scaler())
        weft.kubectl("apply", "-f", "-", stdin=text)

    def __enter__(self) -> "GrowingLoad":
        self.weft.wait_ready(f"app={self.name}", 1)
        wait_for(lambda: self._call() == "", "it is called")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self) -> str:
        """What is wrong with the answer."""
        try:
            status, body = ask(self.weft, "/who", self.host)
        except OSError as error:
            return repr(error)
        return "" if status == 200 else f"{status} {body[:200]}"

    def _run(self) -> None:
        started = looked = time.monotonic()
        sent = 0
        full = CALLS_MOST / GROWTH
        while not self._stop.wait(0.05):
            spent = time.monotonic() - started
            growing = min(spent, full)
            due = GROWTH * growing * growing / 2 + CALLS_MOST * (spent - growing)
            while sent < due and not self._stop.is_set():
                sent += 1
                if failure := self._call():
                    self.failures.append(failure)
            if not self.foreseen.is_set() and time.monotonic() > looked + 1:
                if self._is_foreseen():
                    self.foreseen.set()
                looked = time.monotonic()

    def _scaler(self) -> dict[str, Any]:
        """A replica for each call per second."""
        rate = {"metric": {"name": "requests_per_second"},
                "target": {"type": "AverageValue", "averageValue": "1"}}  # fmt: skip
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{self.name}-v1"}
        notes = {"weft.dev/predict-seconds": str(PREDICT_SECONDS)}
        return {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": self.name, "annotations": notes},
            "spec": {
                "scaleTargetRef": target, "maxReplicas": REPLICAS_MOST,
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
                "metrics": [{"type": "Pods", "pods": rate}],
            },
        }  # fmt: skip

    def _is_foreseen(self) -> bool:
        """As many pods are ready as wanted, and more than what is measured asks for."""
        status = self.weft.read(f"{HPA}/{self.name}")["status"]
        forecasts = [
            (c["status"], c["reason"])
            for c in status.get("conditions", ())
            if c["type"] == "AbleToForecast"
        ]
        size = status.get("currentReplicas", 0)
        if forecasts != [("True", "ForecastReady")] or size != status["desiredReplicas"]:
            return False
        shown = status["currentMetrics"][0]["pods"]["current"]["averageValue"]
        each = float(shown[:-1]) / 1000 if shown.endswith("m") else float(shown)
        ahead = 0 < each < SHARE_MOST and math.ceil(each * size) < size
        return ahead and len(self.weft.ready_pods(f"app={self.name}")) == size
