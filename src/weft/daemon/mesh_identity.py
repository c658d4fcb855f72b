"""Identities of the mesh's workloads: certificates for every node, renewed in time, and the roots
behind them; what people are told about it."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.registry import kind_for
from weft.lib.aio import now
from weft.lib.timefmt import rfc3339
from weft.mesh.findings import AUTHORITY_ENDS
from weft.mesh.model import GATEWAY_ACCOUNT, NodeModel
from weft.pki import identity, rotation
from weft.pki.ca import Authority, CaError, Credential
from weft.pki.mesh_ca import MeshAuthority
from weft.pki.rotation import Lives
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.plan import RecordEvent
from weft.xds.node_mtls import caller_secrets
from weft.xds.resource import SECRET, Resource
from weft.xds.server import AdsServer
from weft.xds.svids import TRUST_BUNDLE, Svid, svid_secrets

log = logging.getLogger("weft.pki")

CONFIG_MAP, NAMESPACE, KEY = "istio-ca-root-cert", "kube-system", "root-cert.pem"
"""Where workloads that weft does not run find the roots: Istio's name."""
WAIT_SECONDS_MAX = 3600.0
WAIT_SECONDS_MIN = 0.05
ACKNOWLEDGED_LOOK_SECONDS = 0.2
"""Between looks at whether all proxies trust a new root."""
ALARM_SECONDS = 3600.0
"""Between two Events about the same authority."""


class _Issued(Struct, frozen=True):
    credential: Credential
    svid: Svid
    issuer: str


class MeshIdentity:
    """Issues, renews, tells. `open` before use, `run` until cancelled."""

    def __init__(self, ca: MeshAuthority, lives: Lives, ads: AdsServer) -> None:
        self._ca = ca
        self._lives = lives
        self._ads = ads
        self._issued: dict[tuple[str, str], _Issued] = {}
        """(node, principal) -> its certificate: no two nodes have one key."""
        self._wake = asyncio.Event()
        self._offered: dict[str, str] = {}
        """Node -> version of the trust bundle that it shall have."""
        self._alarmed: dict[str, float] = {}
        self.on_change: Callable[[], None] = lambda: None
        """Called when nodes shall have other certificates than they were given."""
        self.issued_total = 0

    def open(self) -> None:
        """Make the first root if there is none. Raises CaError."""
        self._ca.advance(now(), frozenset())

    def authority(self) -> Authority:
        return self._ca.authority(now())

    def secrets_of(self, model: NodeModel) -> list[Resource]:
        """The secrets of a node's proxy; none where nobody shows certificates: there is no other
        node, and no mutual TLS with anybody outside."""
        peers = model.node.peers
        served = any(s.tls is not None and s.tls.mesh for g in model.gateways for s in g.servers)
        calls = any(d.tls is not None and d.tls.mode == "mesh" for d in model.destinations)
        if not (peers.nodes or served or calls):
            return []
        principals: set[str] = set()
        if peers.nodes or calls:
            principals = {w.principal for w in model.workloads if w.principal} | {peers.identity}
        if model.gateways:
            principals.add(f"spiffe://{model.trust_domain}/{GATEWAY_ACCOUNT}")
        callers = caller_secrets(model.entrances, model.node.peers, self._ca.bundle)
        return [*self.secrets(model.node.name, principals), *callers]

    def secrets(self, node: str, principals: Iterable[str]) -> list[Resource]:
        """Those of the node's own workloads, and the roots."""
        wanted = sorted(set(principals))
        svids = {p: found for p in wanted if (found := self._svid(node, p)) is not None}
        for key in [k for k in self._issued if k[0] == node and k[1] not in svids]:
            del self._issued[key]
        made = svid_secrets(svids, self._ca.bundle)
        self._offered[node] = next(r.version for r in made if r.name == TRUST_BUNDLE)
        self._wake.set()
        return made

    def forget(self, node: str) -> None:
        """The node is gone."""
        self._offered.pop(node, None)
        for key in [k for k in self._issued if k[0] == node]:
            del self._issued[key]

    def _svid(self, node: str, principal: str) -> Svid | None:
        authority, at = self._ca.authority(now()), now()
        known = self._issued.get((node, principal))
        if known is not None and not self._is_due(known, principal, authority, at):
            return known.svid
        try:
            spiffe_id = identity.parse(principal)
        except ValueError as error:
            log.warning("no certificate for %s: %s", principal, error)
            return None
        made = authority.workload(spiffe_id, at, self._lives.workload)
        svid = Svid(made.certificate, made.key)
        self._issued[node, principal] = _Issued(made, svid, self._root_of(authority))
        self.issued_total += 1
        return svid

    def _is_due(self, known: _Issued, principal: str, authority: Authority, at: float) -> bool:
        if known.issuer != self._root_of(authority):
            return True
        return identity.is_due(known.credential.validity, at, _spread(principal))

    def _root_of(self, authority: Authority) -> str:
        return hashlib.sha256(authority.roots.encode()).hexdigest()

    async def run(self) -> None:
        """Renew what is due, switch roots when every proxy trusts the next."""
        while True:
            self._wake.clear()
            changed = False
            try:
                changed = self._ca.advance(now(), self._trusted()) or self._any_due()
            except CaError as error:
                log.error("the mesh's authority: %s", error)
            if changed:
                self.on_change()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait_seconds()):
                    await self._wake.wait()
            if changed:  # who was told needs a moment
                await asyncio.sleep(WAIT_SECONDS_MIN)

    def _wait_seconds(self) -> float:
        at = now()
        if any(v.state == "next" for v in self._ca.views()):
            return ACKNOWLEDGED_LOOK_SECONDS
        return min(max(self._next_at(at) - at, WAIT_SECONDS_MIN), WAIT_SECONDS_MAX)

    def _trusted(self) -> frozenset[str]:
        """The roots that the proxies of all nodes that are there have acknowledged."""
        names = frozenset(v.name for v in self._ca.views())
        for node, version in self._offered.items():
            if not self._ads.connected(node):
                continue
            held = self._ads.acked_names(node, SECRET).get(TRUST_BUNDLE, version)
            if held != version:
                return frozenset()
        return names if self._current() else frozenset()

    def _current(self) -> bool:
        """Whether all nodes were offered the roots of now."""
        bundle = svid_secrets({}, self._ca.bundle)[0].version
        return all(version == bundle for version in self._offered.values())

    def _any_due(self) -> bool:
        authority, at = self._ca.authority(now()), now()
        return any(self._is_due(i, key[1], authority, at) for key, i in self._issued.items())

    def _next_at(self, at: float) -> float:
        times = [self._ca.next_at(at)]
        times += [
            identity.renew_at(i.credential.validity, _spread(key[1]))
            for key, i in self._issued.items()
        ]
        return min(times)

    # ------------------------------------------------------------ for people

    def rotate(self, *, hurry: bool) -> None:
        """Raises CaError."""
        self._ca.rotate(hurry=hurry)
        self._wake.set()
        self.on_change()

    def page(self) -> dict[str, Any]:
        """What `weft ca show` tells."""
        at = now()
        ends = [i.credential.validity.not_after for i in self._issued.values()]
        return {
            "source": self._ca.source,
            "problem": getattr(self._ca, "problem", ""),
            "authorities": [
                {
                    "name": v.name,
                    "state": v.state,
                    "notBefore": rfc3339(v.validity.not_before),
                    "notAfter": rfc3339(v.validity.not_after),
                }
                for v in self._ca.views()
            ],
            "workloads": {
                "certificates": len(ends),
                "seconds": self._lives.workload,
                "firstEnds": rfc3339(min(ends)) if ends else "",
            },
            "alarms": [a.what for a in self._alarms(at)],
        }

    def exposition(self) -> str:
        """Prometheus text, with the names that Istio's CA has."""
        views = self._ca.views()
        roots = [v.validity.not_after for v in views if v.state in ("signing", "root")]
        every = [v.validity.not_after for v in views]
        ends = [i.credential.validity.not_after for i in self._issued.values()]
        lines = [
            "# TYPE citadel_server_root_cert_expiry_timestamp gauge",
            f"citadel_server_root_cert_expiry_timestamp {min(roots, default=0.0):.0f}",
            "# TYPE citadel_server_cert_chain_expiry_timestamp gauge",
            f"citadel_server_cert_chain_expiry_timestamp {min(every, default=0.0):.0f}",
            "# TYPE citadel_server_success_cert_issuance_count counter",
            f"citadel_server_success_cert_issuance_count {self.issued_total}",
            "# TYPE weft_workload_certificate_first_expiry_timestamp gauge",
            f"weft_workload_certificate_first_expiry_timestamp {min(ends, default=0.0):.0f}",
        ]
        return "\n".join(lines) + "\n"

    def _alarms(self, at: float) -> tuple[rotation.Alarm, ...]:
        kept = {v.name: v.validity for v in self._ca.views() if v.state != "retiring"}
        return rotation.alarms(kept, at)

    async def publish(self, client: Client, recorder: EventRecorder) -> None:
        """Until cancelled: the roots in a ConfigMap, alarms as Events of it."""
        written = ""
        while True:
            try:
                if written != self._ca.bundle:
                    await _write(client, self._ca.bundle)
                    written = self._ca.bundle
            except ApiError as error:
                log.warning("roots not published error=%s", error.message)
            self._alarm(recorder)
            await asyncio.sleep(PUBLISH_SECONDS)

    def _warnings(self, at: float) -> dict[str, str]:
        """Authority, or `files` -> what is wrong with it."""
        problem = getattr(self._ca, "problem", "")
        texts = {a.what: _told(a) for a in self._alarms(at)}
        if problem:
            texts["files"] = f"{problem}; the authority read before stays in force"
        return texts

    def findings(self) -> tuple[Diagnostic, ...]:
        """The same for `weft status`."""
        found = AUTHORITY_ENDS
        return tuple(
            Diagnostic(
                found.code, found.severity, found.message.format(text=text), "ConfigMap",
                NAMESPACE, CONFIG_MAP, hint=found.hint,
            )
            for text in self._warnings(now()).values()
        )  # fmt: skip

    def _alarm(self, recorder: EventRecorder) -> None:
        at = now()
        texts = self._warnings(at)
        self._alarmed = {k: t for k, t in self._alarmed.items() if k in texts}
        about = ConfigMap(metadata=ObjectMeta(name=CONFIG_MAP, namespace=NAMESPACE))
        for what, text in texts.items():
            if at - self._alarmed.get(what, 0.0) >= ALARM_SECONDS:
                self._alarmed[what] = at
                recorder.record(RecordEvent(about, "Warning", "AuthorityEnds", text))


PUBLISH_SECONDS = 0.5
"""Between looks at whether the roots are others than those published."""


def _told(alarm: rotation.Alarm) -> str:
    verb = "ended" if alarm.ended else "ends"
    return f"authority {alarm.what} {verb} at {rfc3339(alarm.ends)}: see `weft ca show`"


def _spread(principal: str) -> float:
    """In [0, 1): certificates made together are not renewed together."""
    digest = hashlib.blake2b(principal.encode(), digest_size=2).digest()
    return int.from_bytes(digest, "big") / 65536


async def _write(client: Client, bundle: str) -> None:
    kind = kind_for(ConfigMap)
    body: dict[str, Any] = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {KEY: bundle},
        "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
    }  # fmt: skip
    try:
        await client.create(kind, body, NAMESPACE)
    except ApiError as error:
        if error.code != 409:
            raise
        await client.patch(kind, CONFIG_MAP, {"data": body["data"]}, NAMESPACE)
