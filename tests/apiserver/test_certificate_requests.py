"""CertificateSigningRequests as clients meet them; the signer is the daemon's own."""

import asyncio
import base64
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from tests.apiserver.serving import GUEST_TOKEN, Running, running
from tests.apiserver.test_app_kubectl import LATEST
from tests.pki.test_signing_requests import BOTH, CLIENT, NODE, pem, uri
from weft.daemon.certificate_signer import CertificateSigner, WorkloadAuthority
from weft.lib.aio import Tasks, now
from weft.pki import signing_requests as csr
from weft.pki.ca import Authority
from weft.runtime.informer import Informers

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
GUEST = {"Authorization": f"Bearer {GUEST_TOKEN}"}
CA = Authority.create("td", now())


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        client = found.server.local_client()
        informers = Informers(client)
        workloads = WorkloadAuthority(lambda: CA.intermediate("mesh", now()), 3600.0, lambda: "td")
        signer = CertificateSigner(
            client, informers, found.server.authorizer, lambda: CA, workloads
        )
        tasks = Tasks()
        informers.start()
        tasks.spawn(signer.run(), "signer")
        yield found
        await tasks.close()
        await informers.close()


def body(signer: str, text: str, usages: tuple[str, ...], **more: Any) -> dict[str, Any]:
    spec = {"request": text, "signerName": signer, "usages": list(usages), **more}
    return {"metadata": {"name": "r"}, "spec": spec}


async def settled(live: Running, wanted: str) -> dict[str, Any]:
    """The request, once it has a certificate (`Issued`) or a condition."""
    for _ in range(200):
        _, found = await live.json("GET", f"{PATH}/r")
        status: dict[str, Any] = found.get("status") or {}
        if wanted == "Issued" and "certificate" in status:
            return dict(found)
        if any(c["type"] == wanted for c in status.get("conditions") or ()):
            return dict(found)
        await asyncio.sleep(0.02)
    raise AssertionError(f"not {wanted}: {found}")


def certificate(found: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificates(base64.b64decode(found["status"]["certificate"]))[0]


async def approve(live: Running, kind: str = "Approved", **headers: str) -> tuple[int, Any]:
    _, found = await live.json("GET", f"{PATH}/r")
    condition = {"type": kind, "status": "True", "reason": "test"}
    found["status"] = {"conditions": [condition], "certificate": "bm9uZQ=="}
    return await live.json("PUT", f"{PATH}/r/approval", json=found, headers=headers)


async def test_a_person_approves_and_the_certificate_is_issued(live: Running) -> None:
    asked = body(csr.API_CLIENT, pem("ann", ("team",)), CLIENT, expirationSeconds=600)
    asked["spec"] |= {"username": "system:admin", "groups": ["system:masters"]}
    status, made = await live.json("POST", PATH, json=asked)
    assert status == 201, made
    assert made["spec"]["username"] != "system:admin"  # the server says who asks
    await asyncio.sleep(0.1)
    _, found = await live.json("GET", f"{PATH}/r")
    assert not (found.get("status") or {}).get("conditions")
    status, approved = await approve(live)
    assert status == 200, approved
    assert "certificate" not in approved["status"]  # approval issues nothing
    found = await settled(live, "Issued")
    issued = certificate(found)
    assert issued.subject.rfc4514_string() == "CN=ann,O=team"
    assert 550 < issued.not_valid_after_utc.timestamp() - now() <= 600
    issued.verify_directly_issued_by(x509.load_pem_x509_certificate(CA.roots.encode()))
    found["spec"]["signerName"] = "example.com/other"
    _, after = await live.json("PUT", f"{PATH}/r", json=found)
    assert after["spec"]["signerName"] == csr.API_CLIENT  # the spec never changes


async def test_denied_is_final(live: Running) -> None:
    await live.json("POST", PATH, json=body(csr.API_CLIENT, pem("ann"), CLIENT))
    assert (await approve(live, "Denied"))[0] == 200
    status, answer = await approve(live, "Approved")
    assert status == 422
    assert "mutually exclusive" in answer["message"]


async def test_what_the_signer_cannot_sign_fails(live: Running) -> None:
    await live.json("POST", PATH, json=body(csr.KUBELET_CLIENT, pem("ann"), CLIENT))
    await approve(live)
    found = await settled(live, "Failed")
    told = next(c for c in found["status"]["conditions"] if c["type"] == "Failed")
    assert told["reason"] == "SignerValidationFailure"
    assert "system:nodes" in told["message"]
    assert "certificate" not in found["status"]


async def test_nobody_approves_or_signs_without_the_right(live: Running) -> None:
    rules = [
        {"apiGroups": ["certificates.k8s.io"], "verbs": ["*"],
         "resources": ["certificatesigningrequests", "certificatesigningrequests/approval",
                       "certificatesigningrequests/status"]},
    ]  # fmt: skip
    group = "/apis/rbac.authorization.k8s.io/v1"
    await live.json(
        "POST", f"{group}/clusterroles", json={"metadata": {"name": "g"}, "rules": rules}
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "g"}
    subjects = [{"kind": "User", "name": "guest"}]
    bound = {"metadata": {"name": "g"}, "roleRef": reference, "subjects": subjects}
    await live.json("POST", f"{group}/clusterrolebindings", json=bound)
    await asyncio.sleep(0.1)
    asked = body(csr.API_CLIENT, pem("ann"), CLIENT)
    assert (await live.json("POST", PATH, json=asked, headers=GUEST))[0] == 201
    status, answer = await approve(live, **GUEST)
    assert status == 403
    assert "not permitted to approve" in answer["message"]
    _, found = await live.json("GET", f"{PATH}/r")
    found["status"] = {"certificate": base64.b64encode(CA.roots.encode()).decode()}
    status, answer = await live.json("PUT", f"{PATH}/r/status", json=found, headers=GUEST)
    assert status == 403
    assert "not permitted to sign" in answer["message"]


async def test_administrators_are_not_made_by_certificates(live: Running) -> None:
    asked = body(csr.API_CLIENT, pem("root", ("system:masters",)), CLIENT)
    status, answer = await live.json("POST", PATH, json=asked)
    assert status == 403
    assert "system:masters" in answer["message"]


@pytest.mark.parametrize(
    ("signer", "text", "usages", "more", "why"),
    [
        ("kube", pem("a"), CLIENT, {}, "spec.signerName"),
        (csr.API_CLIENT, "bm90aGluZw==", CLIENT, {}, "spec.request"),
        (csr.API_CLIENT, pem("a"), ("flying",), {}, "spec.usages"),
        (csr.API_CLIENT, pem("a"), CLIENT, {"expirationSeconds": 5}, "spec.expirationSeconds"),
    ],
)
async def test_invalid(
    live: Running, signer: str, text: str, usages: tuple[str, ...], more: dict[str, Any], why: str
) -> None:
    status, answer = await live.json("POST", PATH, json=body(signer, text, usages, **more))
    assert status == 422
    assert why in answer["message"]


async def test_joining_nodes_get_theirs_without_a_person(live: Running) -> None:
    act = {"Impersonate-User": "system:bootstrap:abc", "Impersonate-Group": "system:bootstrappers"}
    asked = body(csr.KUBELET_CLIENT, pem(NODE, ("system:nodes",)), CLIENT)
    status, answer = await live.json("POST", PATH, json=asked, headers=act)
    assert status == 201, answer
    found = await settled(live, "Issued")
    assert certificate(found).subject.rfc4514_string() == f"CN={NODE},O=system:nodes"


async def test_a_node_renews_its_own_and_no_other(live: Running) -> None:
    act = {"Impersonate-User": "system:node:b", "Impersonate-Group": "system:nodes"}
    asked = body(csr.KUBELET_CLIENT, pem(NODE, ("system:nodes",)), CLIENT)
    assert (await live.json("POST", PATH, json=asked, headers=act))[0] == 201
    await asyncio.sleep(0.2)
    _, found = await live.json("GET", f"{PATH}/r")
    assert not (found.get("status") or {}).get("conditions")
    await live.json("DELETE", f"{PATH}/r")
    act["Impersonate-User"] = NODE
    assert (await live.json("POST", PATH, json=asked, headers=act))[0] == 201
    await settled(live, "Issued")


async def test_a_service_account_gets_its_own_identity(live: Running) -> None:
    act = {
        "Impersonate-User": "system:serviceaccount:default:cart",
        "Impersonate-Group": "system:masters",
    }
    text = pem("", (), uri("spiffe://td/ns/default/sa/cart"))
    await live.json("POST", PATH, json=body(csr.WORKLOAD, text, BOTH), headers=act)
    found = await settled(live, "Issued")
    pems = base64.b64decode(found["status"]["certificate"])
    leaf, intermediate = x509.load_pem_x509_certificates(pems)
    leaf.verify_directly_issued_by(intermediate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found_names = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert found_names == ["spiffe://td/ns/default/sa/cart"]


@pytest.mark.skipif(not LATEST, reason="kubectl is not installed")
@pytest.mark.slow
async def test_kubectl_certificate(live: Running) -> None:
    await live.json("POST", PATH, json=body(csr.API_CLIENT, pem("ann"), CLIENT))

    def kubectl(*args: str) -> str:
        command = [LATEST[0], "--kubeconfig", str(live.kubeconfig), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = await asyncio.to_thread(kubectl, "get", "csr")
    assert "Pending" in shown
    assert csr.API_CLIENT in shown
    assert "approved" in await asyncio.to_thread(kubectl, "certificate", "approve", "r")
    await settled(live, "Issued")
    assert "Approved,Issued" in await asyncio.to_thread(kubectl, "get", "csr")
    await live.json("DELETE", f"{PATH}/r")
    await live.json("POST", PATH, json=body(csr.API_CLIENT, pem("ann"), CLIENT))
    assert "denied" in await asyncio.to_thread(kubectl, "certificate", "deny", "r")
    assert "Denied" in await asyncio.to_thread(kubectl, "get", "csr")
