"""Approves and signs CertificateSigningRequests of the signers that weft has."""

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.k8s.certificates_v1 import CertificateSigningRequest
from weft.api.k8s.core_v1 import Node
from weft.api.registry import kind_for
from weft.api.validate.certificates import parse_request
from weft.apiserver.access import Attributes, Authorizer, User
from weft.apiserver.certificate_requests import GROUP
from weft.lib.aio import now, ticks
from weft.pki import signing_requests as csr
from weft.pki.ca import Authority, Wanted, alternative
from weft.runtime.client import Client
from weft.runtime.informer import Informers
from weft.runtime.workqueue import WorkQueue

log = logging.getLogger("weft.pki")

CLASSES: tuple[type[Struct], ...] = (CertificateSigningRequest, Node)
REASONS = {
    "always": ("WorkloadIdentity", "It is the identity of the service account that asks."),
    "nodeclient": ("AutoApproved", "Auto approving kubelet client certificate after "
                   "SubjectAccessReview."),
    "selfnodeclient": ("AutoApproved", "Auto approving self kubelet client certificate after "
                       "SubjectAccessReview."),
    "own-addresses": ("AutoApproved", "All names are the node's own."),
}  # fmt: skip
_USAGES = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
}


class WorkloadAuthority(Struct, frozen=True):
    """Who signs identities of the mesh, and for how long."""

    authority: Callable[[], Authority]
    seconds: float
    trust_domain: Callable[[], str]


class CertificateSigner:
    """`run` until cancelled. Certificates of the API come from `ca`."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        authorizer: Authorizer,
        ca: Callable[[], Authority],
        workloads: WorkloadAuthority,
        *,
        seconds: float = csr.SECONDS_MAX,
    ) -> None:
        """`seconds` that certificates of the API live at most."""
        self._client = client
        self._informers = informers
        self._authorizer = authorizer
        self._ca = ca
        self._workloads = workloads
        self._seconds = seconds
        self._queue: WorkQueue[str] = WorkQueue()
        self._wake = asyncio.Event()
        for cls in CLASSES:
            informers.add(cls)
        informers.subscribe(self._on_change)

    def _on_change(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if isinstance(after, CertificateSigningRequest):
            self._add(after.metadata.name)
        elif cls is Node:
            for found in self._informers.cache.list(CertificateSigningRequest):
                if csr.state(found) == "pending":
                    self._add(found.metadata.name)

    def _add(self, name: str) -> None:
        self._queue.add(name, ticks())
        self._wake.set()

    async def run(self) -> None:
        """One request after the other: there are few."""
        await self._informers.synced(CLASSES)
        while True:
            self._wake.clear()
            while (name := self._queue.pop(ticks())) is not None:
                await self._handle(name)
            due = self._queue.next_at()
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - ticks())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _handle(self, name: str) -> None:
        found = self._informers.cache.get(CertificateSigningRequest, name)
        try:
            if found is not None:
                await self._decide(found)
            self._queue.done(name, ticks())
        except ApiError as error:
            log.info("signing request name=%s error=%s", name, error.message)
            self._queue.fail(name, ticks())
        except Exception:
            log.exception("signing request name=%s", name)
            self._queue.fail(name, ticks())

    async def _decide(self, found: CertificateSigningRequest) -> None:
        state = csr.state(found)
        if found.spec.signer_name not in csr.SIGNERS or state not in ("pending", "approved"):
            return
        why = csr.problem(found, self._workloads.trust_domain())
        if state == "pending":
            if not why and self._permitted(found):
                reason, text = REASONS[csr.approval(found)]
                added = csr.condition("Approved", reason, text)
                await self._write(found, "approval", conditions=csr.with_condition(found, added))
            return
        if why:
            added = csr.condition("Failed", "SignerValidationFailure", why)
            await self._write(found, "status", conditions=csr.with_condition(found, added))
            return
        certificate = base64.b64encode(self._signed(found).encode()).decode()
        await self._write(found, "status", certificate=certificate)

    def _permitted(self, found: CertificateSigningRequest) -> bool:
        """Whether nobody needs to be asked."""
        permission = csr.approval(found)
        if permission == "own-addresses":
            asked = csr.asked_for(parse_request(found.spec.request))
            node = self._informers.cache.get(Node, asked.node)
            names = [a.address for a in node.status.addresses] if node is not None else []
            return csr.of_node(found, names)
        if permission in ("", "always"):
            return permission == "always"
        wanted = Attributes(
            "create", group=GROUP, version="v1", resource="certificatesigningrequests",
            subresource=permission,
        )  # fmt: skip
        user = User(found.spec.username, found.spec.groups, found.spec.uid, found.spec.extra)
        return self._authorizer.decide(user, wanted).allowed

    def _signed(self, found: CertificateSigningRequest) -> str:
        request = parse_request(found.spec.request)
        asked = csr.asked_for(request)
        key = request.public_key()
        if found.spec.signer_name == csr.WORKLOAD:
            life = csr.seconds(found, self._workloads.seconds)
            return self._workloads.authority().issue_workload(key, asked.uris[0], now(), life)
        names = [alternative(name) for name in (*asked.dns, *asked.addresses)]
        usages = [_USAGES[usage] for usage in found.spec.usages if usage in _USAGES]
        life = csr.seconds(found, self._seconds)
        wanted = Wanted(asked.subject, tuple(names), tuple(usages))
        return self._ca().issue(key, wanted, now(), life)

    async def _write(
        self, found: CertificateSigningRequest, subresource: str, **status: Any
    ) -> None:
        body = {
            "metadata": {"resourceVersion": found.metadata.resource_version},
            "status": status,
        }
        kind = kind_for(CertificateSigningRequest)
        await self._client.patch(kind, found.metadata.name, body, subresource=subresource)
