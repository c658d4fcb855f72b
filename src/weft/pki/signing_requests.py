"""What becomes of a CertificateSigningRequest: which signers weft has, what each of them signs, and
what is approved without a person. Pure.

Source: Kubernetes' certificate signing requests (signers, their rules of subjects, names and
usages); `weft.dev/workload` is weft's own signer, for workloads that it does not run.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID
from msgspec import Struct

from weft.api.k8s.certificates_v1 import CertificateSigningRequest
from weft.api.validate.certificates import parse_request
from weft.pki import identity

API_CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
WORKLOAD = "weft.dev/workload"
SIGNERS = (API_CLIENT, KUBELET_CLIENT, KUBELET_SERVING, WORKLOAD)
NODES_GROUP = "system:nodes"
NODE_USER_PREFIX = "system:node:"
SECONDS_MAX = identity.CLIENT_SECONDS_DEFAULT
"""Life of a certificate unless the request wants less."""
_ACCOUNT = "system:serviceaccount:"
_SIGNATURE, _CLIENT, _SERVER = "digital signature", "client auth", "server auth"
_ENCIPHER = "key encipherment"


class Asked(Struct, frozen=True):
    """What a request is for."""

    subject: x509.Name
    common_name: str
    organizations: tuple[str, ...]
    dns: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    others: bool = False
    """There are names of other kinds."""

    @property
    def node(self) -> str:
        """Of a node's certificate; empty for what is none."""
        ok = self.organizations == (NODES_GROUP,) and self.common_name.startswith(NODE_USER_PREFIX)
        return self.common_name.removeprefix(NODE_USER_PREFIX) if ok else ""


def asked_for(request: x509.CertificateSigningRequest) -> Asked:
    """Reads a request. Raises ValueError for names that cannot be read."""
    names: x509.SubjectAlternativeName | tuple[x509.GeneralName, ...] = ()
    try:
        extension = request.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        ).value
        assert isinstance(extension, x509.SubjectAlternativeName)
        names = extension
    except x509.ExtensionNotFound:
        pass
    known = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)

    def values(kind: type[x509.GeneralName]) -> tuple[str, ...]:
        return tuple(str(name.value) for name in names if isinstance(name, kind))

    def attributes(oid: x509.ObjectIdentifier) -> tuple[str, ...]:
        return tuple(str(found.value) for found in request.subject.get_attributes_for_oid(oid))

    return Asked(
        subject=request.subject,
        common_name=next(iter(attributes(NameOID.COMMON_NAME)), ""),
        organizations=attributes(NameOID.ORGANIZATION_NAME),
        dns=values(x509.DNSName),
        addresses=values(x509.IPAddress),
        uris=values(x509.UniformResourceIdentifier),
        others=any(not isinstance(name, known) for name in names),
    )


def problem(obj: CertificateSigningRequest, trust_domain: str) -> str:
    """Why its signer cannot sign this request; "" when it can. Of signers of others always ""."""
    spec = obj.spec
    if spec.signer_name not in SIGNERS:
        return ""
    try:
        asked = asked_for(parse_request(spec.request))
    except Exception as error:  # cryptography refuses what it reads in many ways
        return f"the request cannot be read: {error}"
    usages = frozenset(spec.usages) - {_ENCIPHER}
    if spec.signer_name == API_CLIENT:
        return _first(
            (usages <= {_SIGNATURE, _CLIENT} and _CLIENT in usages, "usages must be client auth"),
            (bool(asked.common_name), "the subject needs a common name"),
            (not asked.uris, "URI names are not signed here"),
        )
    if spec.signer_name == WORKLOAD:
        wanted = _own_identity(spec.username, trust_domain)
        return _first(
            (bool(wanted), "only service accounts have an identity in the mesh"),
            (
                asked.uris == (wanted,) and not (asked.dns or asked.addresses or asked.others),
                f"the only subject alternative name must be the URI {wanted}",
            ),
            (
                usages == {_SIGNATURE, _CLIENT, _SERVER},
                "usages must be digital signature, client auth and server auth",
            ),
        )
    node = (bool(asked.node), f"the subject must be O={NODES_GROUP}, CN={NODE_USER_PREFIX}NAME")
    if spec.signer_name == KUBELET_CLIENT:
        return _first(
            node,
            (
                not (asked.dns or asked.addresses or asked.uris or asked.others),
                "subject alternative names are not allowed",
            ),
            (usages == {_SIGNATURE, _CLIENT}, "usages must be digital signature and client auth"),
        )
    return _first(
        node,
        (spec.username == asked.common_name, "the common name must be that of the asking node"),
        (bool(asked.dns or asked.addresses), "a DNS name or an IP address is needed"),
        (not (asked.uris or asked.others), "only DNS names and IP addresses are allowed"),
        (usages == {_SIGNATURE, _SERVER}, "usages must be digital signature and server auth"),
    )


def _first(*demands: tuple[bool, str]) -> str:
    return next((text for met, text in demands if not met), "")


def _own_identity(username: str, trust_domain: str) -> str:
    """The SPIFFE ID of a service account; empty for other users."""
    namespace, colon, name = username.removeprefix(_ACCOUNT).partition(":")
    if not username.startswith(_ACCOUNT) or not colon:
        return ""
    try:
        return str(identity.workload_id(trust_domain, namespace, name))
    except ValueError:
        return ""


Permission = Literal["", "always", "nodeclient", "selfnodeclient", "own-addresses"]


def approval(obj: CertificateSigningRequest) -> Permission:
    """On what condition a request that its signer can sign is approved without a person: whoever
    may `create` that subresource of certificatesigningrequests; `own-addresses`: its names are
    those of the asking node. "": never."""
    spec = obj.spec
    if spec.signer_name == WORKLOAD:
        return "always"
    if spec.signer_name == KUBELET_SERVING:
        return "own-addresses"
    if spec.signer_name != KUBELET_CLIENT:
        return ""
    own = asked_for(parse_request(spec.request)).common_name == spec.username
    return "selfnodeclient" if own else "nodeclient"


def of_node(obj: CertificateSigningRequest, addresses: Iterable[str]) -> bool:
    """Whether all names of a serving certificate are among a node's addresses."""
    asked = asked_for(parse_request(obj.spec.request))
    return set(addresses).issuperset((*asked.dns, *asked.addresses))


State = Literal["pending", "approved", "denied", "failed", "issued"]


def state(obj: CertificateSigningRequest) -> State:
    held = {c.type for c in obj.status.conditions if c.status == "True"}
    if obj.status.certificate:
        return "issued"
    if "Denied" in held:
        return "denied"
    if "Failed" in held:
        return "failed"
    return "approved" if "Approved" in held else "pending"


def seconds(obj: CertificateSigningRequest, longest: float) -> float:
    """How long the certificate shall live."""
    return min(float(obj.spec.expiration_seconds or longest), longest)


def condition(kind: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def with_condition(obj: CertificateSigningRequest, added: dict[str, str]) -> list[dict[str, str]]:
    """The conditions of a request and one more, as JSON; the API server sets their times."""
    kept: Sequence[dict[str, str]] = [
        {
            "type": c.type, "status": c.status, "reason": c.reason, "message": c.message,
            "lastUpdateTime": c.last_update_time, "lastTransitionTime": c.last_transition_time,
        }
        for c in obj.status.conditions
    ]  # fmt: skip
    return [*kept, added]
