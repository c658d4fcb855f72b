"""What a pod reads of other objects: the names that its node must be able to ask for. Pure.

Source: Kubernetes' `podutil.VisitPodSecretNames` and `VisitPodConfigmapNames`, and its claims.
"""

from collections.abc import Iterator

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.api.persistent_volumes import ephemeral_name

Reference = tuple[str, str]
"""(plural, name); the namespace is the pod's."""
SECRETS, CONFIG_MAPS = "secrets", "configmaps"
CLAIMS, ACCOUNTS = "persistentvolumeclaims", "serviceaccounts"


def references(pod: Pod) -> frozenset[Reference]:
    """Everything by name, whether it exists or not."""
    found = set(_of_volumes(pod))
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        found.update(_of_container(container))
    found.update((SECRETS, each.name) for each in pod.spec.image_pull_secrets)
    found.add((ACCOUNTS, pod.spec.service_account_name or "default"))
    return frozenset(r for r in found if r[1])


def _of_container(container: Container) -> Iterator[Reference]:
    for variable in container.env:
        source = variable.value_from
        if source is not None and source.secret_key_ref is not None:
            yield SECRETS, source.secret_key_ref.name
        if source is not None and source.config_map_key_ref is not None:
            yield CONFIG_MAPS, source.config_map_key_ref.name
    for whole in container.env_from:
        if whole.secret_ref is not None:
            yield SECRETS, whole.secret_ref.name
        if whole.config_map_ref is not None:
            yield CONFIG_MAPS, whole.config_map_ref.name


def _of_volumes(pod: Pod) -> Iterator[Reference]:
    for volume in pod.spec.volumes:
        if volume.config_map is not None:
            yield CONFIG_MAPS, volume.config_map.name
        if volume.secret is not None:
            yield SECRETS, volume.secret.secret_name
        if volume.persistent_volume_claim is not None:
            yield CLAIMS, volume.persistent_volume_claim.claim_name
        if volume.ephemeral is not None:
            yield CLAIMS, ephemeral_name(pod, volume.name)
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.config_map is not None:
                yield CONFIG_MAPS, source.config_map.name
            if source.secret is not None:
                yield SECRETS, source.secret.name
