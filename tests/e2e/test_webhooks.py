"""A policy program of one's own: a webhook server that weft itself runs, called as a Service."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.apiserver.serving import certificate
from tests.apiserver.webhooks import named, pem
from tests.e2e.instance import Instance, wait_for

pytestmark = pytest.mark.e2e

SERVER = """
import base64, http.server, json, os, ssl

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        answer = {"uid": request["uid"], "allowed": request["name"] != "forbidden"}
        if not answer["allowed"]:
            answer["status"] = {"message": "this name is taken by nobody", "code": 403}
        elif self.path.startswith("/label"):
            patch = [{"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}}]
            answer |= {"patchType": "JSONPatch",
                       "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"],
                           "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.ThreadingHTTPServer(("", int(os.environ.get("PORT", 8443))), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
certs = os.environ["CERTS"]
context.load_cert_chain(certs + "/tls.crt", certs + "/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
MAPS = "/api/v1/namespaces/default/configmaps"
CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"


def objects(home: Path) -> tuple[list[dict[str, Any]], str]:
    """Everything that the program needs, and the CA that its clients believe."""
    authority = certificate("policy-ca")
    pair = named("policy.default.svc", authority)
    key = pair[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )  # fmt: skip
    certs = str(home)
    container = {
        "name": "main", "image": "python:1", "args": ["-c", SERVER],
        "ports": [{"containerPort": 8443, "name": "https"}],
        "env": [{"name": "CERTS", "value": certs}],
        "volumeMounts": [{"name": "certs", "mountPath": certs}],
    }  # fmt: skip
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "policy"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": pem(pair), "tls.key": base64.b64encode(key).decode()},
    }  # fmt: skip
    labels = {"app": "policy"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "policy"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "certs", "secret": {"secretName": "policy"}}],
                },
            },
        },
    }  # fmt: skip
    ports = [{"port": 443, "targetPort": "https", "name": "https"}]
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "policy"},
        "spec": {"selector": labels, "ports": ports},
    }  # fmt: skip
    return [secret, deployment, service], pem(authority)


def configuration(phase: str, path: str, bundle: str) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
            "operations": ["CREATE"]}  # fmt: skip
    service = {"name": "policy", "namespace": "default", "path": path}
    hook = {
        "name": "policy.example.com", "rules": [rule], "sideEffects": "None",
        "clientConfig": {"service": service, "caBundle": bundle}, "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1"],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    }  # fmt: skip
    return {"metadata": {"name": "policy"}, "webhooks": [hook]}


def test_a_program_that_weft_runs_decides(weft: Instance, tmp_path: Path) -> None:
    weft.image("python:1", Path("/tmp"), sys.executable)
    certs = tmp_path / "certs"
    certs.mkdir()
    made, bundle = objects(certs)
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(json.dumps(o) for o in made))
    weft.kubectl("wait", "--for=condition=available", "deployment/policy", "--timeout=30s")
    for phase, path in (("mutating", "/label"), ("validating", "/check")):
        body = configuration(phase, path, bundle)
        status, told = weft.api(f"{CONFIGURATIONS}/{phase}webhookconfigurations", "POST", body)
        assert status == 201, told

    def create(name: str) -> tuple[int, Any]:
        status, told = weft.api(MAPS, "POST", {"metadata": {"name": name}})
        return status, json.loads(told)

    status, found = create("free")
    assert (status, found["metadata"].get("labels")) == (201, {"seen": "yes"}), found
    status, told = create("forbidden")
    assert status == 403, told
    assert told["message"] == (
        'admission webhook "policy.example.com" denied the request: this name is taken by nobody'
    )
    weft.kubectl("scale", "deployment/policy", "--replicas=0")
    weft.kubectl("wait", "pod", "--for=delete", "-l", "app=policy", "--timeout=30s")
    status, told = create("late")
    assert status == 500, told
    assert 'failed calling webhook "policy.example.com": failed to call webhook' in told["message"]
    weft.kubectl("scale", "deployment/policy", "--replicas=1")
    wait_for(lambda: create("late")[0] == 201, "the webhook answers again")
    for phase in ("mutating", "validating"):
        weft.api(f"{CONFIGURATIONS}/{phase}webhookconfigurations/policy", "DELETE")
    weft.kubectl("delete", "deployment,service,secret", "policy")
