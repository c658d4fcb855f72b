"""Certificates in Secrets: where they are looked for, and what they must hold."""

import base64
import binascii
from collections.abc import Iterable

from msgspec import Struct

from weft.api.k8s.core_v1 import Secret
from weft.api.snapshot import ObjectSnapshot
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE

CERTIFICATE_KEYS = ("tls.crt", "cert")
KEY_KEYS = ("tls.key", "key")
AUTHORITY_KEYS = ("ca.crt", "cacert")
"""Names in a Secret: as in kubernetes.io/tls, or as Istio also takes them."""
AUTHORITY_SUFFIX = "-cacert"
"""A Secret of this name beside the named one may hold the authorities."""
_PEM = "-----BEGIN"


class Place(Struct, frozen=True):
    """The field that names a Secret."""

    obj: Struct
    namespace: str
    path: str
    consequence: str
    """What happens without the Secret."""


class Secrets:
    """Secrets by name, in the namespace of who names them or in the root namespace."""

    def __init__(self, found: Iterable[Secret], report: Findings) -> None:
        self._snapshot = ObjectSnapshot(tuple(found))
        self._report = report

    def find(self, name: str, place: Place) -> Secret | None:
        """The Secret; reports when there is none."""
        found = self._look(name, place.namespace)
        namespaces = places(name, place.namespace)
        if not namespaces:
            self._report.add(f.CREDENTIAL_ELSEWHERE, place.obj, place.path, secret=name)
        elif found is None:
            known = [s.metadata.name for ns in namespaces for s in self._snapshot.list(Secret, ns)]
            self._report.add(
                f.CREDENTIAL_UNKNOWN,
                place.obj,
                place.path,
                f.suggest(plain_name(name), known, "Secrets there"),
                secret=plain_name(name),
                namespaces=" or ".join(f"`{n}`" for n in namespaces),
                consequence=place.consequence,
            )
        return found

    def value(self, secret: Secret, keys: tuple[str, ...], place: Place) -> str:
        """The PEM text under one of the keys; reports when there is none."""
        found = pem(secret, keys)
        if not found:
            self._report.add(
                f.CREDENTIAL_INCOMPLETE,
                place.obj,
                place.path,
                secret=secret.metadata.name,
                missing=f"`{keys[0]}`",
                consequence=place.consequence,
            )
        return found or ""

    def authorities(self, name: str, place: Place, needed: bool = True) -> tuple[str, str]:
        """(PEM, reference) of the authorities in a Secret, or in the one beside it."""
        beside = self._look(name + AUTHORITY_SUFFIX, place.namespace)
        for secret in (beside, self._look(name, place.namespace)):
            if secret is not None and (text := pem(secret, AUTHORITY_KEYS)):
                return text, f"{reference(secret)}#{AUTHORITY_KEYS[0]}"
        if needed and (secret := self.find(name, place)) is not None:
            self.value(secret, AUTHORITY_KEYS, place)
        return "", ""

    def _look(self, name: str, namespace: str) -> Secret | None:
        for place in places(name, namespace):
            if found := self._snapshot.get(Secret, plain_name(name), place):
                return found
        return None


def plain_name(name: str) -> str:
    """`name`, `ns/name` and `kubernetes://ns/name` alike."""
    return name.rpartition("://")[2].rpartition("/")[2]


def places(name: str, namespace: str) -> tuple[str, ...]:
    """The namespaces in which a Secret that an object of a namespace names is looked for: that of
    the object, and the root namespace, where Istio's gateways run. Other namespaces keep their
    Secrets: of one that is named there are none."""
    own = tuple(dict.fromkeys((namespace, ROOT_NAMESPACE)))
    wanted = name.rpartition("://")[2].rpartition("/")[0]
    return own if not wanted else tuple(ns for ns in own if ns == wanted)


def reference(secret: Secret) -> str:
    """The name under which the proxy asks for the certificate."""
    return f"kubernetes://{secret.metadata.namespace}/{secret.metadata.name}"


def pem(secret: Secret, keys: tuple[str, ...]) -> str | None:
    """The PEM text that a Secret holds under one of the keys, or None."""
    for key in keys:
        if text := secret.string_data.get(key, ""):
            return text if text.lstrip().startswith(_PEM) else None
        if encoded := secret.data.get(key, ""):
            try:
                text = base64.b64decode(encoded, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return None
            return text if text.lstrip().startswith(_PEM) else None
    return None
