"""The API server as a part of a program: made of a store and settings, started on an address."""

import asyncio
import contextlib
import logging
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from msgspec import Struct, field

from weft.api import registry
from weft.api.errors import ApiError
from weft.apiserver import codec, definitions, keys, mutating_policies, parts, token_claims
from weft.apiserver.access import APISERVER, AUTHENTICATED, WEFT, Admission, Authorizer, User
from weft.apiserver.addresses import Ranges
from weft.apiserver.audit_log import AuditLog, AuditSettings
from weft.apiserver.authentication import AnyOf, StaticTokens
from weft.apiserver.bootstrap import bootstrap, keep_service
from weft.apiserver.bootstrap_tokens import BootstrapTokens
from weft.apiserver.certificate_requests import CertificateRequests
from weft.apiserver.claim_policies import ClaimPolicies
from weft.apiserver.connections import Connections
from weft.apiserver.create_check import CreateCheck
from weft.apiserver.custom_cleanup import CustomCleanup
from weft.apiserver.escalation import Escalation
from weft.apiserver.fairness import LEVELS, Fairness, Level
from weft.apiserver.handlers import Handlers
from weft.apiserver.local_client import LocalClient
from weft.apiserver.logs import LogSource
from weft.apiserver.metrics import Metrics
from weft.apiserver.mutating_admission import MutatingPolicyAdmission
from weft.apiserver.node_authorizer import NODE_PREFIX, NODES_GROUP, FirstYes, NodeAuthorizer
from weft.apiserver.node_graph import NodeGraph
from weft.apiserver.node_graph_follower import NodeGraphFollower
from weft.apiserver.node_restriction import NodeRestriction
from weft.apiserver.part_gate import PartGate
from weft.apiserver.pod_policies import PodPolicies
from weft.apiserver.pod_security_admission import PodSecurityAdmission
from weft.apiserver.policy_admission import PolicyAdmission, PolicyReader, Surroundings
from weft.apiserver.priorities import PriorityAdmission
from weft.apiserver.rbac import Rbac
from weft.apiserver.rbac_follower import RbacFollower
from weft.apiserver.removed_nodes import RemovedNodes
from weft.apiserver.resources import Resources
from weft.apiserver.reviews import Reviews
from weft.apiserver.server import (
    Page,
    PersonalQuestion,
    Question,
    Server,
    Tree,
    Upgrade,
    Upload,
    shown_certificate,
)
from weft.apiserver.service_tokens import ServiceTokens
from weft.apiserver.streams import NodeStreams
from weft.apiserver.token_secrets import TokenSecrets
from weft.apiserver.usage import UsageSource
from weft.apiserver.watching import Watches
from weft.apiserver.webhook_admission import WebhookAdmission
from weft.apiserver.webhook_client import SocketFactory, WebhookClient
from weft.apiserver.webhook_conversion import WebhookConversion
from weft.lib import aio
from weft.lib.randomness import Randomness
from weft.lib.timefmt import parse_rfc3339
from weft.pki import jws
from weft.pki.jws import KeyRing
from weft.pki.signing_keys import new_ring
from weft.store.interface import Conflict, Delete, Expect, Store, StoreError, Txn

log = logging.getLogger("weft.apiserver")
EVENT_SECONDS_KEPT = 3600.0
"""Age at which Events are removed, as kube-apiserver's --event-ttl."""
EVENT_SWEEP_SECONDS = 60.0
SERVICE_LOOK_SECONDS = 10.0
"""How often the Service `kubernetes` is looked for, as kube-apiserver does."""
SHUTDOWN_SECONDS = 2.0


class Settings(Struct, frozen=True):
    """What an API server needs to know."""

    tokens: Mapping[str, User] = field(default_factory=dict)
    """Bearer tokens and who they stand for."""
    ranges: Ranges = Ranges()
    levels: Mapping[str, Level] = field(default_factory=lambda: LEVELS)
    """How many requests are worked on and wait, by priority."""
    weft_version: str = "0.1.0"
    audit: AuditSettings | None = None
    """None: no audit log."""
    signing_keys: KeyRing | None = None
    """Of service account tokens; None makes keys that end with this process."""


class ApiServer:
    """Serves a store. `clock` gives seconds since the epoch, `random` a number below its
    argument."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        authorizer: Authorizer | None = None,
        admission: Sequence[Admission] = (),
        log_source: LogSource | None = None,
        clock: Callable[[], float] = aio.now,
        random: Callable[[int], int] | None = None,
        removed: RemovedNodes | None = None,
        socket_factory: SocketFactory | None = None,
    ) -> None:
        """`removed` is started by whoever made it; `socket_factory` calls webhooks (Dialer)."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._resources = Resources(
            store,
            clock=clock,
            random=random or Randomness().below,
            ranges=settings.ranges,
            admission=(PriorityAdmission(store), *admission),
        )
        self._webhooks = WebhookClient(store, socket_factory)
        definitions = self._resources.definitions
        self._conversion = WebhookConversion(self._webhooks, definitions, uuid.uuid4)
        self._resources.converter = self._conversion
        self._watches = Watches(store, self._conversion)
        self._rbac = Rbac()
        self._follower = RbacFollower(store, self._rbac)
        graph = NodeGraph()
        self._nodes = NodeGraphFollower(store, graph)
        decides = authorizer or FirstYes((self._rbac, NodeAuthorizer(graph)))
        restriction = NodeRestriction(graph)
        self._resources.admission.insert(0, CreateCheck(decides))
        self._resources.admission.extend(
            (Escalation(self._rbac), PodPolicies(store), ClaimPolicies(store), restriction)
        )
        self._resources.admission.append(CertificateRequests(decides))
        self.authorizer: Authorizer = decides
        self._add_policies(self.authorizer)
        ring = settings.signing_keys or new_ring()
        self.service_tokens = ServiceTokens(store, ring, clock, lambda: str(uuid.uuid4()))
        bootstrap_tokens = BootstrapTokens(store, clock)
        self._static = StaticTokens(settings.tokens)
        tokens = AnyOf((self._static, self.service_tokens, bootstrap_tokens))
        reviews = Reviews(self._rbac, tokens.identify)
        self._handlers = Handlers(
            self._resources, self._watches, clock, reviews, self.service_tokens
        )
        self._handlers.check_token = restriction.check_token
        self._handlers.log_source = log_source
        self._server = Server(
            self._handlers,
            tokens=tokens,
            authorizer=decides,
            metrics=Metrics(),
            weft_version=settings.weft_version,
            fairness=Fairness(settings.levels),
        )
        self._guard(removed, settings.audit)
        self._gate = PartGate(decides, lambda: self._server.audit)
        self._tasks = aio.Tasks()
        self._runner: web.ServerRunner | None = None
        self._token_secrets = TokenSecrets(self._resources, self.service_tokens, lambda: self.roots)
        self.roots = ""
        """PEM of the CA that clients of this server are to believe; told in token Secrets."""
        self.port = 0
        """The port that is listened on, once started."""

    def _guard(self, removed: RemovedNodes | None, wanted: AuditSettings | None) -> None:
        """Keep the audit log. Certificates of removed nodes count no more, and their requests under
        way are cut."""
        if wanted is not None:
            self._server.audit = AuditLog(wanted, self._clock)
        if removed is not None:
            self._server.removed = removed
            removed.on_removed.append(lambda node: self._server.cut(f"{NODE_PREFIX}{node}"))

    def _add_policies(self, access: Authorizer) -> None:
        """Policies and webhooks: asked after weft's own hooks."""
        store, chain = self._store, self._resources.chain
        around = Surroundings(store, access, self._conversion)
        client, new_uid = self._webhooks, uuid.uuid4
        definitions = self._resources.definitions
        reader = PolicyReader(
            "mutating", store, definitions, around, mutating_policies.compile_policy
        )
        chain.mutating += [
            MutatingPolicyAdmission(reader, around),
            WebhookAdmission("mutating", store, client, around, new_uid),
        ]
        chain.validating += [
            PodSecurityAdmission(store, around),
            PolicyAdmission(store, definitions, around),
            WebhookAdmission("validating", store, client, around, new_uid),
        ]

    @property
    def log_source(self) -> LogSource | None:
        """Who delivers pod logs; may be set at any time."""
        return self._handlers.log_source

    @log_source.setter
    def log_source(self, source: LogSource | None) -> None:
        self._handlers.log_source = source

    @property
    def node_streams(self) -> NodeStreams | None:
        """Who serves exec, attach and port-forward; may be set at any time."""
        return self._handlers.streaming.nodes

    @node_streams.setter
    def node_streams(self, nodes: NodeStreams | None) -> None:
        self._handlers.streaming.nodes = nodes

    def use_signing_keys(self, ring: KeyRing) -> None:
        """Sign and believe service account tokens with these keys from now on."""
        self.service_tokens.ring = ring
        self._tasks.spawn(self._token_secrets.look(), "token-secrets-anew")

    def trust(self, roots: str, believes: Callable[[bytes], bool]) -> None:
        """Tell clients to believe these roots (PEM); believe clients whose certificates (DER)
        `believes` knows, and end connections that were made with others."""
        self.roots = roots
        self._server.believes_certificate = believes
        self._tasks.spawn(self._token_secrets.look(), "token-secrets-anew")
        server = self._runner.server if self._runner is not None else None
        for connection in tuple(server.connections) if server is not None else ():
            shown = shown_certificate(connection.transport)
            if shown is not None and not believes(shown) and connection.transport is not None:
                connection.transport.close()

    def use_tokens(self, tokens: Mapping[str, User]) -> None:
        """Believe these bearer tokens from now on, instead of those of the settings."""
        self._static.tokens = tokens

    def add_page(self, path: str, page: Page) -> None:
        """Serve a document of another part of the program under `path`."""
        self._server.pages[path] = page

    def add_metrics(self, page: Callable[[], str]) -> None:
        """Serve another part's metrics, in Prometheus' text format, with the server's own."""
        self._server.more_metrics.append(page)

    def add_question(self, path: str, answer: Question) -> None:
        """Serve a document that depends on the query under `path`."""
        self._server.questions[path] = answer

    def add_personal_question(self, path: str, answer: PersonalQuestion) -> None:
        """Serve a document under `path` that also depends on who asks."""
        self._server.personal_questions[path] = answer

    def add_tree(self, path: str, documents: Tree) -> None:
        """Serve documents of another part of the program below `path`, which ends with a slash."""
        self._server.trees[path] = documents

    def add_action(self, path: str, action: Page) -> None:
        """Do something of another part of the program on a POST to `path`, and answer with what
        came of it."""
        self._server.actions[path] = action

    def add_usage(self, source: UsageSource) -> None:
        """Serve metrics.k8s.io with what the source measures."""
        self._handlers.usage_source = source

    def add_open_page(self, path: str, page: Page) -> None:
        """A page for everybody, also for those who show no credential."""
        self._server.open_pages[path] = page

    def add_upgrade(self, path: str, upgrade: Upgrade) -> None:
        """Hand connections to `path` over, with who made them."""
        self._server.upgrades[path] = upgrade

    def add_upload(self, path: str, take: Upload) -> None:
        """Give what is sent to `path` by POST to another part of the program, with who sent it."""
        self._server.uploads[path] = take

    def add_admission(self, hook: Admission) -> None:
        """Ask one more hook about every write from now on."""
        self._resources.admission.append(hook)

    def local_client(self, part: str = "") -> LocalClient:
        """A client in process, for a part of weft (`parts.user_of`) that may write what its role
        says; else as system:weft, which may do everything."""
        user, gate = (parts.user_of(part), self._gate) if part else (WEFT, None)
        return LocalClient(self._resources, self._watches, user, self.service_tokens, gate)

    def node_client(self, node: str) -> LocalClient:
        """A client in process for this machine's node: authorized and audited as every node is."""
        user = User(f"{NODE_PREFIX}{node}", (NODES_GROUP, AUTHENTICATED))
        gate = PartGate(self.authorizer, lambda: self._server.audit, self._nodes.look)
        given = (self._resources, self._watches, user, self.service_tokens, gate)
        return LocalClient(*given, check_token=self._handlers.check_token)

    def _first_client(self) -> LocalClient:
        return LocalClient(self._resources, self._watches, APISERVER, self.service_tokens)

    async def start(
        self,
        host: str,
        port: int,
        ssl_context: ssl.SSLContext | None = None,
        *,
        also: str = "",
        advertise: str = "",
        socket: str = "",
    ) -> None:
        """Create what must exist, then listen. `port` 0 takes a free one (see `self.port`). `also`
        is one more address to listen on; `advertise` is where pods reach this server; `socket` is
        a Unix socket for programs of this instance, which show tokens like everybody else. Raises
        OSError when an address is taken."""
        if self._server.audit is not None:
            self._server.audit.start()
        await self._load_definitions()
        runner = web.ServerRunner(
            Connections(self._server.handle), shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, host, port, ssl_context=ssl_context, reuse_address=True)
        await site.start()
        self.port = int(runner.addresses[0][1])
        if also:
            more = web.TCPSite(runner, also, self.port, ssl_context=ssl_context, reuse_address=True)
            await more.start()
        if socket:
            await web.UnixSite(runner, socket).start()
        endpoint = (advertise or host, self.port)
        self._publish_keys(f"https://{endpoint[0]}:{endpoint[1]}")
        await bootstrap(self._first_client(), self._settings.ranges.kubernetes_ip, endpoint)
        await self._follower.start()
        await self._nodes.start()
        self._tasks.spawn(self._sweep_events(), "event-sweep")
        self._tasks.spawn(self._keep_service(endpoint), "kubernetes-service")
        self._tasks.spawn(self._resources.quotas.run(), "quotas")
        self._tasks.spawn(self._token_secrets.run(), "token-secrets")
        self._tasks.spawn(CustomCleanup(self._resources).run(), "custom-cleanup")
        self._server.ready = True

    async def _load_definitions(self) -> None:
        kind = registry.by_resource("apiextensions.k8s.io", "v1", definitions.PLURAL)
        assert kind is not None
        stored = (await self._store.range(keys.prefix(kind))).entries
        self._resources.definitions.load(codec.to_object(e.value) for e in stored)

    def _publish_keys(self, base_url: str) -> None:
        """For whoever verifies service account tokens without asking (OpenID Connect)."""
        document = token_claims.openid_configuration(base_url, (jws.ALGORITHM,))

        async def configuration() -> tuple[str, bytes]:
            return "application/json", codec.dumps(document)

        async def key_set() -> tuple[str, bytes]:
            return "application/jwk-set+json", self.service_tokens.ring.jwks()

        self.add_page(token_claims.CONFIG_URL, configuration)
        self.add_page(token_claims.JWKS_URL, key_set)

    async def close(self) -> None:
        """Stop listening, end watches; the store stays open. Idempotent."""
        self._server.ready = False
        await self._tasks.close()
        await self._follower.close()
        await self._nodes.close()
        self._watches.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._conversion.close()
        await self._webhooks.close()
        if self._server.audit is not None:
            await self._server.audit.close()

    async def _keep_service(self, endpoint: tuple[str, int]) -> None:
        client, ip = self._first_client(), self._settings.ranges.kubernetes_ip
        while True:
            await asyncio.sleep(SERVICE_LOOK_SECONDS)
            try:
                await keep_service(client, self._store, ip, endpoint)
            except (ApiError, StoreError) as error:
                log.warning("service kubernetes not created again error=%s", error)

    async def _sweep_events(self) -> None:
        while True:
            await asyncio.sleep(EVENT_SWEEP_SECONDS)
            try:
                await remove_old_events(self._store, self._clock())
            except StoreError as error:
                log.warning("old events not removed error=%s", error)


async def remove_old_events(store: Store, now: float) -> int:
    """Remove Events older than an hour; gives how many. They are not worth a client's write."""
    kind = registry.by_resource("", "v1", "events")
    assert kind is not None
    removed = 0
    for entry in (await store.range(keys.prefix(kind))).entries:
        if now - _last_seen(codec.to_object(entry.value)) < EVENT_SECONDS_KEPT:
            continue
        try:
            await store.apply(Txn((Delete(entry.key),), (Expect(entry.key, entry.mod_revision),)))
            removed += 1
        except Conflict:
            continue
    return removed


def _last_seen(event: Mapping[str, Any]) -> float:
    """Clients write what they like into times: the creation is the server's own."""
    with contextlib.suppress(ValueError):
        if last := event.get("lastTimestamp"):
            return parse_rfc3339(last)
    return parse_rfc3339(event["metadata"]["creationTimestamp"])
