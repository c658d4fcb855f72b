"""A node's certificate, from a real API server and its signer: got with a token, renewed before it
ends, refused after the node was removed."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.waiting import until
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.api.registry import by_resource, kind_for
from weft.api.wellknown import REMOVED_NODES
from weft.apiserver.app import ApiServer
from weft.apiserver.app import Settings as ApiSettings
from weft.apiserver.removed_nodes import RemovedNodes
from weft.apiserver.removed_nodes_follower import RemovedNodesFollower
from weft.daemon import files, joining
from weft.daemon.certificate_signer import CertificateSigner, WorkloadAuthority
from weft.daemon.joining import CA_PATH, Credentials
from weft.lib import join_token
from weft.lib.aio import Tasks, now
from weft.lib.instance import Settings
from weft.lib.timefmt import rfc3339_micro
from weft.pki.identity import Validity
from weft.pki.node_requests import validity_of
from weft.runtime.http_client import HttpClient
from weft.runtime.informer import Informers
from weft.store.memory import MemoryStore

SECONDS = 10.0
"""Life of the certificates that this server gives."""
WORD = "abcdef.0123456789abcdef"


class Cluster:
    """A server, and a machine that may join it."""

    def __init__(self, server: ApiServer, ca: str, settings: Settings) -> None:
        self.server = server
        self.client = server.local_client()
        self.settings = settings
        self.ca = ca

    async def write(self, plural: str, name: str, **body: Any) -> None:
        """An object of kube-system."""
        kind = by_resource("", "v1", plural)
        assert kind is not None
        made = {"apiVersion": "v1", "kind": kind.kind, "metadata": {"name": name}, **body}
        await self.client.create(kind, made, "kube-system")

    async def join(self) -> Credentials:
        """With a token."""
        text = join_token.render(self.ca, WORD)
        Path(self.settings.join_token_file).write_text(text)
        return await joining.join(self.settings, lambda _: None)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    (tmp_path / "server").mkdir()
    (tmp_path / "node").mkdir()
    own = Settings(data_dir=str(tmp_path / "server"), run_dir=str(tmp_path))
    context, ca = files.server_tls(own, ("127.0.0.1",))
    store = MemoryStore()
    removed = RemovedNodes()
    follower = RemovedNodesFollower(store, removed)
    await follower.start()
    server = ApiServer(store, ApiSettings(), removed=removed)

    async def roots() -> tuple[str, bytes]:
        return "application/x-pem-file", ca.roots.encode()

    server.add_open_page(CA_PATH, roots)
    await server.start("127.0.0.1", 0, context)
    client = server.local_client()
    informers = Informers(client)
    workloads = WorkloadAuthority(lambda: ca, 3600.0, lambda: "td")
    signer = CertificateSigner(
        client, informers, server.authorizer, lambda: ca, workloads, seconds=SECONDS
    )
    tasks = Tasks()
    informers.start()
    tasks.spawn(signer.run(), "signer")
    url = f"https://127.0.0.1:{server.port}"
    settings = Settings(
        data_dir=str(tmp_path / "node"), run_dir=str(tmp_path), node_name="n", join=url
    )
    found = Cluster(server, ca.roots, settings)
    data = {
        "token-id": WORD[:6], "token-secret": WORD[7:], "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:weft:default-node-token",
    }  # fmt: skip
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    await found.write(
        "secrets", f"bootstrap-token-{WORD[:6]}", type="bootstrap.kubernetes.io/token", data=encoded
    )
    yield found
    await tasks.close()
    await informers.close()
    await server.close()
    await follower.close()
    await store.close()


async def asked(found: Credentials, server: str) -> ApiError:
    """What the server says to whoever shows this, over a connection of its own, about a Node."""
    client = HttpClient(found.connection(server))
    try:
        await client.get(kind_for(Node), "n")
    except ApiError as error:
        return error
    finally:
        await client.close()
    raise AssertionError("there is such a node")


def valid(found: Credentials) -> Validity:
    return validity_of(found.certificate.read_bytes())


@pytest.mark.slow
async def test_certificates_are_renewed_before_they_end(cluster: Cluster, tmp_path: Path) -> None:
    found, server = await cluster.join(), cluster.settings.join
    (tmp_path / "old").mkdir()
    old = Credentials(tmp_path / "old")
    old.store(found.certificate.read_text(), found.key.read_text())
    old.ca.write_bytes(found.ca.read_bytes())
    first = valid(found)
    assert first.not_after - now() <= SECONDS
    assert (await asked(old, server)).code == 404
    client = HttpClient(found.connection(server))
    tasks = Tasks()
    tasks.spawn(
        joining.keep_renewed(client, found, "n", lambda _: None, asyncio.Event()), "renewal"
    )
    await until(lambda: valid(found) != first, SECONDS)
    assert now() < first.not_after
    await until(lambda: now() > first.not_after + 1, SECONDS + 5)
    assert found.valid("n")
    assert (await asked(found, server)).code == 404, "the renewed one counts"
    assert (await asked(old, server)).code == 503, "the first one is refused in the handshake"
    await tasks.close()
    await client.close()


async def test_a_removed_node_is_refused_until_a_token_lets_it_in(cluster: Cluster) -> None:
    found, server = await cluster.join(), cluster.settings.join
    client = HttpClient(found.connection(server))
    watching = Tasks()
    ended: list[str] = []

    async def watch() -> None:
        kind = by_resource("", "v1", "services")
        assert kind is not None
        with contextlib.suppress(ApiError):
            async for _ in client.watch(kind, resource_version="0"):
                ended.append("event")
        ended.append("end")

    watching.spawn(watch(), "watch")
    await until(lambda: "event" in ended)
    await cluster.write("configmaps", REMOVED_NODES, data={"n": rfc3339_micro(now())})
    await until(lambda: ended[-1] == "end")
    refused = await asked(found, server)
    assert (refused.code, refused.reason) == (401, "NodeRemoved")
    assert joining.is_removed(refused)
    found.forget()
    with pytest.raises(joining.CannotJoin, match="WEFT2680"):
        await joining.join(cluster.settings, lambda _: None)
    moment = now()
    await until(lambda: now() > moment + 1.1)  # certificates tell whole seconds
    again = await cluster.join()
    assert (await asked(again, server)).code == 404, "there is no such node yet, but it is let in"
    await watching.close()
    await client.close()
