"""An operator as people write them with kopf: it keeps a ConfigMap for every CronTab."""

import kopf

from tests.apiserver.crds import GROUP


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.posting.enabled = True
    settings.persistence.finalizer = f"{GROUP}/operator"


@kopf.on.create(GROUP, "v1", "crontabs")
def create(spec: kopf.Spec, name: str, namespace: str, patch: kopf.Patch, **_: object) -> dict:
    import kubernetes

    body = {"metadata": {"name": f"{name}-child"}, "data": {"image": spec["image"]}}
    kopf.adopt(body)
    with kubernetes.client.ApiClient() as api:
        kubernetes.client.CoreV1Api(api).create_namespaced_config_map(namespace, body)
    patch.status["conditions"] = [{"type": "Ready", "status": "True"}]
    return {"child": f"{name}-child"}


@kopf.on.update(GROUP, "v1", "crontabs", field="spec.replicas")
def scaled(new: int, patch: kopf.Patch, **_: object) -> None:
    patch.status["replicas"] = new


@kopf.on.delete(GROUP, "v1", "crontabs")
def delete(name: str, namespace: str, **_: object) -> None:
    import kubernetes

    with kubernetes.client.ApiClient() as api:
        kubernetes.client.CoreV1Api(api).create_namespaced_config_map(
            namespace, {"metadata": {"name": f"{name}-was-deleted"}}
        )


@kopf.timer(GROUP, "v1", "crontabs", interval=0.5)
def tick(patch: kopf.Patch, **_: object) -> None:
    patch.metadata.annotations["ticked"] = "yes"
