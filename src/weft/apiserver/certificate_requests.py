"""What the API server itself does for CertificateSigningRequests. Pure.

Who asks is written into the request by the server; `approval` changes the conditions Approved and
Denied, `status` the certificate and all other conditions; who may do either is asked about the
signer. Source: certificates.k8s.io/v1 and Kubernetes' admission plugins CertificateApproval,
CertificateSigning and CertificateSubjectRestriction.
"""

from collections.abc import Mapping
from typing import Any

from cryptography.x509.oid import NameOID

from weft.api.validate import certificates
from weft.apiserver import failures
from weft.apiserver.access import MASTERS, Attributes, Authorizer, Review, User, Verdict
from weft.lib.timefmt import rfc3339

GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
APPROVAL = ("Approved", "Denied")
_NOTHING = Verdict()

Json = dict[str, Any]


def with_approval(old: Mapping[str, Any], new: Mapping[str, Any], now: float) -> Json:
    """PUT or PATCH of `/approval`: conditions, and nothing else."""
    status = dict(old.get("status") or {})
    asked = (new.get("status") or {}).get("conditions") or []
    conditions = _settled(status.get("conditions") or [], asked, now)
    return dict(old) | {"status": status | ({"conditions": conditions} if conditions else {})}


def with_status(old: Mapping[str, Any], new: Mapping[str, Any], now: float) -> Json:
    """PUT or PATCH of `/status`: everything but approval."""
    status = dict(new.get("status") or {})
    before = (old.get("status") or {}).get("conditions") or []
    others = [c for c in status.get("conditions") or [] if c.get("type") not in APPROVAL]
    kept = [c for c in before if c.get("type") in APPROVAL]
    status["conditions"] = _settled(before, [*kept, *others], now)
    if not status["conditions"]:
        del status["conditions"]
    if certificate := (old.get("status") or {}).get("certificate"):
        status["certificate"] = certificate  # issued once
    return dict(old) | {"status": status}


def _settled(before: list[Json], after: list[Json], now: float) -> list[Json]:
    """Conditions with their times; those that are final stay."""
    known = {c.get("type"): c for c in before}
    named = {c.get("type") for c in after}
    kept = [c for c in before if c.get("type") in certificates.FINAL and c["type"] not in named]
    found = list(kept)
    for condition in after:
        old, at = known.get(condition.get("type")), rfc3339(now)
        if old is not None and old.get("status") == condition.get("status"):
            times = {"lastTransitionTime": old.get("lastTransitionTime") or at}
        else:
            times = {"lastTransitionTime": at}
        times["lastUpdateTime"] = condition.get("lastUpdateTime") or at
        found.append(dict(condition) | times)
    return found


class CertificateRequests:
    """access.Admission: names the asker, and asks who may approve and sign."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def review(self, asked: Review) -> Verdict:
        """Raises ApiError 403, 422."""
        if asked.kind.group != GROUP or asked.new is None:
            return _NOTHING
        if asked.operation == "CREATE":
            _refuse_masters(asked)
            return Verdict(_of(asked.new, asked.user))
        old = asked.old or {}
        if asked.subresource == "":
            return Verdict(dict(asked.new) | {"spec": old.get("spec") or {}})
        errors = certificates.validate_conditions(asked.new)
        if errors:
            causes = [{"reason": e.reason, "message": e.body, "field": e.path} for e in errors]
            raise failures.invalid(asked.kind, asked.name, causes)
        status, before = asked.new.get("status") or {}, old.get("status") or {}
        if asked.subresource == "approval":
            self._require(asked, "approve")
        elif status.get("certificate") != before.get("certificate"):
            self._require(asked, "sign")
        return _NOTHING

    def _require(self, asked: Review, verb: str) -> None:
        """The verb on the signer's name, or on all signers of its domain."""
        signer = ((asked.old or {}).get("spec") or {}).get("signerName") or ""
        for name in (signer, f"{signer.partition('/')[0]}/*"):
            wanted = Attributes(verb, group=GROUP, version="v1", resource="signers", name=name)
            if self._authorizer.decide(asked.user, wanted).allowed:
                return
        why = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise failures.forbidden(asked.kind, asked.name, why)


def _of(obj: Json, user: User) -> Json:
    spec = dict(obj.get("spec") or {})
    for field in ("username", "uid", "groups", "extra"):
        spec.pop(field, None)
    spec["username"] = user.name
    if user.uid:
        spec["uid"] = user.uid
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    return dict(obj) | {"spec": spec}


def _refuse_masters(asked: Review) -> None:
    """Nobody becomes an administrator that no policy binds by a certificate."""
    spec = (asked.new or {}).get("spec") or {}
    if spec.get("signerName") != CLIENT_SIGNER:
        return
    try:
        subject = certificates.parse_request(spec.get("request") or "").subject
    except Exception:
        return  # validation says what is wrong with it
    groups = [n.value for n in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if MASTERS in groups:
        why = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
        raise failures.forbidden(asked.kind, asked.name, why)
