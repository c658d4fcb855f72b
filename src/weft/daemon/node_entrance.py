"""Where other machines come in: the CA that a token vouches for, facts for nodes, their links, and
the control plane of their proxies."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
import msgspec

from weft.apiserver.app import ApiServer
from weft.apiserver.node_authorizer import SPANS_PATH
from weft.apiserver.removed_nodes import RemovedNodes
from weft.daemon.api_authority import ApiAuthority
from weft.daemon.image_pages import BLOB_PATH, IMAGE_PATH, ImagePages
from weft.daemon.joining import CA_PATH, ClusterFacts
from weft.daemon.node_link import CLUSTER_PATH, LINK_PATH, STREAM_PATH
from weft.daemon.node_links import NodeLinks, require_node
from weft.daemon.node_spans import SpanPages
from weft.lib.instance import Settings
from weft.node.images import ImageStore
from weft.pki.identity import Validity
from weft.pki.node_requests import node_of, validity_of
from weft.xds.server import AdsServer

CERTIFICATES_MAX = 4096
"""Of proxies, whose names are remembered."""
SERVER_NAME = "kubernetes.default.svc"
"""By which proxies know the control plane: the API server's certificate carries it."""


@functools.lru_cache(maxsize=CERTIFICATES_MAX)
def _of(pem: bytes) -> tuple[str, Validity]:
    node = node_of(pem)
    return node, validity_of(pem) if node else Validity(0, 0)


def node_unless_removed(pem: bytes, removed: RemovedNodes) -> str:
    """The node that a proxy's verified certificate is for; "" when it counts no more."""
    node, valid = _of(pem)
    return "" if removed.refuses(node, valid) else node


class NodeEntrance:
    """Of one control plane. Closed unless it listens for other machines."""

    def __init__(self, settings: Settings, links: NodeLinks, ca: ApiAuthority) -> None:
        self._settings = settings
        self._links = links
        self._ca = ca
        self.xds_port = 0

    async def start_proxies(self, ads: AdsServer, handlers: Iterable[Any]) -> None:
        """Serve this machine's proxy on its socket and, when asked to, other machines' over TLS
        with certificates on both sides. Raises OSError."""
        settings = self._settings
        address, credentials = "", None
        if settings.listen:
            address = f"{settings.listen}:{settings.xds_port}"
            credentials = self._credentials()
        self.xds_port = await ads.start(
            socket_path=settings.ads_socket,
            tcp_address=address,
            handlers=handlers,
            credentials=credentials,
        )

    def _credentials(self) -> grpc.ServerCredentials:
        """The API server's certificate, read again for each handshake: it is renewed."""
        directory = Path(self._settings.data_dir) / "pki"

        def current() -> grpc.ServerCertificateConfiguration:
            key, chain = (directory / f"apiserver.{end}" for end in ("key", "crt"))
            return grpc.ssl_server_certificate_configuration(
                [(key.read_bytes(), chain.read_bytes())], self._ca.current.roots.encode()
            )

        return grpc.dynamic_ssl_server_credentials(
            current(), current, require_client_authentication=True
        )

    def open(self, api: ApiServer, take_spans: Callable[[Any], None]) -> None:
        """The pages and connections of nodes; their applications' spans go to `take_spans`."""
        if not self._settings.listen:
            return
        api.add_open_page(CA_PATH, self._ca_page)
        api.add_page(CLUSTER_PATH, self._facts_page)
        api.add_upgrade(LINK_PATH, self._links.accept)
        api.add_upgrade(STREAM_PATH, self._links.accept_stream)
        images = ImagePages(ImageStore(Path(self._settings.data_dir)), require_node)
        api.add_upgrade(IMAGE_PATH, images.image)
        api.add_upgrade(BLOB_PATH, images.blob)
        api.add_upload(SPANS_PATH, SpanPages(take_spans, require_node).spans)

    async def _ca_page(self) -> tuple[str, bytes]:
        return "application/x-pem-file", self._ca.current.roots.encode()

    async def _facts_page(self) -> tuple[str, bytes]:
        settings = self._settings
        facts = ClusterFacts(
            *(self.xds_port, settings.trust_domain, SERVER_NAME), settings.service_cidr
        )
        return "application/json", msgspec.json.encode(facts)
