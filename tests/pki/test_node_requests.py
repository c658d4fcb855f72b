from cryptography import x509
from cryptography.x509.oid import NameOID

from weft.pki import node_requests
from weft.pki.ca import Authority

NOW = 1_800_000_000.0


def test_a_request_names_the_node() -> None:
    key, request = node_requests.request("worker-1")
    found = x509.load_pem_x509_csr(request.encode())
    (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "system:node:worker-1"
    assert found.is_signature_valid
    assert "PRIVATE KEY" in key


def test_only_a_nodes_certificate_is_a_nodes() -> None:
    ca = Authority.create("cluster.local", NOW)
    good = ca.client("system:node:n1", ("system:nodes",), NOW)
    assert node_requests.node_of(good.certificate.encode()) == "n1"
    assert node_requests.is_for(good.certificate.encode(), good.key.encode(), "n1")
    assert not node_requests.is_for(good.certificate.encode(), good.key.encode(), "n2")
    assert node_requests.validity_of(good.certificate.encode()) == good.validity
    other = ca.client("system:node:n1", ("system:nodes",), NOW)
    assert not node_requests.is_for(good.certificate.encode(), other.key.encode(), "n1")
    for user, groups in (
        ("system:node:n1", ()), ("n1", ("system:nodes",)),
        ("system:node:n1", ("system:nodes", "system:masters")),
    ):  # fmt: skip
        found = ca.client(user, groups, NOW)
        assert node_requests.node_of(found.certificate.encode()) == ""
    assert node_requests.node_of(b"nonsense") == ""
