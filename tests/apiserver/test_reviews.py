"""RBAC as clients meet it: refusals in Kubernetes' words, questions, impersonation, escalation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.apiserver.serving import GUEST_TOKEN, TOKEN, Running, running
from tests.apiserver.test_app_kubectl import LATEST

RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHZ = "/apis/authorization.k8s.io/v1"
FOLLOWED_SECONDS = 0.1
"""More than enough for a change to be in force: it takes a few turns of the event loop."""
GUEST = {"Authorization": f"Bearer {GUEST_TOKEN}"}


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        yield found


async def guest(live: Running, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return await live.json(method, path, json=body, headers={**GUEST, **headers})


async def make(live: Running, path: str, body: Any) -> None:
    status, answer = await live.json("POST", path, json=body)
    assert status == 201, answer


async def grant(live: Running, *rules: dict[str, Any], who: str = "guest") -> None:
    """Give the guest a cluster role of these rules."""
    await make(live, f"{RBAC}/clusterroles", {"metadata": {"name": "given"}, "rules": list(rules)})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "given"}
    subject = {"kind": "User", "name": who}
    body = {"metadata": {"name": "given"}, "roleRef": reference, "subjects": [subject]}
    await make(live, f"{RBAC}/clusterrolebindings", body)
    await asyncio.sleep(FOLLOWED_SECONDS)


READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


async def test_refusals_in_kubernetes_words(live: Running) -> None:
    status, answer = await guest(live, "GET", "/api/v1/namespaces/default/pods")
    assert status == 403
    assert answer["message"] == (
        'pods is forbidden: User "guest" cannot list resource "pods" in API group "" '
        'in the namespace "default"'
    )
    assert answer["details"] == {"kind": "pods"}
    _, answer = await guest(live, "DELETE", "/apis/apps/v1/namespaces/default/deployments/web")
    assert answer["message"] == (
        'deployments.apps "web" is forbidden: User "guest" cannot delete resource "deployments" '
        'in API group "apps" in the namespace "default"'
    )
    _, answer = await guest(live, "GET", "/api/v1/nodes")
    assert answer["message"].endswith('in API group "" at the cluster scope')
    status, answer = await guest(live, "GET", "/metrics")
    assert (status, answer["message"]) == (
        403,
        'forbidden: User "guest" cannot get path "/metrics"',
    )
    assert (await guest(live, "GET", "/apis"))[0] == 200


async def test_a_grant_is_in_force_as_long_as_it_is_there(live: Running) -> None:
    path = "/api/v1/namespaces/default/pods"
    await grant(live, READ_PODS)
    assert (await guest(live, "GET", path))[0] == 200
    assert (await guest(live, "POST", path, {"metadata": {"name": "p"}}))[0] == 403
    await live.json("DELETE", f"{RBAC}/clusterrolebindings/given")
    await asyncio.sleep(FOLLOWED_SECONDS)
    assert (await guest(live, "GET", path))[0] == 403


async def test_one_object_by_its_name(live: Running) -> None:
    await grant(live, {**READ_PODS, "verbs": ["get", "list", "watch"], "resourceNames": ["mine"]})
    path = "/api/v1/namespaces/default/pods"
    assert (await guest(live, "GET", f"{path}/mine"))[0] == 404
    assert (await guest(live, "GET", f"{path}/other"))[0] == 403
    assert (await guest(live, "GET", f"{path}?fieldSelector=metadata.name%3Dmine"))[0] == 200
    assert (await guest(live, "GET", path))[0] == 403


async def test_nobody_gives_away_what_they_lack(live: Running) -> None:
    roles = {"apiGroups": ["rbac.authorization.k8s.io"], "verbs": ["create", "update", "get"],
             "resources": ["roles", "rolebindings", "clusterroles"]}  # fmt: skip
    await grant(live, READ_PODS, roles)
    path = f"{RBAC}/namespaces/default/roles"
    status, answer = await guest(
        live, "POST", path, {"metadata": {"name": "r"}, "rules": [READ_PODS]}
    )
    assert status == 201, answer
    more = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}
    status, answer = await guest(live, "POST", path, {"metadata": {"name": "s"}, "rules": [more]})
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == (
        'roles.rbac.authorization.k8s.io "s" is forbidden: user "guest" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get", "list"]}'
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    body = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": []}
    bindings = f"{RBAC}/namespaces/default/rolebindings"
    assert (await guest(live, "POST", bindings, body))[0] == 403
    bind = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            "resourceNames": ["admin"], "verbs": ["bind"]}  # fmt: skip
    patch = {"rules": [READ_PODS, roles, bind]}
    merge = {"Content-Type": "application/merge-patch+json"}
    done, answer = await live.json("PATCH", f"{RBAC}/clusterroles/given", json=patch, headers=merge)
    assert done == 200, answer
    await asyncio.sleep(FOLLOWED_SECONDS)
    assert (await guest(live, "POST", bindings, body))[0] == 201
    aggregating = {"metadata": {"name": "a"}, "aggregationRule": {"clusterRoleSelectors": []}}
    _, answer = await guest(live, "POST", f"{RBAC}/clusterroles", aggregating)
    assert "must have cluster-admin privileges to use an aggregationRule" in answer["message"]


async def test_a_role_reference_cannot_change(live: Running) -> None:
    await grant(live, READ_PODS)
    path = f"{RBAC}/clusterrolebindings/given"
    _, found = await live.json("GET", path)
    found["roleRef"]["name"] = "view"
    status, answer = await live.json("PUT", path, json=found)
    assert status == 422
    assert "cannot change roleRef" in answer["message"]


async def ask(live: Running, kind: str, spec: Any, namespace: str = "") -> Any:
    where = f"/namespaces/{namespace}" if namespace else ""
    path = f"{AUTHZ}{where}/{kind.lower()}s"
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    return await live.json("POST", path, json=body)


async def test_questions_about_others(live: Running) -> None:
    await grant(live, READ_PODS, who="bob")
    attributes = {"verb": "list", "resource": "pods", "namespace": "default"}
    spec = {"user": "bob", "resourceAttributes": attributes}
    status, answer = await ask(live, "SubjectAccessReview", spec)
    assert (status, answer["status"]["allowed"]) == (201, True)
    assert 'ClusterRoleBinding "given"' in answer["status"]["reason"]
    _, answer = await ask(live, "SubjectAccessReview", {**spec, "user": "eve"})
    assert answer["status"] == {"allowed": False}
    _, answer = await ask(live, "LocalSubjectAccessReview", spec, "default")
    assert answer["status"]["allowed"]
    status, answer = await ask(live, "LocalSubjectAccessReview", spec, "kube-system")
    assert status == 422
    status, answer = await ask(live, "SubjectAccessReview", {"user": "bob"})
    assert "exactly one of nonResourceAttributes or resourceAttributes" in answer["message"]
    status, _ = await guest(
        live, "POST", f"{AUTHZ}/subjectaccessreviews",
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
    )  # fmt: skip
    assert status == 403
    assert (await live.json("GET", f"{AUTHZ}/subjectaccessreviews"))[0] == 405


async def test_acting_as_somebody_else(live: Running) -> None:
    await grant(live, READ_PODS, who="bob")
    path = "/api/v1/namespaces/default/pods"
    as_bob = {"Impersonate-User": "bob"}
    status, _ = await live.json("GET", path, headers=as_bob)
    assert status == 200
    status, answer = await live.json("GET", "/api/v1/nodes", headers=as_bob)
    assert 'User "bob" cannot list' in answer["message"]
    status, answer = await guest(live, "GET", path, **as_bob)
    assert (status, answer["message"]) == (
        403,
        'users "bob" is forbidden: User "guest" cannot impersonate resource "users" '
        'in API group "" at the cluster scope',
    )
    whoami = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    headers = {
        "Impersonate-User": "system:serviceaccount:shop:robot",
        "Impersonate-Uid": "7",
        "Impersonate-Extra-team%2fname": "red",
    }
    _, answer = await live.json(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", json=whoami, headers=headers
    )
    assert answer["status"]["userInfo"] == {
        "username": "system:serviceaccount:shop:robot",
        "uid": "7",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
        "extra": {"team/name": ["red"]},
    }
    status, _ = await live.json("GET", path, headers={"Impersonate-Group": "admins"})
    assert status == 500


async def test_the_default_roles_are_there_and_are_mended(live: Running) -> None:
    _, found = await live.json("GET", f"{RBAC}/clusterroles")
    names = {item["metadata"]["name"] for item in found["items"]}
    assert {"cluster-admin", "admin", "edit", "view", "system:discovery"} <= names


async def test_a_token_is_reviewed(live: Running) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    _, answer = await live.json("POST", path, json={**body, "spec": {"token": GUEST_TOKEN}})
    assert answer["status"]["authenticated"] is True
    assert answer["status"]["user"]["username"] == "guest"
    _, answer = await live.json("POST", path, json={**body, "spec": {"token": "no"}})
    assert answer["status"] == {"user": {}, "error": "invalid bearer token"}


# ------------------------------------------------------------------ kubectl


async def kubectl(live: Running, *args: str, token: str = TOKEN) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        LATEST[0], "--kubeconfig", str(live.kubeconfig), "--token", token, *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


@pytest.mark.slow
@pytest.mark.skipif(not LATEST, reason="kubectl is not installed")
async def test_kubectl_auth(live: Running, tmp_path: Path) -> None:
    assert await kubectl(live, "auth", "can-i", "get", "pods") == (0, "yes\n")
    assert await kubectl(live, "auth", "can-i", "get", "pods", token=GUEST_TOKEN) == (1, "no\n")
    code, out = await kubectl(live, "auth", "whoami", token=GUEST_TOKEN)
    assert code == 0
    assert "guest" in out
    code, out = await kubectl(live, "create", "role", "reader", "--verb=get,list",
                              "--resource=pods,deployments.apps/scale")  # fmt: skip
    assert code == 0, out
    code, out = await kubectl(
        live, "create", "rolebinding", "guests", "--role=reader", "--user=guest"
    )
    assert code == 0, out
    code, out = await kubectl(live, "auth", "can-i", "--list", token=GUEST_TOKEN)
    assert code == 0, out
    assert "pods" in out
    assert "selfsubjectaccessreviews" in out
    code, out = await kubectl(live, "get", "pods", token=GUEST_TOKEN)
    assert code == 0, out
    code, out = await kubectl(live, "get", "pods", "--as=bob", token=GUEST_TOKEN)
    assert 'cannot impersonate resource "users"' in out
    code, out = await kubectl(live, "get", "rolebindings", "-o", "wide")
    assert "Role/reader" in out
    assert "guest" in out
    code, out = await kubectl(live, "describe", "clusterrole", "view")
    assert "pods/log" in out
    code, out = await kubectl(live, "create", "token", "default", "--duration=20m")
    assert code == 0, out
    code, out = await kubectl(live, "auth", "whoami", token=out.strip())
    assert "system:serviceaccount:default:default" in out
    manifest = tmp_path / "rbac.yaml"
    manifest.write_text(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
        "metadata: {name: reader, namespace: default}\n"
        "rules: [{apiGroups: [''], resources: [secrets], verbs: [get]}]\n"
    )
    code, out = await kubectl(live, "auth", "reconcile", "-f", str(manifest))
    assert code == 0, out
    assert await kubectl(live, "auth", "can-i", "get", "secrets", token=GUEST_TOKEN) == (0, "yes\n")
