"""`weft translate`: files in, Envoy's configuration out, what is wrong on standard error."""

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from tests.xds.certificates import make_certificate
from weft.cli.main import main
from weft.cli.translate import TYPES

WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, labels: {app: web}}
spec: {containers: [{name: a, image: x}]}
"""


def translate(tmp_path: Path, text: str, *words: str) -> Result:
    path = tmp_path / "web.yaml"
    path.write_text(text)
    return CliRunner().invoke(main, ["translate", "-f", str(path), *words])


def test_services_have_clusters_endpoints_and_routes(tmp_path: Path) -> None:
    result = translate(tmp_path, WEB)
    assert result.exit_code == 0, result.stderr
    found = yaml.safe_load(result.stdout)
    assert list(found) == list(TYPES)
    assert "outbound|80||web.default.svc.cluster.local" in [c["name"] for c in found["clusters"]]
    (endpoint,) = found["endpoints"][0]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"]["port_value"] == 8080
    assert {"outbound|default.web-0", "inbound|default.web-0"} == {
        listener["name"] for listener in found["listeners"]
    }


def test_names_alone_as_a_table(tmp_path: Path) -> None:
    lines = translate(tmp_path, WEB, "-o", "table", "--type", "listeners").stdout.splitlines()
    assert lines[0].split() == ["TYPE", "NAME", "BYTES"]
    found = [tuple(line.split()[:2]) for line in lines[1:]]
    wanted = ["inbound|default.web-0", "outbound|default.web-0"]
    assert found == [("listeners", name) for name in wanted]


def test_what_checks_tokens_is_an_extension(tmp_path: Path) -> None:
    tokens = """
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec: {jwtRules: [{issuer: https://id.example.com}]}
"""
    found = yaml.safe_load(translate(tmp_path, WEB + tokens).stdout)
    assert [each["name"] for each in found["extensions"]]


def test_one_type_as_json(tmp_path: Path) -> None:
    result = translate(tmp_path, WEB, "--type", "routes", "-o", "json")
    assert [r["name"] for r in json.loads(result.stdout)["routes"]] == ["80"]


def test_what_is_wrong_is_said_with_its_line_and_the_rest_is_translated(tmp_path: Path) -> None:
    text = WEB + (
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\n"
        "spec:\n  hosts: [web]\n  http:\n    - route: [{destination: {host: wep}}]\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {prots: []}\n"
    )
    result = translate(tmp_path, text)
    assert result.exit_code == 1
    assert "WEFT2101" in result.stderr
    assert f"{tmp_path}/web.yaml:18" in result.stderr
    assert "did you mean `web`?" in result.stderr
    assert "WEFT0105" in result.stderr
    assert yaml.safe_load(result.stdout)["routes"]


def test_nodes_are_named(tmp_path: Path) -> None:
    nodes = "".join(f"---\napiVersion: v1\nkind: Node\nmetadata: {{name: {n}}}\n" for n in "ab")
    result = translate(tmp_path, WEB + nodes, "--node", "b", "--type", "listeners")
    assert yaml.safe_load(result.stdout) == {"listeners": []}, "the pod is on the first node"
    result = translate(tmp_path, WEB + nodes, "--node", "c")
    assert result.exit_code == 2
    assert "nodes: a, b" in result.stderr


def test_private_keys_are_not_shown(tmp_path: Path) -> None:
    certificate, key = make_certificate("a.example")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cert", "namespace": "istio-system"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key},
    }
    gateway = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 443, name: https, protocol: HTTPS}
      tls: {mode: SIMPLE, credentialName: cert}
      hosts: [a.example]
"""
    result = translate(tmp_path, f"{WEB}---\n{json.dumps(secret)}\n{gateway}", "--type", "secrets")
    assert result.exit_code == 0, result.stderr
    (found,) = yaml.safe_load(result.stdout)["secrets"]
    shown = found["tls_certificate"]["private_key"]
    assert shown.startswith("(not shown, sha256 ")
    assert "PRIVATE" not in result.stdout


@pytest.mark.parametrize("words", [["translate"], ["diff"]])
def test_files_must_be_named(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "-f DIR_OR_FILE" in result.stderr
