"""From changed objects to changed proxies: build, scope, translate, serve."""

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping

from msgspec import Struct, structs

from weft.api.apiextensions_v1 import CustomResourceDefinition
from weft.api.diagnostics import Diagnostic
from weft.api.gateway import v1 as gw
from weft.api.istio import networking_v1 as istio
from weft.api.istio import security, telemetry
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Node, Secret, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.networking_v1 import Ingress, IngressClass, NetworkPolicy
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import meta
from weft.api.weft.policy_v1alpha1 import AuthenticationPolicy, BackendPolicy, RateLimitPolicy
from weft.daemon.relay_feed import RelayFeed
from weft.mesh import config_map_use, secret_use
from weft.mesh.analysis import analyze
from weft.mesh.build import BuildSettings, Built, build
from weft.mesh.build_faults import BuildFaults
from weft.mesh.gateway_api_objects import ObjectStatus
from weft.mesh.issuer_keys import IssuerKeys
from weft.mesh.memo import Memo
from weft.mesh.model import EnvoyPatch, MeshModel, NodeModel
from weft.mesh.node_settings import node_settings
from weft.mesh.object_book import ObjectBook, Refusal
from weft.mesh.object_status import Rejection, without_status
from weft.mesh.patch_findings import patch_findings
from weft.mesh.quarantine import Held, Key, Quarantined
from weft.mesh.scope import scope
from weft.mesh.server_certificates import referenced_files
from weft.runtime.informer import Informers
from weft.xds.patch_values import problem
from weft.xds.resource import CLUSTER, ENDPOINTS, ROUTES, Resource
from weft.xds.runtime import runtime
from weft.xds.scoped_routes import table_of
from weft.xds.server import AdsServer, NackReport
from weft.xds.translate import Translator

log = logging.getLogger("weft.mesh")

MESH_CLASSES: tuple[type[Struct], ...] = (
    Pod,
    Service,
    EndpointSlice,
    Node,
    Namespace,
    Secret,
    ConfigMap,
    Ingress,
    IngressClass,
    NetworkPolicy,
    istio.VirtualService,
    istio.DestinationRule,
    istio.Gateway,
    istio.ServiceEntry,
    istio.WorkloadEntry,
    security.AuthorizationPolicy,
    security.PeerAuthentication,
    security.RequestAuthentication,
    telemetry.Telemetry,
    istio.WorkloadGroup,
    istio.Sidecar,
    istio.EnvoyFilter,
    CustomResourceDefinition,
    gw.GatewayClass,
    gw.Gateway,
    gw.HTTPRoute,
    gw.GRPCRoute,
    gw.TLSRoute,
    gw.TCPRoute,
    gw.UDPRoute,
    gw.ListenerSet,
    gw.BackendTLSPolicy,
    gw.ReferenceGrant,
    RateLimitPolicy,
    AuthenticationPolicy,
    BackendPolicy,
)
BYTE_STREAMS = ("tcp", "tls", "udp")
FILES_LOOK_SECONDS = 2.0
"""How often certificate files that Gateways name are looked for."""
PAUSE_SECONDS = 0.005
"""After a build, changes gather this long before the next one; the first is built at once."""


STATUS_CLASSES = tuple(
    cls for cls in MESH_CLASSES if cls.__module__.startswith(("weft.api.istio.", "weft.api.weft."))
)
"""Objects whose status the daemon's `object_status` writes."""
ROUTE_CLASSES: tuple[type[Struct], ...] = (
    gw.HTTPRoute, gw.GRPCRoute, gw.TLSRoute, gw.TCPRoute, gw.UDPRoute,
)  # fmt: skip


async def _nothing() -> None:
    return


def _named_only(definition: CustomResourceDefinition) -> CustomResourceDefinition:
    """Only annotations count, and nobody needs the schema."""
    meta = definition.metadata
    kept = ObjectMeta(name=meta.name, annotations=meta.annotations)
    return structs.replace(definition, metadata=kept, spec=None, status=None)


class MeshLoop:
    """Keeps every node's proxy configuration true to the objects."""

    def __init__(self, informers: Informers, ads: AdsServer, settings: BuildSettings) -> None:
        self._informers = informers
        self._ads = ads
        self._settings = settings
        self._memo = Memo()
        self._scope_memo = Memo()
        self._built: Built | None = None
        self._translators: dict[str, Translator] = {}
        self._dirty = asyncio.Event()
        self.book = ObjectBook((*STATUS_CLASSES, *ROUTE_CLASSES))
        self.faults = BuildFaults()
        self.number = 0
        """Of the last build."""
        self.access_log = ""
        """The file that proxies write requests to, where the MeshConfig asks for it."""
        self.on_refused: Callable[[Struct, Rejection], None] = lambda *_: None
        """Called with every object of which is found out that a proxy refuses it."""
        self._tap_percent, self._trace_percent = 0, 0.0
        self._files: frozenset[str] = frozenset()
        self._patched: dict[tuple[str, str, str], tuple[EnvoyPatch, ...]] = {}
        """(type, name, version) of resources -> the patches in them."""
        self._byte_streams: frozenset[str] = frozenset()
        self.secrets: Callable[[NodeModel], Iterable[Resource]] = lambda _: ()
        """Gives the certificates that a node's proxy shall have."""
        self.on_forget: Callable[[str], None] = lambda _: None
        """Called with each node that is gone."""
        self.model = MeshModel()
        self.own_node = ""
        """Only its proxy can write to the file `access_log` here."""
        self.relay: RelayFeed | None = None
        """Of this machine's node, where its proxy is in a network of its own."""
        self.before_first_build: Callable[[], Awaitable[None]] = _nothing
        """Awaited when all objects are known."""
        self.on_model: Callable[[MeshModel], None] = lambda _: None
        """Called with every new model, before proxies get it."""
        self.diagnostics: tuple[Diagnostic, ...] = ()
        self.statuses: tuple[ObjectStatus, ...] = ()
        """Statuses that objects shall have, as of the last build."""
        self.wanted: dict[str, Counter[str]] = {}
        """Node -> type URL -> how many resources its proxy shall have."""
        for cls in MESH_CLASSES:
            informers.add(cls)
        for cls in (*STATUS_CLASSES, *ROUTE_CLASSES):
            informers.keep_as(cls, without_status)
        informers.select(CustomResourceDefinition, f"metadata.name={gw.CLASS_DEFINITION}")
        informers.keep_as(CustomResourceDefinition, _named_only)
        informers.subscribe(self._on_change)
        ads.on_nack = self.refused

    def wake(self) -> None:
        """Build again soon."""
        self._dirty.set()

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if before == after:
            return  # another status
        if cls in (ConfigMap, Secret) and not self._counts(before or after):
            return
        if cls in MESH_CLASSES:
            self.book.changed(before, after)
            self.faults.changed(before, after)
            self._dirty.set()

    def _counts(self, found: Struct | None) -> bool:
        if isinstance(found, Secret):
            return secret_use.counts(found)
        return isinstance(found, ConfigMap) and config_map_use.counts(self._informers.cache, found)

    async def run(self) -> None:
        """Until cancelled. A failed build leaves the last configuration in force."""
        await self._informers.synced(MESH_CLASSES)
        await self.before_first_build()
        self._dirty.set()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FILES_LOOK_SECONDS if self._files else None):
                    await self._dirty.wait()
            if not self._dirty.is_set() and self._missing() == self._settings.missing_files:
                continue
            self._dirty.clear()
            self._rebuild_around_faults()
            await asyncio.sleep(PAUSE_SECONDS)

    def _rebuild_around_faults(self) -> None:
        """Build; without the objects of which building raises, if it does."""
        try:
            self.rebuild()
            return
        except Exception as error:
            log.exception("mesh build failed; the last configuration stays in force")
            # What an interrupted build left in them is worth nothing.
            self._memo, self._scope_memo = Memo(), Memo()
            self._translators = {name: Translator() for name in self._translators}
            found = self.faults.failed(error, self._problem)
        for held in found:
            its = meta(held.refused)
            log.error("not built kind=%s object=%s/%s %s", type(held.refused).__name__,
                      its.namespace, its.name, held.rejection.error)  # fmt: skip
            self.on_refused(held.refused, held.rejection)
        if found:
            try:
                self.rebuild()
            except Exception:
                log.exception("mesh build failed again; the last configuration stays in force")
        self.book.open.update(its for its in self.faults.held if its in self.book.numbers)

    def _problem(self, held: Mapping[Key, Held]) -> Exception | None:
        """What building raises with these objects held back. Nothing of it goes to proxies."""
        cache = Quarantined(self._informers.cache, {**self.book.held, **held})
        try:
            model = build(cache, self._settings).model
            for node in cache.list(Node):
                Translator().translate(scope(model, node_settings(node)))
        except Exception as error:
            return error
        return None

    def rejection(self, its: Key) -> Rejection | None:
        """Why the present version of an object is not in force."""
        return self.faults.rejection(its) or self.book.rejection(its)

    def _view(self) -> Quarantined:
        """The objects without what is held back."""
        return Quarantined(self._informers.cache, {**self.book.held, **self.faults.held})

    def _missing(self) -> frozenset[str]:
        """Files that are not there or may not be read: any path at all may stand in a Gateway."""
        return frozenset(
            path for path in self._files if not (os.path.isfile(path) and os.access(path, os.R_OK))
        )

    def know_issuers(self, keys: IssuerKeys) -> None:
        """Believe tokens by these keys from the next build on."""
        self._settings = structs.replace(self._settings, issuer_keys=keys)
        self._dirty.set()

    def tap(self, percent: int) -> None:
        """Have proxies log this share of their requests to the control plane."""
        self._tap_percent = percent
        self._dirty.set()

    def trace(self, percent: float) -> None:
        """Have proxies trace this share of their requests."""
        self._trace_percent = percent
        self._dirty.set()

    def byte_streams(self) -> frozenset[str]:
        """Destinations that carry connections, not requests."""
        return self._byte_streams

    def findings(self) -> tuple[Diagnostic, ...]:
        """What is wrong or doubtful in the objects of now, for people."""
        applied: set[EnvoyPatch] = set()
        applied.update(*(translator.applied for translator in self._translators.values()))
        patches = patch_findings(self.model.patches, problem, applied)
        faults = self.faults.findings()
        # Without a fault, analysis sees also what proxies refuse.
        seen = self._view() if faults else self._informers.cache
        found = analyze(seen, self._settings, self._built)
        return (*faults, *found, *patches, *self.book.findings())

    def refused(self, report: NackReport) -> None:
        """A proxy refused a resource: whatever object caused it must not hold back the others."""
        resource = (report.type_url, report.name, report.version)
        refusal = Refusal(resource, report.node, report.error, report.between)
        for its in self.book.refused(refusal, self._sources(report)):
            rejection = self.book.rejection(its)
            if rejection is not None:
                self.on_refused(self.book.numbers[its][0], rejection)
            self._dirty.set()

    def _sources(self, report: NackReport) -> frozenset[str]:
        patched = self._patched.get((report.type_url, report.name, report.version))
        if patched:
            return frozenset(patch.source for patch in patched)
        if report.type_url == ROUTES:
            tables = (t for t in self.model.route_tables if t.name == table_of(report.name))
            return frozenset(r.source for t in tables for v in t.virtual_hosts for r in v.routes)
        if report.type_url in (CLUSTER, ENDPOINTS):
            named = (d.source for d in self.model.destinations if d.name == report.name)
            return frozenset(part for source in named for part in source.split(", "))
        return frozenset()

    def try_suspects(self) -> None:
        """When several objects may be why a proxy refused something, try one of them again."""
        if self.book.release():
            self._dirty.set()

    def rebuild(self) -> None:
        """Build the model of the objects as they are and hand it to the server."""
        self.number += 1
        self.book.built(self.number)
        cache = self._view()
        self._files = referenced_files(cache)
        self._settings = structs.replace(self._settings, missing_files=self._missing())
        built = self._built = build(cache, self._settings, self._memo)
        self.model = built.model
        self.statuses = built.statuses
        self.on_model(built.model)
        if built.diagnostics != self.diagnostics:
            self.diagnostics = built.diagnostics
            for found in built.diagnostics:
                log.info("diagnostic code=%s object=%s/%s %s", found.code, found.namespace,
                         found.name, found.message)  # fmt: skip
        nodes = {node.metadata.name: node for node in cache.list(Node)}
        for gone in self._translators.keys() - nodes.keys():
            del self._translators[gone]
            self.wanted.pop(gone, None)
            self._ads.forget(gone)
            self.on_forget(gone)
        streams: set[str] = set()
        patched: dict[tuple[str, str, str], tuple[EnvoyPatch, ...]] = {}
        for name, node in nodes.items():
            translator = self._translators.setdefault(name, Translator())
            settings = node_settings(node)
            settings = structs.replace(
                settings, trace_percent=self._trace_percent, clients=self._settings.clients
            )
            if name == self.own_node:
                every = self.access_log if built.model.access_log else ""
                settings = structs.replace(
                    settings, access_log=every, access_log_file=self.access_log
                )
            model = scope(built.model, settings, self._scope_memo)
            streams.update(d.name for d in model.destinations if d.protocol in BYTE_STREAMS)
            switches = runtime(self._tap_percent)
            resources = (switches, *self.secrets(model), *translator.translate(model))
            resources = self._hand_over(name, resources)
            patched.update(
                {(r.type_url, r.name, r.version): r.patched_by for r in resources if r.patched_by}
            )
            self.wanted[name] = Counter(resource.type_url for resource in resources)
        self._scope_memo.end()
        self.faults.whole()
        self._byte_streams = frozenset(streams)
        self._patched = patched

    def _hand_over(self, node: str, resources: tuple[Resource, ...]) -> tuple[Resource, ...]:
        """Give the node's proxy its resources; returns what it gets."""
        if node == self.own_node and self.relay is not None:
            return self.relay.offer(resources, self.number).node
        self._ads.update(node, resources, self.number)
        return resources
