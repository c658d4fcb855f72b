"""Two nodes for tests: two Envoys in two network namespaces, joined by a wire. Needs root."""

import asyncio
from typing import Any

from tests.xds.support import NetnsNode, run, run_async
from weft.daemon.mesh_identity import MeshIdentity
from weft.lib.aio import now
from weft.mesh.model import MeshModel, NodeSettings
from weft.mesh.scope import scope
from weft.pki.ca import Authority, Credential
from weft.pki.identity import parse
from weft.xds.node_mtls import caller_secrets
from weft.xds.svids import Svid, svid_secrets

ADDRESSES = ("172.31.77.1", "172.31.77.2")
NFT_NODE = """
table ip nodes {
  chain out {
    type nat hook output priority -100; policy accept;
    ip saddr OWN.1 ip daddr OTHER.0/24 tcp dport 1-65535 dnat to ADDRESS:15008
  }
  chain leave {
    type nat hook postrouting priority 100; policy accept;
    ip saddr OWN.0/24 oifname "wire" masquerade
  }
}
"""
DOMAIN = "cluster.local"


def spiffe(account: str, domain: str = DOMAIN) -> str:
    return f"spiffe://{domain}/ns/default/sa/{account}"


class TwoNodes:
    """`a` calls, `b` serves; both have pods of their own."""

    def __init__(self) -> None:
        self.a, self.b = NetnsNode(9), NetnsNode(8)
        self.root = Authority.create(DOMAIN, now())
        self.authority = self.root.intermediate("test", now())
        self.bundle = self.root.roots
        self.seconds = 3600.0
        self.svids: dict[str, Credential] = {}
        self.mesh = MeshModel()
        self.identity: MeshIdentity | None = None
        """Instead of the certificates of `svids`."""

    async def start(self) -> None:
        tags = (self.a.tag, self.b.tag)
        run(
            "ip", "link", "add", "wire", "netns", tags[0], "type", "veth",
            "peer", "name", "wire", "netns", tags[1],
        )  # fmt: skip
        for node, other, address, there in (
            (self.a, self.b, *ADDRESSES),
            (self.b, self.a, *reversed(ADDRESSES)),
        ):
            run("ip", "-n", node.tag, "addr", "add", f"{address}/24", "dev", "wire")
            forwards = "echo 1 > /proc/sys/net/ipv4/ip_forward"
            run("nsenter", f"--net=/run/netns/{node.tag}", "sh", "-c", forwards)
            run("ip", "-n", node.tag, "link", "set", "wire", "up")
            run("ip", "-n", node.tag, "route", "add", f"{other.network}.0/24", "via", there)
            text = NFT_NODE.replace("OWN", node.network).replace("OTHER", other.network)
            text = text.replace("ADDRESS", there)
            run("nsenter", f"--net=/run/netns/{node.tag}", "nft", "-f", "-", text=text)
        for node in (self.a, self.b):
            await node.start_server()
            node.start_envoy()

    @property
    def servers(self) -> "BothServers":
        return BothServers(self)

    def offer(self, **changes: Any) -> None:
        """Change parts of the mesh and hand each node its part."""
        fields = {f: getattr(self.mesh, f) for f in self.mesh.__struct_fields__} | changes
        fields["nodes"] = ((self.a.tag, ADDRESSES[0]), (self.b.tag, ADDRESSES[1]))
        self.mesh = MeshModel(**fields)
        for node in (self.a, self.b):
            settings: NodeSettings = node.node
            model = scope(self.mesh, settings)
            if self.identity is not None:
                secrets = self.identity.secrets_of(model)
            else:
                wanted = (*(w.principal for w in model.workloads), model.node.peers.identity)
                own = {principal: self.svid(principal) for principal in wanted if principal}
                secrets = svid_secrets(own, self.bundle)
                secrets += caller_secrets(model.entrances, model.node.peers, self.bundle)
            node.server.update(node.tag, (*secrets, *node.translator.translate(model)))

    async def apply(self, **changes: Any) -> None:
        """`offer`, and wait until both Envoys have answered for everything."""
        self.offer(**changes)
        for node in (self.a, self.b):
            await node.until(lambda server, tag=node.tag: server.in_sync(tag))  # type: ignore[misc]
            assert not node.server.nacks(node.tag), node.server.nacks(node.tag)

    def svid(self, principal: str) -> Svid:
        if principal not in self.svids:
            made = self.authority.workload(parse(principal), now(), self.seconds)
            self.svids[principal] = made
        found = self.svids[principal]
        return Svid(found.certificate, found.key)

    async def connect(
        self, server_name: str, credential: tuple[str, str] | None, *, alpn: str = "http/1.1",
        request: str = "GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n",
    ) -> str:  # fmt: skip
        """What node B's proxy answers to a connection of somebody on the wire."""
        script = _CLIENT.format(
            address=ADDRESSES[1], name=server_name, alpn=alpn, request=request,
            files=[str(self.a.directory / "own.pem")] if credential else [],
        )  # fmt: skip
        if credential is not None:
            (self.a.directory / "own.pem").write_text("".join(credential))
        command = ("nsenter", f"--net=/run/netns/{self.a.tag}", "python3", "-c", script)
        return await asyncio.wait_for(run_async(*command), 20)

    async def close(self) -> None:
        await self.a.close()
        await self.b.close()


_CLIENT = """
import socket, ssl
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.check_hostname = False
c.verify_mode = ssl.CERT_NONE
if "{alpn}": c.set_alpn_protocols(["{alpn}"])
for f in {files}: c.load_cert_chain(f)
try:
    s = socket.create_connection(("{address}", 15008), 5)
    s = c.wrap_socket(s, server_hostname="{name}")
    s.settimeout(5)
    if "{request}": s.sendall(b"{request}")
    print("answer", s.recv(4096))
except Exception as e:
    print("refused", repr(e))
"""


class BothServers:
    """What MeshIdentity asks an AdsServer, of the servers of both nodes."""

    def __init__(self, nodes: TwoNodes) -> None:
        self._of = {node.tag: node for node in (nodes.a, nodes.b)}

    def connected(self, node: str) -> bool:
        return self._of[node].server.connected(node)

    def acked_names(self, node: str, type_url: str) -> dict[str, str]:
        return self._of[node].server.acked_names(node, type_url)
