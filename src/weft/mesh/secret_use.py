"""Which Secrets the mesh cannot be made of: those of helm, of kubelets and of joining nodes."""

from weft.api.k8s.core_v1 import Secret

OTHERS_TYPES = frozenset(
    (
        "helm.sh/release.v1",
        "bootstrap.kubernetes.io/token",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/dockercfg",
    )
)
"""What these hold is fixed by their types: neither certificates nor keys."""


def counts(found: Secret) -> bool:
    """Whether a change of this Secret can change the model. helm writes several for each release,
    of up to 1 MiB: each would have the whole mesh built again. A Secret's type never changes."""
    return found.type not in OTHERS_TYPES
