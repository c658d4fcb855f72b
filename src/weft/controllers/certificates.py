"""Old CertificateSigningRequests are removed, as kube-controller-manager's cleaner does."""

import base64
import binascii

from cryptography import x509

from weft.api.k8s.certificates_v1 import CertificateSigningRequest
from weft.api.snapshot import Snapshot
from weft.lib.timefmt import parse_rfc3339
from weft.runtime.controller import Controller
from weft.runtime.plan import NOTHING, Delete, Key, Plan

FINISHED_SECONDS_KEPT = 3600.0
"""After the last word about a request that was approved, denied or failed."""
PENDING_SECONDS_KEPT = 86400.0
"""Of requests that nobody decides, or that nobody signs."""
PATIENCE_SECONDS = 1.0


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Delete the request when its time is over, else come back then."""
    found = snapshot.get(CertificateSigningRequest, key.name)
    if found is None or found.metadata.deletion_timestamp:
        return NOTHING
    left = _ends_at(found) - now
    if left > 0:
        return Plan(requeue_after=left + PATIENCE_SECONDS)
    metadata = found.metadata
    return Plan((Delete(CertificateSigningRequest, "", metadata.name, metadata.uid),))


def _ends_at(request: CertificateSigningRequest) -> float:
    created = parse_rfc3339(request.metadata.creation_timestamp)
    decided = [c for c in request.status.conditions if c.type in ("Approved", "Denied", "Failed")]
    issued = bool(request.status.certificate)
    final = issued or any(c.type != "Approved" for c in decided)
    if not final:
        return created + PENDING_SECONDS_KEPT
    last = max((parse_rfc3339(c.last_update_time) for c in decided), default=created)
    ends = max(last, created) + FINISHED_SECONDS_KEPT
    return min(ends, _not_after(request.status.certificate)) if issued else ends


def _not_after(encoded: str) -> float:
    """When a certificate ends; never for what is none."""
    try:
        text = base64.b64decode(encoded, validate=True)
        return x509.load_pem_x509_certificates(text)[0].not_valid_after_utc.timestamp()
    except (binascii.Error, ValueError):
        return float("inf")


CONTROLLER = Controller(name="certificate-cleaner", primary=CertificateSigningRequest, plan=plan)
