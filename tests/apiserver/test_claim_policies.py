"""What new claims and volumes get."""

from typing import Any

from tests.apiserver.serving import Running
from weft.apiserver.claim_policies import default_class

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


async def put_claim(live: Running, name: str, **spec: str) -> tuple[str | None, list[str]]:
    body = {"metadata": {"name": name}, "spec": SPEC | spec}
    status, made = await live.json("POST", CLAIMS, json=body)
    assert status == 201
    return made["spec"].get("storageClassName"), made["metadata"]["finalizers"]


async def test_the_default_class(live: Running) -> None:
    body = {"metadata": {"name": "plain"}, "provisioner": "x.y/z"}
    assert (await live.json("POST", CLASSES, json=body))[0] == 201
    found, finalizers = await put_claim(live, "a")
    assert found == "local"
    assert finalizers == ["kubernetes.io/pvc-protection"]
    assert (await put_claim(live, "b", storageClassName="plain"))[0] == "plain"
    assert not (await put_claim(live, "c", storageClassName=""))[0]  # a choice: none


def test_the_newest_default_counts() -> None:
    def of(name: str, made: str, marked: bool = True) -> Any:
        note = {"storageclass.kubernetes.io/is-default-class": "true"} if marked else {}
        return {"metadata": {"name": name, "creationTimestamp": made, "annotations": note}}

    assert default_class([of("a", "2026-01-01"), of("b", "2026-02-01"), of("c", "3", False)]) == "b"
    assert default_class([]) == ""
