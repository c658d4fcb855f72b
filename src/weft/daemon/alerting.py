"""Alerts, composed: looks at the mesh and the objects every few seconds, says what is wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.registry import kind_for
from weft.api.snapshot import meta
from weft.api.weft.monitoring_v1alpha1 import (
    AlertReceiver,
    AlertRule,
    AlertState,
    ReceiverState,
    ServiceLevelObjective,
)
from weft.daemon.alert_sender import AlertSender
from weft.daemon.levels import levels
from weft.daemon.usage import Readings
from weft.lib.aio import now
from weft.lib.files import replace_file
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.informer import Informers
from weft.runtime.plan import RecordEvent
from weft.telemetry.alerting import anomalies, history, objectives, objects, rules
from weft.telemetry.alerting.alerts import Alert, AlertKey, Finding, step
from weft.telemetry.alerting.document import alert_lines, document
from weft.telemetry.alerting.growth import MEASURE_SECONDS, Growth
from weft.telemetry.traffic import Counts, Traffic
from weft.telemetry.windows import Window
from weft.xds.server import AdsServer

log = logging.getLogger("weft.alerts")

LOOK_SECONDS = 5.0
"""As often as proxies report."""
MINUTES_LOOK_SECONDS = 30.0
"""What is usual changes slowly."""
KEEP_SECONDS = 60.0
"""How often the counts of objectives are written down: so much a kill may lose."""
STATUS_SECONDS = 15.0
"""Between two writes of an objective's numbers."""
TRAFFIC_SECONDS = 60.0
KINDS: tuple[type[Struct], ...] = (AlertRule, ServiceLevelObjective, AlertReceiver)
FILE = "objectives.msgpack"

_Kept = dict[str, list[tuple[int, bytes]]]


class Alerting:
    """Run it beside the rest; `close` in the end."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        recorder: EventRecorder,
        traffic: Traffic,
        *,
        ads: AdsServer,
        data_dir: Path,
        measure: Callable[[], Awaitable[Readings]],
    ) -> None:
        """`measure` reads what pods and nodes use."""
        self._client = client
        self._ads = ads
        self._cache = informers.cache
        self._recorder = recorder
        self._traffic = traffic
        self._file = data_dir / FILE
        self._measure = measure
        self._growth = Growth()
        self._measured_at = 0.0
        self.sender = AlertSender(self._cache, "")
        self._alerts: Mapping[AlertKey, Alert] = {}
        self._minutes: Mapping[history.ServiceName, tuple[Counts, ...]] = {}
        self._minutes_at = 0.0
        self._windows: dict[str, Window] = {}
        """Counts of objectives, by uid."""
        self._fed_until = 0.0
        self._kept_at = 0.0
        self._written: dict[str, tuple[Any, float]] = {}
        """Statuses by uid, and when they were written."""
        self._kept: _Kept = {}
        classes: tuple[type[Struct], ...] = (*KINDS, Service, EndpointSlice, Pod, Node)
        for cls in classes:
            informers.add(cls)

    async def run(self) -> None:
        """Until cancelled."""
        self._kept = await asyncio.to_thread(self._read)
        self._fed_until = self._kept_at = now()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look(now())
            except Exception:
                log.exception("alerts not looked at")

    async def close(self) -> None:
        await self.sender.close()
        if self._windows:
            self._write()

    async def page(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Alerts and objectives, as JSON; only those of a namespace when the query names one."""
        slos = self._cache.list(ServiceLevelObjective)
        moment = now()
        states = [
            (slo, objectives.state(slo, self._window(slo), moment), self._window(slo))
            for slo in slos
        ]
        found = document(self._alerts.values(), states, moment, query.get("namespace", ""))
        return "application/json", msgspec.json.encode(found)

    def metrics(self) -> str:
        """`ALERTS`, as Prometheus writes it of its own."""
        return alert_lines(self._alerts.values())

    async def _look(self, moment: float) -> None:
        if moment - self._measured_at >= MEASURE_SECONDS:
            self._measured_at = moment
            readings = await self._measure()
            self._growth.measured(levels(readings, self._cache.list(Pod)))
        found = self._findings(moment)
        done = step(self._alerts, found, moment)
        self._alerts = done.alerts
        for alert in (*done.fired, *done.resolved):
            self._record(alert)
        self.sender.tell(self._cache.list(AlertReceiver), self._alerts)
        await self._write_statuses(moment)
        if moment - self._kept_at >= KEEP_SECONDS and self._windows:
            self._kept_at = moment
            await asyncio.to_thread(self._write)

    def _findings(self, moment: float) -> list[Finding]:
        if moment - self._minutes_at >= MINUTES_LOOK_SECONDS:
            self._minutes_at = moment
            minutes = history.minutes_of(self._traffic, moment, history.USUAL_MINUTES)
            self._minutes = minutes
        last = history.counts_of(self._traffic, moment, TRAFFIC_SECONDS)
        found: list[Finding] = []
        active = {k: a.active_at for k, a in self._alerts.items() if a.state != "resolved"}
        for name in {*last, *self._minutes}:
            seen = history.ServiceHistory(name, last.get(name, Counts()), self._usual(name))
            found += anomalies.findings(seen, active, moment)
        found += self._of_rules(moment, last)
        found += self._of_objectives(moment)
        found += objects.of_pods(self._cache.list(Pod))
        found += objects.of_nodes(self._cache.list(Node), self._refused())
        found += self._growth.findings()
        asleep = objects.sleeping(self._cache.list(Service))
        found += objects.of_endpoints(last, self._cache.list(EndpointSlice), asleep)
        return found

    def _refused(self) -> Mapping[str, str]:
        """What proxies refuse at present, by node."""
        found = {}
        for node in self._cache.list(Node):
            if nacks := self._ads.nacks(meta(node).name):
                found[meta(node).name] = f"{nacks[0].name}: {nacks[0].error}"
        return found

    def _usual(self, name: history.ServiceName) -> tuple[Counts, ...]:
        """The minutes of a service since its first call."""
        minutes = self._minutes.get(name, ())
        first = next((i for i, m in enumerate(minutes) if m.requests or m.opened), len(minutes))
        return minutes[first:]

    def _of_rules(self, moment: float, last: Mapping[history.ServiceName, Counts]) -> list[Finding]:
        wanted = self._cache.list(AlertRule)
        times = {rules.over_seconds(rule) for rule in wanted} - {TRAFFIC_SECONDS}
        counts = {s: history.counts_of(self._traffic, moment, s) for s in times}
        window = rules.Window({**counts, TRAFFIC_SECONDS: last}, self._minutes)
        names = {(meta(s).namespace, meta(s).name) for s in self._cache.list(Service)} | {*last}
        return [f for rule in wanted for f in rules.findings(rule, window, sorted(names))]

    def _of_objectives(self, moment: float) -> list[Finding]:
        slos = self._cache.list(ServiceLevelObjective)
        self._feed(slos, moment)
        return [f for slo in slos for f in objectives.findings(slo, self._window(slo), moment)]

    def _feed(self, slos: Sequence[ServiceLevelObjective], moment: float) -> None:
        """Count what came in whole steps since the last time."""
        step_seconds = LOOK_SECONDS
        until = moment // step_seconds * step_seconds
        steps = round((until - self._fed_until // step_seconds * step_seconds) / step_seconds)
        self._fed_until = until
        if not slos or steps <= 0:
            return
        edges = [(history.service_of(e), e) for e in self._traffic.known_edges()]
        for slo in slos:
            window = self._window(slo)
            name = (meta(slo).namespace, slo.spec.service.name if slo.spec.service else "")
            for _, edge in (pair for pair in edges if pair[0] == name):
                size, rows = self._traffic.series(edge, moment, steps * step_seconds)
                for number, counts in enumerate(rows):
                    at = until - (len(rows) - number) * size
                    window.add(at, objectives.judged(slo, counts))

    def _window(self, slo: ServiceLevelObjective) -> Window:
        uid = meta(slo).uid
        if uid not in self._windows:
            self._windows[uid] = objectives.empty()
            self._windows[uid].restore(self._kept.pop(uid, ()))
        return self._windows[uid]

    def _record(self, alert: Alert) -> None:
        key, finding = alert.key, alert.finding
        classes: Mapping[str, type[Struct]] = {"Service": Service, "Pod": Pod, "Node": Node}
        cls = classes.get(key.kind)
        about = self._cache.get(cls, key.object_name, key.namespace) if cls else None
        if about is None:
            return  # a host outside: alerts and their page still tell of it
        if alert.state == "firing":
            text = f"{finding.summary}: {finding.evidence}" if finding.evidence else finding.summary
            self._recorder.record(RecordEvent(about, "Warning", key.name, text))
        else:
            self._recorder.record(RecordEvent(about, "Normal", "AlertResolved", finding.summary))

    async def _write_statuses(self, moment: float) -> None:
        for rule in self._cache.list(AlertRule):
            await self._status(rule, self._rule_state(rule), moment, 0.0)
        for slo in self._cache.list(ServiceLevelObjective):
            state = objectives.state(slo, self._window(slo), moment)
            await self._status(slo, state, moment, STATUS_SECONDS)
        for receiver in self._cache.list(AlertReceiver):
            key = (meta(receiver).namespace, meta(receiver).name)
            outcome = self.sender.outcomes.get(key)
            if outcome is not None:
                sent = ReceiverState(
                    delivered=outcome.delivered,
                    failed=outcome.failed,
                    last_error=outcome.last_error,
                    observed_generation=meta(receiver).generation,
                )
                await self._status(receiver, sent, moment, 0.0)
        alive = {meta(obj).uid for cls in KINDS for obj in self._cache.list(cls)}
        for uid in set(self._written) - alive:
            del self._written[uid]
        for uid in set(self._windows) - alive:
            del self._windows[uid]

    def _rule_state(self, rule: AlertRule) -> AlertState:
        own = [
            alert
            for alert in self._alerts.values()
            if (alert.key.rule, alert.key.namespace) == (meta(rule).name, meta(rule).namespace)
            and alert.state != "resolved"
        ]
        fires = any(a.state == "firing" for a in own)
        return AlertState(
            state="firing" if fires else "pending" if own else "inactive",
            services=tuple(sorted(a.key.object_name for a in own)),
            observed_generation=meta(rule).generation,
        )

    async def _status(self, obj: Struct, state: Struct, moment: float, every: float) -> None:
        uid = meta(obj).uid
        before, at = self._written.get(uid, (None, 0.0))
        if before == state or moment - at < every:
            return
        self._written[uid] = state, moment
        try:
            await self._client.patch(
                kind_for(type(obj)),
                meta(obj).name,
                {"status": msgspec.to_builtins(state)},
                meta(obj).namespace,
                subresource="status",
            )
        except ApiError as error:
            if error.code not in (404, 409):
                log.warning("status not written error=%s", error)
            self._written.pop(uid, None)

    def _read(self) -> _Kept:
        try:
            return msgspec.msgpack.decode(self._file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("objectives begin anew file=%s error=%s", self._file, error)
            return {}

    def _write(self) -> None:
        kept = {uid: window.dump() for uid, window in self._windows.items()}
        try:
            replace_file(self._file, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.warning("objectives not written down error=%s", error)
