"""`weft why` says where requests of a running mesh go, and they go there; `weft diff` says what an
apply would change, and it changes that."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

HOST = "api.example"
RULES = """
- name: jason
  match: [{headers: {end-user: {exact: jason}}}]
  rewrite: {uri: /rewritten/}
  route: [{destination: {host: api, subset: v2}}]
- match: [{uri: {prefix: /closed}}]
  directResponse: {status: 403}
- route: [{destination: {host: api, subset: v1}}]
"""
EXPOSED = """
---
apiVersion: v1
kind: Service
metadata: {name: outer}
spec: {type: NodePort, selector: {app: api}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: known}
spec:
  action: DENY
  selector: {matchLabels: {app: api}}
  rules:
    - to: [{operation: {paths: [/never]}}]
    - {from: [{source: {notPrincipals: ["*"]}}], to: [{operation: {paths: [/secret]}}]}
"""
MANIFESTS = (
    m.echo("api")
    + "---"
    + m.echo("api", "v2")
    + m.service("api")
    + EXPOSED
    + m.subsets("api")
    + m.gateway("edge", HOST)
    + m.routes("outside", RULES, HOST, "edge")
    + m.routes("inside", RULES, "api")
)


@pytest.fixture(scope="module")
def mesh(isolated: Instance, tmp_path_factory: pytest.TempPathFactory) -> Instance:
    path = tmp_path_factory.mktemp("why") / "mesh.yaml"
    path.write_text(MANIFESTS)
    isolated.weft("apply", "-f", str(path))
    isolated.wait_ready("app=api", 2)
    wait_for(lambda: ask(isolated, "/who", HOST)[0] == 200, "routed")
    return isolated


def why(mesh: Instance, *words: str) -> Any:
    return json.loads(mesh.weft("why", *words, "-o", "json"))


@pytest.mark.parametrize(("user", "version"), [("jason", "v2"), ("ann", "v1")])
def test_requests_from_outside_go_where_it_is_said(mesh: Instance, user: str, version: str) -> None:
    said = why(mesh, "--gateway", "80", f"http://{HOST}/any", "-H", f"end-user: {user}")
    (share,) = said["shares"]
    assert share["subset"] == version
    assert [(e["health"], e["envoy"]) for e in share["endpoints"]] == [("healthy", "healthy")]
    assert share["endpoints"][0]["pod"].startswith(f"api-{version}-")
    assert [n["state"] for n in said["nodes"]] == ["acknowledged"]
    status, text = ask(mesh, "/any", HOST, **{"end-user": user})
    assert (status, json.loads(text)["version"]) == (200, version)


def test_a_call_of_a_pod_goes_where_it_is_said(mesh: Instance) -> None:
    said = why(mesh, "--from", "deploy/api-v1", "http://api/else", "-H", "end-user: jason")
    (share,) = said["shares"]
    assert (share["subset"], share["arrivesAs"]) == ("v2", "GET /rewritten/else, Host api")
    (route,) = said["considered"]
    assert (route["place"]["name"], route["place"]["path"]) == ("inside", "spec.http[0]")
    program = """
        import json, os, urllib.request
        async def main():
            request = urllib.request.Request("http://api/else", headers={"end-user": "jason"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
    """
    assert run_inside(mesh, HOST, program)["version"] == "v2"


def test_a_caller_at_a_node_port_is_told_which_rule_refuses(mesh: Instance) -> None:
    service = mesh.read("/api/v1/namespaces/default/services/outer")
    port = service["spec"]["ports"][0]["nodePort"]
    place = f"{mesh.running.gateway_address}:{port}"

    def get(path: str) -> int:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{place}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    for path, outcome, status in (("/any", "routed", 200), ("/secret", "denied", 403)):
        said = why(mesh, "--from", "external", f"http://{place}{path}")
        assert said["outcome"] == outcome
        assert said["steps"][0]["text"].endswith("NodePort of Service default/outer")
        assert [n["state"] for n in said["nodes"]] == ["acknowledged"]
        assert get(path) == status
    assert "AuthorizationPolicy default/known (spec.rules[1]) denies it" in said["summary"]


def test_status_says_where_the_mesh_is_reached_and_what_is_acknowledged(
    mesh: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = json.loads(mesh.weft("status", "-o", "json"))
    (node,) = (n["name"] for n in said["nodes"])
    (edge,) = (r for r in said["addresses"] if r["owner"] == "Gateway default/edge")
    (port,) = edge["ports"]
    assert port.get("of", port["port"]) == 80, "a port that is taken moves up"
    kinds = {r["kind"] for r in said["addresses"] if r["owner"] == "Service default/outer"}
    assert kinds == {"NodePort"}
    rows = {(r["kind"], r["name"]): r for r in said["objects"]}
    for key in (("VirtualService", "outside"), ("AuthorizationPolicy", "known")):
        assert rows[key]["acknowledged"] == [node], key
        assert (rows[key]["accepted"], rows[key]["programmed"]) == (True, True), key
    assert {p["mtls"] for p in said["pods"] if p["name"].startswith("api-")} == {"PERMISSIVE"}
    shown = mesh.kubectl("get", "virtualservice", "outside", "-o", "wide").split()
    assert shown.count("True") == 2
    assert node in mesh.kubectl("describe", "virtualservice", "outside")
    monkeypatch.setenv("COLUMNS", "80")
    text = mesh.weft("status").splitlines()
    assert max(map(len, text)) <= 80
    assert "Addresses for callers from outside" in text


def test_people_read_the_verdict_and_every_route_that_was_looked_at(mesh: Instance) -> None:
    text = mesh.weft("why", "--from", "gateway/edge", f"http://{HOST}/closed/x")
    lines = text.splitlines()
    assert lines[1].startswith("→ is answered 403 by the proxy")
    assert any("header `end-user` is absent" in line for line in lines)
    assert any("✓ default/outside/http[1]  VirtualService default/outside  spec.http[1]" in line
               for line in lines)  # fmt: skip
    assert lines[-1].startswith("in force")
    assert lines[-1].endswith("acknowledged")


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["--from", "deploy/apj-v1", "http://api/"], "Deployment `apj-v1`", "`deploy/api-v1`"),
        (["--from", "deploy/api-v1", "ftp://api/"], "`ftp` is none of", ""),
        (["http://api/"], "say who calls", "--from deploy/NAME"),
        (["--gateway", "81", "http://api/"], "no Gateway in force has port 81", "80"),
    ],
)  # fmt: skip
def test_mistakes_are_answered_with_what_to_type(
    mesh: Instance, words: list[str], error: str, hint: str
) -> None:
    done = mesh.run("why", *words)
    assert done.returncode == 1
    assert error in done.stderr
    assert hint in done.stderr


def test_the_page_is_for_those_who_may(mesh: Instance) -> None:
    assert mesh.api("/weft/v1/why?question=%7B%7D")[0] == 400
    assert mesh.api("/weft/v1/why")[0] == 400


def test_diff_says_what_an_apply_then_changes(mesh: Instance, tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(MANIFESTS)
    same = mesh.run("diff", "-f", str(path))
    assert (same.returncode, same.stdout) == (0, ""), same.stderr

    path.write_text(
        MANIFESTS.replace("status: 403", "status: 410")
        + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: hunter2}\n"
    )
    changed = mesh.run("diff", "-f", str(path))
    assert changed.returncode == 1
    assert "~ VirtualService default/outside" in changed.stdout
    assert "+ Secret default/s" in changed.stdout
    assert "hunter2" not in changed.stdout
    resources = [line.split(" ", 1)[1] for line in changed.stdout.splitlines()
                 if line.startswith("~ routes")]  # fmt: skip
    assert "routes http.80" in resources
    assert "-      status: 403" in changed.stdout
    assert ask(mesh, "/closed", HOST)[0] == 403, "nothing was written"

    mesh.weft("apply", "-f", str(path))
    wait_for(lambda: ask(mesh, "/closed", HOST)[0] == 410, "the new answer")
    assert mesh.run("diff", "-f", str(path)).returncode == 0


def test_diff_ends_with_2_when_there_is_an_error(mesh: Instance, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("apiVersion: v1\nkind: Servise\nmetadata: {name: a}\n")
    done = mesh.run("diff", "-f", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean `kind: Service`" in done.stderr
