"""Server-side apply with real kubectl, each version that is installed."""

import json
from pathlib import Path

import pytest

from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import MANIFEST, Kubectl, binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]


@pytest.fixture(params=binaries(), ids=lambda p: Path(p).name)
def kubectl(request: pytest.FixtureRequest, live: Running) -> Kubectl:
    return Kubectl(request.param, live)


async def managers(kubectl: Kubectl) -> list[tuple[str, str]]:
    shown = await kubectl("get", "deploy", "web", "-o", "json", "--show-managed-fields")
    return [(e["manager"], e["operation"]) for e in json.loads(shown)["metadata"]["managedFields"]]


async def test_apply_conflict_force_diff_and_removal(kubectl: Kubectl) -> None:
    async def apply(manifest: str, *more: str) -> list[str]:
        return (await kubectl("apply", "--server-side", *more, "-f", "-", stdin=manifest)).split(
            "\n"
        )

    assert all(" serverside-applied" in line for line in await apply(MANIFEST) if line)
    assert await managers(kubectl) == [("kubectl", "Apply")]
    other = MANIFEST.replace("app:1", "app:2")
    code, out, err = await kubectl.run(
        "apply", "--server-side", "--field-manager=bob", "-f", "-", stdin=other
    )
    assert code == 1
    assert 'conflict with "kubectl": .spec.template.spec.containers[name="c"].image' in err
    assert "--force-conflicts" in err
    assert "service/web serverside-applied" in out
    code, shown, _ = await kubectl.run(
        "diff", "--server-side", "--force-conflicts", "-f", "-", stdin=other
    )
    assert code == 1
    assert "image: app:2" in shown
    await apply(other, "--field-manager=bob", "--force-conflicts")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deploy", "web", "-o", image) == "app:2"
    err = await kubectl.fails("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert 'conflict with "bob"' in err
    fewer = other.replace(', env: [{name: A, value: "1"}]', "")
    await apply(fewer, "--field-manager=bob")
    env = "jsonpath={.spec.template.spec.containers[0].env}"
    assert '"name":"A"' in await kubectl("get", "deploy", "web", "-o", env)
    await apply(fewer, "--force-conflicts")
    assert await kubectl("get", "deploy", "web", "-o", env) == ""


async def test_from_client_side_apply_to_server_side_and_back(kubectl: Kubectl) -> None:
    await kubectl.apply()
    assert ("kubectl-client-side-apply", "Update") in await managers(kubectl)
    await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    left = [("kubectl", "Apply"), ("kubectl-last-applied", "Apply")]
    assert sorted(await managers(kubectl)) == left  # the newer first when a second lies between
    fewer = MANIFEST.replace(', env: [{name: A, value: "1"}]', "")
    await kubectl("apply", "--server-side", "-f", "-", stdin=fewer)
    env = "jsonpath={.spec.template.spec.containers[0].env}"
    assert await kubectl("get", "deploy", "web", "-o", env) == ""
    changed = MANIFEST.replace("app:1", "app:3")
    assert (await kubectl.apply(changed))[0] == "deployment.apps/web configured"
    await kubectl("scale", "deploy/web", "--replicas=5")
    err = await kubectl.fails("apply", "--server-side", "--field-manager=x", "-f", "-",
                              stdin=changed)  # fmt: skip
    assert 'with subresource "scale" using apps/v1: .spec.replicas' in err


async def test_mistakes_in_a_configuration(kubectl: Kubectl) -> None:
    wrong = MANIFEST.replace("replicas: 2", "replica: 2")
    err = await kubectl.fails("apply", "--server-side", "-f", "-", stdin=wrong)
    assert "replica" in err
    err = await kubectl.fails("apply", "--server-side", "--validate=false", "-f", "-", stdin=wrong)
    assert 'unknown field "spec.replica"' in err
    assert "did you mean `replicas`?" in err
