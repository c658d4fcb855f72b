"""Custom resources with real kubectl, each version that is installed."""

import json
from pathlib import Path

import pytest

from tests.apiserver.crds import GROUP, crd, cron_tab
from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import Kubectl, binaries

pytest.importorskip("re2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]


@pytest.fixture(params=binaries(), ids=lambda p: Path(p).name)
def kubectl(request: pytest.FixtureRequest, live: Running) -> Kubectl:
    return Kubectl(request.param, live)


async def test_define_and_use(kubectl: Kubectl) -> None:
    name = f"crontabs.{GROUP}"
    assert await kubectl("apply", "-f", "-", stdin=json.dumps(crd())) == (
        f"customresourcedefinition.apiextensions.k8s.io/{name} created\n"
    )
    await kubectl("wait", "--for=condition=established", f"crd/{name}", "--timeout=5s")
    tab = json.dumps(cron_tab(replicas=2))
    assert " created" in await kubectl("apply", "-f", "-", stdin=tab)
    assert " unchanged" in await kubectl("apply", "-f", "-", stdin=tab)
    assert (await kubectl("get", "ct")).split()[:9] == [
        "NAME", "SPEC", "REPLICAS", "READY", "AGE", "a", "*", "*", "*",
    ]  # fmt: skip
    assert "busybox" in await kubectl("get", "crontabs", "-o", "wide")
    assert f"crontab.{GROUP}/a" in await kubectl("get", "all", "-o", "name")
    assert "cronSpec\t<string> -required-" in await kubectl("explain", "crontab.spec")
    assert "scaled" in await kubectl("scale", "ct/a", "--replicas=3")
    assert "patched" in await kubectl("patch", "ct", "a", "--type=merge", "-p",
                                      '{"spec":{"image":"x"}}')  # fmt: skip
    chosen = await kubectl("get", "ct", "--field-selector=spec.image=x", "-o", "name")
    assert chosen == f"crontab.{GROUP}/a\n"
    described = await kubectl("describe", "ct", "a")
    assert "Replicas:      3" in described
    more = json.dumps(cron_tab(replicas=4))
    err = await kubectl.fails("apply", "--server-side", "-f", "-", stdin=more)
    assert ".spec.replicas" in err
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=more)
    err = await kubectl.fails("apply", "-f", "-", stdin=json.dumps(cron_tab(replicas=99)))
    assert "less than or equal to 10" in err
    err = await kubectl.fails("apply", "-f", "-", stdin=json.dumps(cron_tab(replica=1)))
    assert "replica" in err
    assert "deleted" in await kubectl("delete", "crd", name)
    assert "could not find the requested resource" in await kubectl.fails("get", "ct")
