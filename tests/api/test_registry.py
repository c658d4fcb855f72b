"""Finding kinds by what people and clients call them."""

import pytest

from weft.api import registry
from weft.api.istio import networking_v1
from weft.api.k8s import apps_v1
from weft.api.kinds import MEASURED, QUESTION


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("deploy", "Deployment"), ("deployments", "Deployment"), ("Deployment", "Deployment"),
        ("deployment.apps", "Deployment"), ("deployments.v1.apps", "Deployment"), ("po", "Pod"),
        ("vs", "VirtualService"), ("dr", "DestinationRule"), ("gw", "Gateway"),
        ("serviceentries.networking.istio.io", "ServiceEntry"), ("svc", "Service"),
        ("endpointslices", "EndpointSlice"), ("no", "Node"), ("ns", "Namespace"),
    ],
)  # fmt: skip
def test_by_name(name: str, kind: str) -> None:
    found = registry.by_name(name)
    assert found is not None
    assert found.kind == kind


def test_unknown_names() -> None:
    assert registry.by_name("quux") is None
    assert registry.find("apps", "v1beta1", "Deployment") is None
    assert registry.by_resource("", "v1", "deployments") is None
    assert registry.kind_of({"kind": "Pod"}) is None


def test_all_istio_versions_are_one_kind() -> None:
    found = {
        registry.find_api_version(f"networking.istio.io/{version}", "VirtualService")
        for version in ("v1", "v1beta1", "v1alpha3")
    }
    (kind,) = found
    assert kind is registry.kind_for(networking_v1.VirtualService)
    assert kind is registry.by_resource("networking.istio.io", "v1alpha3", "virtualservices")


def test_every_kind_has_a_value_type_and_clear_names() -> None:
    assert registry.kind_for(apps_v1.Deployment).plural == "deployments"
    stored = [k for k in registry.KINDS if k.view_of is None and k.verbs != MEASURED]
    assert all(kind.struct is not None for kind in stored if kind.verbs != QUESTION)
    names = [n for k in stored for n in {k.plural, k.singular, *k.short_names}]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"gateway", "gateways"}  # Istio's and the Gateway API's


def test_gateways_of_two_groups_are_told_apart() -> None:
    istio = registry.by_name("gateway")
    other = registry.by_name("gateways.gateway.networking.k8s.io")
    assert istio is not None
    assert istio.group == "networking.istio.io"
    assert other is not None
    assert other.group == "gateway.networking.k8s.io"
    assert registry.by_name("gtw") is other
    assert registry.by_name("gateway.gateway.networking.k8s.io") is other
    assert registry.find_api_version("gateway.networking.k8s.io/v1beta1", "Gateway") is other
    assert registry.find_api_version("networking.istio.io/v1", "Gateway") is istio
