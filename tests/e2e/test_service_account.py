"""Pods reach the API server by what Kubernetes promises: environment, CA, namespace."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_for
from weft.node.service_account import DIRECTORY

pytestmark = [pytest.mark.e2e, pytest.mark.root]

ASK = f"""
import os, ssl, urllib.error, urllib.request
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
trust = ssl.create_default_context(cafile="{DIRECTORY}/ca.crt")
request = urllib.request.Request(f"https://{{host}}:{{port}}/version")
try:
    answer = urllib.request.urlopen(request, context=trust, timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status in (200, 401, 403))
print(open("{DIRECTORY}/namespace").read())
print(sorted(name for name in os.listdir("{DIRECTORY}") if not name.startswith("..")))
print(os.access("{DIRECTORY}/ca.crt", os.W_OK) and not os.statvfs("{DIRECTORY}").f_flag & 1)
"""


def pod(name: str, script: str, **spec: Any) -> str:
    main = {"name": "main", "image": "python:1", "args": ["-c", script]}
    base = {"containers": [main], "restartPolicy": "Never"}
    meta = {"name": name}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": base | spec})


def output(weft: Instance, name: str) -> list[str]:
    def ended() -> bool:
        return weft.pod(name)["status"].get("phase") in ("Succeeded", "Failed")

    wait_for(ended, f"{name} ended")
    path = f"/api/v1/namespaces/default/pods/{name}/log"
    return wait_for(lambda: weft.api(path)[1].decode().splitlines(), f"log of {name}", 5)


def test_the_api_server_is_reached_and_trusted(weft: Instance) -> None:
    weft.image("python:1", Path("/tmp"), sys.executable)
    listing = f"import os; print(os.listdir('{DIRECTORY}'))"
    pods = [
        pod("asks", ASK),
        pod("does-not", listing, automountServiceAccountToken=False),
    ]  # fmt: skip
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(pods))
    assert output(weft, "asks") == ["True", "default", "['ca.crt', 'namespace']", "False"]
    assert output(weft, "does-not") == ["[]"]
    assert list(Path(DIRECTORY).iterdir()) == []
