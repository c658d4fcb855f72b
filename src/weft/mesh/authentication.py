"""RequestAuthentications and PeerAuthentications in the words of the model."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import security
from weft.mesh import findings as f
from weft.mesh.authorization import labels_of, scope_of, targets_of
from weft.mesh.findings import Findings
from weft.mesh.issuer_keys import NOBODY_LOOKS, IssuerKeys, Resolve, host_and_port, is_discovered
from weft.mesh.key_sets import usable_keys
from weft.mesh.model import Authentication, TokenIssuer, TokenSource
from weft.mesh.values import seconds

FETCH_SECONDS = 5.0
"""For fetching keys, where the rule says nothing."""
NAME_BYTES = 8


class Tokens(Struct, frozen=True):
    """A RequestAuthentication and the workloads it is for."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    targets: tuple[tuple[str, str], ...]
    issuers: tuple[TokenIssuer, ...]
    name: str = ""


class Authentications(Struct, frozen=True):
    """All RequestAuthentications of the mesh."""

    selected: tuple[Tokens, ...] = ()

    def of_pod(
        self, namespace: str, labels: Iterable[tuple[str, str]], service: str
    ) -> Authentication | None:
        """The tokens that calls to a pod may carry: those of all objects that are for it."""
        own = frozenset(labels)
        return joined(
            (each.name, each.issuers)
            for each in self.selected
            if each.namespace in ("", namespace)
            and (
                ("Service", service) in each.targets
                if each.targets
                else own.issuperset(each.labels)
            )
        )

    def of_gateway(
        self, namespace: str, name: str, labels: Mapping[str, str], own: bool
    ) -> Authentication | None:
        """As `AccessPolicies.of_gateway`."""
        found = frozenset(labels.items())
        return joined(
            (each.name, each.issuers)
            for each in self.selected
            if each.namespace in ("", namespace)
            and (
                ("Gateway", name) in each.targets
                if each.targets
                else found.issuperset(each.labels)
                and (own or not each.namespace or bool(each.labels))
            )
        )


def joined(found: Iterable[tuple[str, tuple[TokenIssuer, ...]]]) -> Authentication | None:
    """All issuers of policies together; None when there are none."""
    every = tuple(found)
    issuers = tuple(dict.fromkeys(issuer for _, each in every for issuer in each))
    if not issuers:
        return None
    digest = hashlib.blake2b(repr(issuers).encode(), digest_size=NAME_BYTES)
    return Authentication(digest.hexdigest(), issuers, tuple(name for name, _ in every if name))


def believed_by_all(found: Sequence[Authentication]) -> Authentication | None:
    """What several workloads that are called by one name believe together: which of them a request
    will reach is not known when its token is checked. Tokens that one of them would refuse are."""
    if len(found) < 2:
        return found[0] if found else None
    names = tuple(dict.fromkeys(name for each in found for name in each.policies))
    if len({each.name for each in found}) == 1:
        return replace(found[0], policies=names)
    common = set(found[0].issuers).intersection(*(each.issuers for each in found[1:]))
    every = dict.fromkeys(issuer for each in found for issuer in each.issuers)
    issuers = (i if i in common else _without_keys(i) for i in every)
    made = joined([("", tuple(issuers))])
    return made and replace(made, partial=True, policies=names)


def _without_keys(issuer: TokenIssuer) -> TokenIssuer:
    return replace(issuer, key_set="", key_set_url="", key_set_destination="")


def authentications(
    objects: Sequence[security.RequestAuthentication],
    resolve: Resolve,
    report: Findings,
    issuers: IssuerKeys = NOBODY_LOOKS,
) -> Authentications:
    """All rules that can be checked. A rule whose keys cannot be had is kept without keys: its
    tokens are refused, not believed."""
    found = []
    for obj in sorted(objects, key=lambda o: (o.metadata.namespace, o.metadata.name)):
        made = tuple(
            _issuer(obj, index, rule, _Keys(resolve, issuers, report))
            for index, rule in enumerate(obj.spec.jwt_rules)
        )
        if made:
            found.append(
                Tokens(
                    scope_of(obj.metadata.namespace, targets_of(obj.spec)),
                    labels_of(obj.spec.selector),
                    targets_of(obj.spec),
                    made,
                    f"{obj.metadata.namespace}/{obj.metadata.name}",
                )
            )
    return Authentications(tuple(found))


class _Keys(Struct, frozen=True):
    """Finds the keys of rules."""

    resolve: Resolve
    issuers: IssuerKeys
    report: Findings

    def of(
        self, obj: security.RequestAuthentication, at: str, rule: security.JWTRule
    ) -> TokenIssuer:
        """The issuer with its keys, or with where they are; with neither its tokens are refused."""
        made = TokenIssuer(rule.issuer, key_set_seconds=self.issuers.refresh_seconds)
        if rule.jwks:
            keys = usable_keys(rule.jwks)
            if not keys:
                self.report.add(f.JWKS_INVALID, obj, f"{at}.jwks", issuer=rule.issuer)
            return replace(made, key_set=keys)
        if rule.jwks_uri:
            target = self._destination(obj, f"{at}.jwksUri", rule.jwks_uri)
            return replace(made, key_set_url=rule.jwks_uri, key_set_destination=target)
        if not is_discovered(rule):
            self.report.add(f.JWKS_MISSING, obj, at, issuer=rule.issuer)
            return made
        if not self._destination(obj, f"{at}.issuer", rule.issuer) or self.issuers.found is None:
            return made
        found = self.issuers.found.get(rule.issuer)
        if found is None or not found.key_set:
            problem = found.problem if found is not None else ""
            problem = problem or "they have not been read yet"
            self.report.add(
                f.KEYS_NOT_FOUND, obj, f"{at}.issuer", issuer=rule.issuer, problem=problem
            )
            return made
        if found.problem:
            self.report.add(
                f.KEYS_NOT_RENEWED, obj, f"{at}.issuer", issuer=rule.issuer, problem=found.problem
            )
        return replace(made, key_set=found.key_set)

    def _destination(self, obj: security.RequestAuthentication, at: str, url: str) -> str:
        host, port = host_and_port(url)
        found = self.resolve(host, port)
        if not found:
            self.report.add(f.JWKS_UNREACHABLE, obj, at, host=host, port=port)
        return found


def _issuer(
    obj: security.RequestAuthentication, index: int, rule: security.JWTRule, keys: _Keys
) -> TokenIssuer:
    path = f"spec.jwtRules[{index}]"

    def invalid(problem: str) -> None:
        keys.report.add(f.VALUE_INVALID, obj, f"{path}.timeout", problem=problem, part="value")

    sources = (
        *(TokenSource("header", h.name, h.prefix) for h in rule.from_headers),
        *(TokenSource("query", name) for name in rule.from_params),
        *(TokenSource("cookie", name) for name in rule.from_cookies),
    )
    return replace(
        keys.of(obj, path, rule),
        audiences=rule.audiences,
        timeout=seconds(rule.timeout, FETCH_SECONDS, invalid) or FETCH_SECONDS,
        sources=sources,
        payload_header=rule.output_payload_to_header.lower(),
        claim_headers=tuple((c.header.lower(), c.claim) for c in rule.output_claim_to_headers),
        keep=rule.forward_original_token,
        list_claims=tuple(sorted(set(rule.space_delimited_claims))),
    )


class PeerRule(Struct, frozen=True):
    """Which PeerAuthentication (`<namespace>/<name>`) demands an identity of a workload's callers
    (empty: none does), and where ports differ from that."""

    required: str = ""
    ports: tuple[tuple[int, str], ...] = ()


class PeerRules(Struct, frozen=True):
    """All PeerAuthentications of the mesh, by the name of the one that demands an identity; empty
    is that of one that does not."""

    mesh: str = ""
    namespaces: Mapping[str, str] = {}
    selected: tuple[
        tuple[str, tuple[tuple[str, str], ...], str | None, tuple[tuple[int, str | None], ...]],
        ...,
    ] = ()
    """(namespace, labels, for all ports, by port); None is as the namespace says."""

    def of_pod(self, namespace: str, labels: Iterable[tuple[str, str]]) -> PeerRule:
        """What holds for a pod: the oldest object that selects it, else its namespace's, else the
        mesh's."""
        general = self.namespaces.get(namespace, self.mesh)
        own = frozenset(labels)
        for where, wanted, everywhere, by_port in self.selected:
            if where == namespace and own.issuperset(wanted):
                base = general if everywhere is None else everywhere
                ports = tuple((p, base if strict is None else strict) for p, strict in by_port)
                return PeerRule(base, ports)
        return PeerRule(general)


def _demanding(mode: str, name: str) -> str | None:
    """None: as whatever holds for more says."""
    return {"STRICT": name, "PERMISSIVE": "", "DISABLE": ""}.get(mode)


def peer_rules(objects: Sequence[security.PeerAuthentication]) -> PeerRules:
    """PeerAuthentications by whom they are for; of several for the same the oldest holds."""
    mesh: str | None = None
    namespaces: dict[str, str] = {}
    selected = []
    oldest_first = sorted(
        objects,
        key=lambda o: (o.metadata.creation_timestamp, o.metadata.namespace, o.metadata.name),
    )
    for obj in oldest_first:
        spec = obj.spec
        name = f"{obj.metadata.namespace}/{obj.metadata.name}"
        mode = _demanding(spec.mtls.mode, name) if spec.mtls else None
        labels = labels_of(spec.selector)
        if labels:
            ports = tuple(
                (int(port), _demanding(each.mode, name))
                for port, each in sorted(spec.port_level_mtls.items())
            )
            selected.append((obj.metadata.namespace, labels, mode, ports))
        elif mode is not None and not scope_of(obj.metadata.namespace):
            mesh = mode if mesh is None else mesh
        elif mode is not None:
            namespaces.setdefault(obj.metadata.namespace, mode)
    return PeerRules(mesh or "", namespaces, tuple(selected))
