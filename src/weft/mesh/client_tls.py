"""Certificates from Secrets for connections that DestinationRules make with TLS."""

from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh.istio_policies import HostRule, PortedPolicy
from weft.mesh.model import UpstreamTls
from weft.mesh.secrets import CERTIFICATE_KEYS, KEY_KEYS, Place, Secrets, reference


def with_credentials(rule: istio.DestinationRule, read: HostRule, secrets: Secrets) -> HostRule:
    """The rule with the certificates that its `credentialName`s stand for."""
    policy = _ported(rule, read.policy, "spec.trafficPolicy", secrets)
    subsets = tuple(
        replace(
            subset,
            policy=_ported(rule, subset.policy, f"spec.subsets[{i}].trafficPolicy", secrets),
        )
        for i, subset in enumerate(read.subsets)
    )
    return replace(read, policy=policy, subsets=subsets)


def _ported(
    rule: istio.DestinationRule, policy: PortedPolicy, path: str, secrets: Secrets
) -> PortedPolicy:
    general = replace(policy.general, tls=_tls(rule, policy.general.tls, path, secrets))
    ports = tuple(
        (number, replace(p, tls=_tls(rule, p.tls, f"{path}.portLevelSettings[{i}]", secrets)))
        for i, (number, p) in enumerate(policy.ports)
    )
    return PortedPolicy(general, ports)


def _tls(
    rule: istio.DestinationRule, tls: UpstreamTls | None, path: str, secrets: Secrets
) -> UpstreamTls | None:
    if tls is None or not tls.secret:
        return tls
    where = f"{path}.tls.credentialName"
    place = Place(rule, rule.metadata.namespace, where, "connections fail")
    authorities, authority_reference = secrets.authorities(
        tls.secret, place, needed=tls.mode == "simple" and not tls.insecure_skip_verify
    )
    made = replace(tls, secret="", ca_pem=authorities, ca_secret=authority_reference)
    if tls.mode == "simple":
        return made
    secret = secrets.find(tls.secret, place)
    if secret is None:
        return made
    certificate = secrets.value(secret, CERTIFICATE_KEYS, place)
    key = secrets.value(secret, KEY_KEYS, place)
    if not certificate or not key:
        return made
    return replace(made, certificate_pem=certificate, key_pem=key, secret=reference(secret))
