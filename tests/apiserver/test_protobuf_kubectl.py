"""What real kubectl sends as protobuf, read back: the same as what it shows as JSON itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import Kubectl, binaries
from weft.apiserver import protobuf

SENDERS = [path for path in binaries() if path.endswith((".32", ".33", ".37"))]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SENDERS, reason="no kubectl that sends protobuf is installed"),
]

COMMANDS = (
    "deployment web --image=app:1 --replicas=0 --port=80 -- sh -c true",
    "job once --image=app:1 -- sleep 1",
    "cronjob nightly --image=app:1 --schedule=@daily --restart=OnFailure",
    "secret generic s --from-literal=a=b --from-literal=empty=",
    "secret docker-registry reg --docker-username=u --docker-password=p",
    "configmap c --from-literal=a=b",
    "serviceaccount robot",
    "namespace team",
    "role reader --verb=get,list --resource=pods,pods/log --resource-name=x",
    "clusterrole reader --verb=get --non-resource-url=/metrics",
    "clusterrole sum --aggregation-rule=a=b",
    "rolebinding read --role=reader --user=eve --serviceaccount=default:robot",
    "clusterrolebinding read --clusterrole=reader --group=g",
    "ingress web --class=none --rule=a.example/path*=web:80,tls=cert --annotation=x=y",
    "quota q --hard=cpu=1,pods=2 --scopes=BestEffort",
    "poddisruptionbudget p --selector=app=web --min-available=50%",
    "priorityclass high --value=0 --global-default=false --description=none",
    "service clusterip web --tcp=80:8080",
    "service nodeport np --tcp=80 --node-port=30001",
    "service externalname ext --external-name=a.example",
)


class Recorder:
    """Stands before a server: keeps what is POSTed to it instead of handing it on."""

    def __init__(self, live: Running, home: Path) -> None:
        self.live = live
        self.bodies: list[tuple[str, bytes]] = []
        self.kubeconfig = home / "recorder-kubeconfig"

    async def handle(self, http: web.BaseRequest) -> web.Response:
        body = await http.read()
        if http.method == "POST":
            self.bodies.append((http.headers["Content-Type"], body))
            found = protobuf.decode(body)
            assert isinstance(found, dict), found
            return web.json_response(found, status=201)
        headers = {"Accept": http.headers.get("Accept", "")}
        async with self.live.session.get(http.path_qs, headers=headers) as answer:
            return web.Response(
                body=await answer.read(), status=answer.status,
                headers={"Content-Type": answer.headers["Content-Type"]},
            )  # fmt: skip


@pytest_asyncio.fixture
async def recorder(live: Running, tmp_path: Path) -> AsyncIterator[Recorder]:
    made = Recorder(live, tmp_path)
    runner = web.ServerRunner(web.Server(made.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    text = live.kubeconfig.read_text().splitlines()
    port = runner.addresses[0][1]
    text[3] = f'clusters: [{{name: t, cluster: {{server: "http://127.0.0.1:{port}"}}}}]'
    made.kubeconfig.write_text("\n".join(text))
    yield made
    await runner.cleanup()


def without_server_fields(obj: dict[str, Any]) -> dict[str, Any]:
    """`--dry-run=client` shows empty halves and null times, which mean nothing."""

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: tidy(v) for k, v in value.items() if v is not None}
        return [tidy(v) for v in value] if isinstance(value, list) else value

    found: dict[str, Any] = tidy(obj)
    found["metadata"].pop("namespace", None)
    return found


@pytest.mark.parametrize("binary", SENDERS, ids=lambda p: Path(p).name)
async def test_every_create_command(binary: str, recorder: Recorder) -> None:
    kubectl = Kubectl(binary, recorder.live)
    env = {"KUBECONFIG": str(recorder.kubeconfig)}

    async def create(command: str) -> None:
        parts = command.split(" -- ")
        args = ["create", *parts[0].split()]
        rest = ["--", *parts[1].split()] if len(parts) > 1 else []
        shown = await kubectl(*args, "--dry-run=client", "-o", "json", *rest, env=env)
        before = len(recorder.bodies)
        await kubectl(*args, *rest, env=env)
        media, body = recorder.bodies[before]
        assert media == "application/vnd.kubernetes.protobuf"
        found = protobuf.decode(body)
        assert isinstance(found, dict)
        assert without_server_fields(found) == without_server_fields(orjson.loads(shown)), command

    for command in COMMANDS:
        await create(command)


@pytest.mark.parametrize("binary", SENDERS, ids=lambda p: Path(p).name)
async def test_created_for_real(binary: str, live: Running) -> None:
    """The commands whose kinds are served; then a token of its own kind of refusal."""
    kubectl = Kubectl(binary, live)
    served = [c for c in COMMANDS if c.split()[0] in ("deployment", "job", "secret", "configmap",
              "serviceaccount", "namespace", "service")]  # fmt: skip
    for command in served:
        parts = command.split(" -- ")
        rest = ["--", *parts[1].split()] if len(parts) > 1 else []
        assert " created" in await kubectl("create", *parts[0].split(), *rest), command
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "0"
    assert (
        await kubectl("get", "secret", "s", "-o", "jsonpath={.data}") == '{"a":"Yg==","empty":""}'
    )
    again = await kubectl.fails("create", "configmap", "c")
    assert 'configmaps "c" already exists' in again
