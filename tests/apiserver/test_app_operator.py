"""An operator written with kopf runs against the server and reconciles a kind of ours."""

import asyncio
import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.crds import GROUP, crd, cron_tab
from tests.apiserver.serving import Running

pytest.importorskip("kopf")
pytest.importorskip("re2")
pytestmark = pytest.mark.slow

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABS = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = {"Content-Type": "application/merge-patch+json"}
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def operator(live: Running, tmp_path: Path) -> Iterator[Path]:
    """The operator as a process; gives the file that it logs to."""
    log = tmp_path / "operator.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", "--verbose", "-n", "default",
             "tests/apiserver/operator_app.py"],
            cwd=ROOT, stdout=out, stderr=out,
            env={**os.environ, "KUBECONFIG": str(live.kubeconfig), "PYTHONPATH": f"{ROOT}"},
        )  # fmt: skip
        yield log
        process.terminate()
        process.wait(10)


async def test_reconciles(live: Running, operator: Path) -> None:
    definition = copy.deepcopy(crd())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["status"]["x-kubernetes-preserve-unknown-fields"] = True
    code, body = await live.json("POST", CRDS, json=definition)
    assert code == 201, body
    code, body = await live.json("POST", TABS, json=cron_tab(image="app"))
    assert code == 201, body

    async def found(path: str) -> dict[str, Any]:
        for _ in range(300):
            code, body = await live.json("GET", path)
            if code == 200:
                return body
            await asyncio.sleep(0.1)
        raise AssertionError(operator.read_text()[-3000:])

    child = await found(f"{MAPS}/a-child")
    assert child["data"] == {"image": "app"}
    assert child["metadata"]["ownerReferences"][0]["kind"] == "CronTab"

    async def until(check: Any) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for _ in range(300):
            _, body = await live.json("GET", f"{TABS}/a")
            if check(body):
                return body
            await asyncio.sleep(0.1)
        raise AssertionError((body, operator.read_text()[-3000:]))

    ready = await until(lambda b: b.get("status", {}).get("create"))
    assert ready["status"]["conditions"][0]["type"] == "Ready"
    assert ready["status"]["create"] == {"child": "a-child"}
    assert ready["metadata"]["finalizers"] == [f"{GROUP}/operator"]
    await until(lambda b: b["metadata"]["annotations"].get("ticked") == "yes")
    await live.json("PATCH", f"{TABS}/a", json={"spec": {"replicas": 4}}, headers=MERGE)
    await until(lambda b: b["status"].get("replicas") == 4)
    await live.json("DELETE", f"{TABS}/a")
    await found(f"{MAPS}/a-was-deleted")
    for _ in range(100):
        if (await live.json("GET", f"{MAPS}/a-child"))[0] == 404:
            break
        await asyncio.sleep(0.1)
    assert (await live.json("GET", f"{TABS}/a"))[0] == 404
    assert (await live.json("GET", f"{MAPS}/a-child"))[0] == 404
