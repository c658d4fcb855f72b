"""Asks what metrics ask for: Prometheus, web pages, the mesh's own signals.

Services of the mesh are asked at one of their ready endpoints, as the API server asks webhooks:
the daemon needs no place in the pods' network.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from weft.api.argo.analysis import Metric, PrometheusMetric, WebMetric, WeftMetric
from weft.api.crd import jsonpath
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.snapshot import Snapshot
from weft.api.validate.analyses import read_path
from weft.api.wellknown import LABEL_SERVICE_NAME
from weft.controllers.analysis_runs import Answer
from weft.lib.aio import now
from weft.lib.durations import parse_duration
from weft.node.dialing import HERE, Dialer
from weft.telemetry.signals import PERCENT, quantile_ms
from weft.telemetry.traffic import Counts, EdgeKey, Traffic

ANSWER_BYTES_MAX = 4 * 1024 * 1024
PROMETHEUS_SECONDS = 30
WEB_SECONDS = 10
WINDOW_SECONDS = 30.0
SECONDS_MAX = 300.0
_CLUSTER = ".svc.cluster.local"
_SCHEMES = {"http": 80, "https": 443}


class Unanswered(Exception):
    """Why there is no value, in one sentence."""


class Place(Struct, frozen=True):
    """Where to connect for a URL, and the name to ask there."""

    url: str
    host: str = ""


class Measurer:
    """Keeps connections open between questions; `close` in the end."""

    def __init__(self, snapshot: Snapshot, traffic: Traffic, dialer: Dialer = HERE) -> None:
        self._dialer = dialer
        self._snapshot = snapshot
        self._traffic = traffic
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(self, metric: Metric, namespace: str) -> Answer:
        """One measurement. Never raises but for cancellation."""
        provider = metric.provider
        try:
            if provider.weft is not None:
                return Answer(mesh_signals(provider.weft, namespace, self._traffic))
            if provider.prometheus is not None:
                return Answer(await self._prometheus(provider.prometheus, namespace))
            if provider.web is not None:
                return Answer(await self._web(provider.web, namespace))
        except Unanswered as error:
            return Answer(error=str(error))
        except TimeoutError:
            return Answer(error="no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(error=str(error) or type(error).__name__)
        return Answer(error="the metric names no provider that weft has")

    async def post(
        self,
        url: str,
        body: Any,
        namespace: str,
        seconds: float,
        *,
        insecure: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of the answer. Raises Unanswered."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        request = ("POST", url, sent, msgspec.json.encode(body))
        try:
            return await self._fetch(request, namespace, seconds, insecure=insecure)
        except TimeoutError:
            raise Unanswered("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(str(error) or type(error).__name__) from None

    async def _prometheus(self, metric: PrometheusMetric, namespace: str) -> Any:
        """The value of a scalar, or the list of the values of a vector."""
        url = f"{metric.address.rstrip('/')}/api/v1/query?{urlencode({'query': metric.query})}"
        headers = {h.key: h.value for h in metric.headers}
        seconds = metric.timeout or PROMETHEUS_SECONDS
        status, body = await self._fetch(
            ("GET", url, headers, b""), namespace, seconds, insecure=bool(metric.insecure)
        )
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unanswered(f"Prometheus answered {status} and no JSON") from None
        return prometheus_value(document)

    async def _web(self, metric: WebMetric, namespace: str) -> Any:
        body = metric.body.encode()
        headers = {h.key: h.value for h in metric.headers}
        if metric.json_body is not None:
            body = msgspec.json.encode(metric.json_body)
            headers.setdefault("Content-Type", "application/json")
        status, text = await self._fetch(
            (metric.method or "GET", metric.url, headers, body), namespace,
            metric.timeout_seconds or WEB_SECONDS, insecure=bool(metric.insecure),
        )  # fmt: skip
        if not 200 <= status < 300:
            raise Unanswered(f"received non 2xx response code: {status}")
        return web_value(text, metric.json_path)

    async def _fetch(
        self,
        request: tuple[str, str, Mapping[str, str], bytes],
        namespace: str,
        seconds: float,
        *,
        insecure: bool,
    ) -> tuple[int, bytes]:
        method, url, headers, body = request
        place = located(self._snapshot, url, namespace)
        if self._session is None:
            connector = aiohttp.TCPConnector(socket_factory=self._dialer.socket_factory)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=None)
            )
        tls: ssl.SSLContext | bool = not insecure
        named = place.host.partition(":")[0] if url.startswith("https:") else ""
        more = {"Host": place.host} if place.host else {}
        async with asyncio.timeout(min(seconds, SECONDS_MAX)):
            async with self._session.request(
                method, place.url, headers={**headers, **more}, data=body or None, ssl=tls,
                allow_redirects=False,
                server_hostname=named or None,
            ) as answer:  # fmt: skip
                pieces: list[bytes] = []
                size = 0
                async for piece in answer.content.iter_any():
                    size += len(piece)
                    if size > ANSWER_BYTES_MAX:
                        raise Unanswered(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
                    pieces.append(piece)
                return answer.status, b"".join(pieces)


def located(snapshot: Snapshot, url: str, namespace: str) -> Place:
    """The URL, or that of a ready endpoint when its host is a Service. Raises Unanswered."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise Unanswered(f"`{url}` is no http or https URL")
    if _is_link_local(parts.hostname):
        raise Unanswered(f"{parts.hostname} is a link-local address, which nobody may ask")
    words = parts.hostname.removesuffix(_CLUSTER).removesuffix(".svc").split(".")
    if len(words) > 2:
        return Place(url)
    where = words[1] if len(words) == 2 else namespace
    service = snapshot.get(Service, words[0], where)
    if service is None:
        return Place(url)
    number = parts.port or _SCHEMES[parts.scheme]
    port = next((p for p in service.spec.ports if p.port == number), None)
    if port is None:
        raise Unanswered(f"the Service {where}/{words[0]} has no port {number}")
    # By label, as everybody finds them: nobody owns those of the API server.
    slices = [
        s for s in snapshot.list(EndpointSlice, where)
        if s.metadata.labels.get(LABEL_SERVICE_NAME) == words[0]
    ]  # fmt: skip
    ready = _ready(slices, port.name)
    if not ready:
        raise Unanswered(f"the Service {where}/{words[0]} has no ready endpoints")
    rest = parts._replace(netloc=ready[0]).geturl()
    return Place(rest, parts.netloc.rpartition("@")[2])


def _is_link_local(host: str) -> bool:
    """Where clouds keep credentials of their machines."""
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _ready(slices: Sequence[EndpointSlice], port_name: str) -> list[str]:
    return [
        f"[{address}]:{port.port}" if ":" in address else f"{address}:{port.port}"
        for each in slices
        for port in each.ports
        if port.name == port_name and port.port
        for endpoint in each.endpoints
        if endpoint.conditions is None or endpoint.conditions.ready is not False
        for address in endpoint.addresses[:1]
    ]


def prometheus_value(document: Any) -> Any:
    """Of an answer of /api/v1/query. Raises Unanswered."""
    if not isinstance(document, Mapping) or document.get("status") != "success":
        text = document.get("error") if isinstance(document, Mapping) else ""
        raise Unanswered(f"Prometheus refused the query: {text or document!r}")
    data = document.get("data")
    data = data if isinstance(data, Mapping) else {}
    result: Any = data.get("result")
    try:
        if data.get("resultType") == "scalar":
            return float(result[1])
        if data.get("resultType") == "vector":
            return [float(each["value"][1]) for each in result]
    except (TypeError, ValueError, KeyError, IndexError):
        pass
    raise Unanswered(f"Prometheus metric type {data.get('resultType')} is not supported")


def web_value(body: bytes, path: str) -> Any:
    """The part of a JSON answer that a path names. Raises Unanswered."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unanswered("could not parse JSON body") from None
    try:
        inner = read_path(path)
    except ValueError as error:
        raise Unanswered(str(error)) from None
    if not inner:
        return document
    found = jsonpath.find(inner, document)
    if not found:
        raise Unanswered(f"could not find {path} in the JSON body")
    return found[0] if len(found) == 1 and "*" not in inner else found


# ------------------------------------------------------------------ the mesh


def mesh_signals(metric: WeftMetric, namespace: str, traffic: Traffic) -> Any:
    """The signals of some calls as an object, or one of them. Raises ValueError."""
    seconds = parse_duration(metric.window) if metric.window else WINDOW_SECONDS
    total = Counts(buckets=())
    for key, counts in traffic.edges(now(), seconds).items():
        if _is_meant(metric, namespace, key):
            total += counts
    found = signals_of(total, seconds)
    return found[metric.signal] if metric.signal else found


def signals_of(total: Counts, seconds: float) -> dict[str, float]:
    """By name. Without requests there are no errors and no durations."""
    errors = PERCENT * total.errors / total.requests if total.requests else 0.0
    found = {
        "requests": total.requests,
        "requestRate": total.requests / seconds,
        "errorPercent": errors,
        "successPercent": PERCENT - errors,
    }
    for quantile in (50, 90, 95, 99):
        found[f"p{quantile}Ms"] = quantile_ms(total.buckets, quantile / PERCENT) or 0.0
    return found


def _is_meant(metric: WeftMetric, namespace: str, key: EdgeKey) -> bool:
    where = metric.namespace or namespace
    if metric.service and (key.service, key.service_namespace) != (metric.service, where):
        return False
    if metric.workload and (key.destination, key.destination_namespace) != (metric.workload, where):
        return False
    if metric.version and key.destination_version != metric.version:
        return False
    return where in (key.service_namespace, key.destination_namespace)
