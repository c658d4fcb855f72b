"""What is said to whoever writes an object: which findings refuse it, which are warnings.

Objects of a set are written one after the other and in any order. So nothing is refused for what
another object lacks, and a name that nobody has yet is no warning when the object is new and no
similar name is known: it may come next.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.objects import about
from weft.mesh.findings import Finding

LIKELY = ("did you mean", "is it `")
"""How the hint begins when a similar name is known."""


def _codes(*found: Finding) -> frozenset[str]:
    return frozenset(each.code for each in found)


REFUSED = _codes(
    f.REGEX_INVALID, f.WEIGHTS_ZERO, f.ACTION_MISSING, f.DESTINATION_MISSING, f.HOSTS_MISSING,
    f.TLS_MISSING, f.CERTIFICATE_MISSING, f.PORT_MISSING, f.PORT_DEFINED_TWICE,
    f.AUTHORITIES_MISSING, f.RETRY_CONDITION_UNKNOWN, f.JWKS_INVALID, f.CLAIM_MATCHED,
)  # fmt: skip
"""Errors of the object itself, whatever else there is. Validation finds most of them before."""
REFUSED_VALUES = ("VirtualService", "DestinationRule", "ServiceEntry")
"""Kinds of which a value that means nothing is refused, as Istio refuses it."""
DANGLING = _codes(
    f.HOST_UNKNOWN, f.SUBSET_UNKNOWN, f.PORT_UNKNOWN, f.GATEWAY_UNKNOWN, f.SECRET_UNKNOWN,
    f.SECRET_INCOMPLETE, f.RULE_HOST_UNKNOWN, f.SUBSET_EMPTY, f.SELECTOR_EMPTY,
    f.GATEWAY_HOST_UNMATCHED, f.TARGET_PORT_UNKNOWN, f.DELEGATE_UNKNOWN, f.POLICY_TARGET_UNKNOWN,
    f.LIMIT_WITHOUT_ROUTES, f.CREDENTIAL_UNKNOWN, f.CREDENTIAL_INCOMPLETE, f.JWKS_UNREACHABLE,
    f.FAILOVER_UNKNOWN,
    c.GATEWAY_HOST_MISSED, c.WORKLOADS_UNMATCHED, c.POLICY_PORT_UNKNOWN, c.MATCH_PORT_UNKNOWN,
    c.ENTRY_UNUSED, c.POD_REFERENCE_UNKNOWN, c.NAMESPACE_UNKNOWN, c.PARENT_UNKNOWN,
    c.PARENT_REFUSES, c.BACKEND_UNKNOWN, c.BACKEND_PORT_UNKNOWN, c.GRANT_MISSING, c.CLASS_UNKNOWN,
    c.CERTIFICATE_UNRESOLVED, c.TARGET_UNKNOWN, c.SOURCE_NAMESPACE_UNKNOWN,
)  # fmt: skip
"""What another object would mend."""
UNSEEN = _codes(
    c.POD_REFERENCE_UNKNOWN, c.NAMESPACE_UNKNOWN, c.SOURCE_NAMESPACE_UNKNOWN,
    c.TLS_BETWEEN_NODES,
)  # fmt: skip
"""Not looked at here: the API server knows better, or the objects are not filed."""


class Said(Struct, frozen=True):
    """What is said about a write."""

    refused: tuple[Diagnostic, ...] = ()
    warned: tuple[Diagnostic, ...] = ()


def said(found: Iterable[Diagnostic], obj: Struct, created: bool) -> Said:
    """What findings mean for the write of an object. Notes stay unsaid."""
    own = [d for d in found if d.severity != "info" and d.code not in UNSEEN and about(d, obj)]
    refused = tuple(d for d in own if _refuses(d))
    return Said(refused, tuple(d for d in own if not _refuses(d) and _worth(d, created)))


def _refuses(found: Diagnostic) -> bool:
    if found.code == f.VALUE_INVALID.code:
        return found.kind in REFUSED_VALUES
    return found.code in REFUSED


def _worth(found: Diagnostic, created: bool) -> bool:
    return not created or found.code not in DANGLING or found.hint.startswith(LIKELY)


def sentences(found: Sequence[Diagnostic]) -> tuple[str, ...]:
    """Findings as warnings of an API answer: the place, what is wrong, what to do, the code."""
    return tuple(_sentence(each) for each in found)


def _sentence(found: Diagnostic) -> str:
    place = f"{found.path}: " if found.path else ""
    hint = f" ({found.hint})" if found.hint else ""
    return f"{place}{found.message}{hint} [{found.code}]"
