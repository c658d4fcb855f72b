"""Bad input: refused with what, where and how to mend it; what ran before runs on."""

from pathlib import Path

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, kubectl_binary, wait_for

pytestmark = pytest.mark.e2e
SEEDS = Path(__file__).parent.parent / "seeds"


def test_unknown_field_names_file_line_path_and_nearest(isolated: Instance, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text(m.echo("web").replace("replicas: 1", "replica: 1"))
    done = isolated.run("apply", "-f", str(file))
    assert done.returncode != 0
    line = file.read_text()[: file.read_text().index("replica:")].count("\n") + 1
    assert f"web.yaml:{line}" in done.stderr
    assert "spec.replica" in done.stderr
    assert "replicas" in done.stderr
    assert isolated.items("deployments", "app=web") == []


def test_one_bad_document_keeps_all_of_the_files_out(isolated: Instance, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(m.service("good"))
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: Servise\nmetadata: {name: x}\n")
    done = isolated.run("apply", "-f", str(tmp_path))
    assert done.returncode != 0
    assert "b.yaml:2" in done.stderr
    assert "Service" in done.stderr
    assert "good" not in isolated.weft("get", "services")


def test_bad_change_leaves_what_ran_before(isolated: Instance) -> None:
    isolated.weft("apply", "-f", "-", stdin=m.echo("keep") + m.service("keep"))
    isolated.wait_ready("app=keep", 1)
    before = isolated.get("deployment", "keep-v1")["metadata"]["generation"]
    bad = m.echo("keep").replace("containerPort: 8080", "containerPort: 99999")
    done = isolated.run("apply", "-f", "-", stdin=bad)
    assert done.returncode != 0
    assert "containerPort" in done.stderr
    assert isolated.get("deployment", "keep-v1")["metadata"]["generation"] == before
    assert len(isolated.ready_pods("app=keep")) == 1


def test_unknown_image_says_what_to_type(isolated: Instance) -> None:
    text = m.echo("ghost").replace("image: echo:1", "image: ecko:1")
    isolated.weft("apply", "-f", "-", stdin=text)

    def message() -> str:
        for pod in isolated.items("pods", "app=ghost"):
            for status in pod["status"].get("containerStatuses", ()):
                waiting = status.get("state", {}).get("waiting", {})
                if "Pull" in waiting.get("reason", ""):
                    return str(waiting["message"])
        return ""

    said = wait_for(message, "the pod says its image is unknown")
    assert "weft image add ecko:1" in said
    assert "echo:1" in said
    isolated.image("ecko:1", Path(__file__).parent / "apps/echo", "python3", "app.py")
    isolated.image(
        "ecko:1", Path(__file__).parent / "apps/echo", __import__("sys").executable, "app.py"
    )
    isolated.wait_ready("app=ghost", 1)
    isolated.weft("delete", "deployment", "ghost-v1")


@pytest.mark.skipif(kubectl_binary() is None, reason="kubectl is not installed")
def test_kubectl_gets_strict_errors(isolated: Instance) -> None:
    said = isolated.kubectl(
        "apply", "-f", "-", stdin=m.echo("web").replace("replicas: 1", "replica: 1"), check=False
    )
    assert 'unknown field "spec.replica"' in said


def test_a_virtual_service_to_nowhere_is_reported_and_answers_503(isolated: Instance) -> None:
    done = isolated.run("apply", "-f", "-", stdin=m.routes("lost", m.to("nowhere"), "lost"))
    assert done.returncode == 0
    assert "nowhere" in done.stdout + done.stderr
    isolated.weft("delete", "virtualservice", "lost")
