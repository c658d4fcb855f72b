"""Answers of the cluster's DNS, by the Kubernetes DNS specification."""

from typing import Any

import pytest

from weft.api.istio.networking_v1 import ServiceEntry
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.objects import decode
from weft.api.vip import vip_for
from weft.node.dns.zone import Answer, Record, Zone, address_of, answer
from weft.node.dns_records import build_zone


def service(name: str, ip: str, **spec: Any) -> Service:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    meta = {"name": name, "namespace": "shop"}
    return decode(Service, {"metadata": meta, "spec": {"clusterIP": ip, "ports": ports} | spec})


def slice_of(name: str, *endpoints: dict[str, Any]) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": name}
    return decode(EndpointSlice, {
        "metadata": {"name": f"{name}-1", "namespace": "shop", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    })  # fmt: skip


def entry(host: str, **spec: Any) -> ServiceEntry:
    meta = {"name": "e", "namespace": "shop"}
    return decode(ServiceEntry, {"metadata": meta, "spec": {"hosts": [host]} | spec})


@pytest.fixture
def zone() -> Zone:
    ready, unready = {"ready": True}, {"ready": False}
    return build_zone(
        [
            service("web", "10.96.0.7"),
            service("db", "None"),
            service("empty", "None"),
            service("alias", "", type="ExternalName", externalName="api.example.com"),
        ],
        [
            slice_of("web", {"addresses": ["10.244.0.2"], "conditions": ready}),
            slice_of(
                "db",
                {"addresses": ["10.244.0.3"], "conditions": ready, "hostname": "db-0"},
                {"addresses": ["10.244.0.4"], "conditions": ready},
                {"addresses": ["10.244.0.5"], "conditions": unready, "hostname": "db-2"},
            ),
        ],
        [
            entry("api.partner.com", resolution="DNS"),
            entry("fixed.partner.com", addresses=["192.0.2.10", "192.0.2.0/24"]),
            entry("*.wild.com", addresses=["192.0.2.11"]),
            entry("secret.partner.com", resolution="STATIC", exportTo=["."]),
            entry("real.partner.com", resolution="NONE"),
        ],
    )


def asked(zone: Zone, name: str, kind: str = "A", namespace: str = "shop") -> list[str] | None:
    """Data of the answer; None when others must be asked; ["NXDOMAIN"] when there is no name."""
    found = answer(zone, name, kind, namespace)
    if found is None:
        return None
    return ["NXDOMAIN"] if found.missing else [r.data for r in found.records]


SVC = "svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        (f"web.shop.{SVC}", "A", ["10.96.0.7"]),
        (f"WEB.Shop.{SVC}.", "A", ["10.96.0.7"]),
        (f"web.shop.{SVC}", "AAAA", []),
        (f"web.other.{SVC}", "A", ["NXDOMAIN"]),
        (f"db.shop.{SVC}", "A", ["10.244.0.3", "10.244.0.4"]),
        (f"db-0.db.shop.{SVC}", "A", ["10.244.0.3"]),
        (f"10-244-0-4.db.shop.{SVC}", "A", ["10.244.0.4"]),
        (f"db-2.db.shop.{SVC}", "A", ["NXDOMAIN"]),
        (f"empty.shop.{SVC}", "A", ["NXDOMAIN"]),
        (f"alias.shop.{SVC}", "A", ["api.example.com."]),
        (f"_http._tcp.web.shop.{SVC}", "SRV", [f"0 100 80 web.shop.{SVC}."]),
        (f"_nope._tcp.web.shop.{SVC}", "SRV", ["NXDOMAIN"]),
        (f"shop.{SVC}", "A", []),
        (f"nowhere.{SVC}", "A", ["NXDOMAIN"]),
        ("10-244-0-9.shop.pod.cluster.local", "A", ["10.244.0.9"]),
        ("7.0.96.10.in-addr.arpa", "PTR", [f"web.shop.{SVC}."]),
        ("3.0.244.10.in-addr.arpa", "PTR", [f"db-0.db.shop.{SVC}."]),
        ("8.8.8.8.in-addr.arpa", "PTR", None),
        ("example.com", "A", None),
        ("my-service", "A", None),
        ("nonsense.cluster.local", "A", ["NXDOMAIN"]),
    ],
)
def test_cluster_names(zone: Zone, name: str, kind: str, data: list[str] | None) -> None:
    assert asked(zone, name, kind) == data


def test_srv_of_a_headless_service_names_each_endpoint_and_its_port(zone: Zone) -> None:
    found = answer(zone, f"_http._tcp.db.shop.{SVC}", "SRV", "shop")
    assert found is not None
    full = f"db.shop.{SVC}"
    assert [r.data for r in found.records] == [
        f"0 100 8080 db-0.{full}.", f"0 100 8080 10-244-0-4.{full}.",
    ]  # fmt: skip
    assert Record(f"db-0.{full}", "A", "10.244.0.3") in found.additional


def test_hosts_of_service_entries(zone: Zone) -> None:
    assert asked(zone, "api.partner.com") == [vip_for("api.partner.com")]
    assert asked(zone, "fixed.partner.com") == ["192.0.2.10"]
    assert asked(zone, "any.wild.com") == ["192.0.2.11"]
    assert asked(zone, "wild.com") is None
    assert asked(zone, "real.partner.com") is None, "the real DNS knows it"


def test_service_entry_is_seen_where_it_is_exported(zone: Zone) -> None:
    assert asked(zone, "secret.partner.com") == [vip_for("secret.partner.com")]
    assert asked(zone, "secret.partner.com", namespace="other") is None


def test_endpoints_that_are_not_ready_are_published_on_demand() -> None:
    peers = service("peers", "None", publishNotReadyAddresses=True)
    unready = {"addresses": ["10.244.0.9"], "conditions": {"ready": False}}
    made = build_zone([peers], [slice_of("peers", unready)], [])
    assert answer(made, f"peers.shop.{SVC}", "A", "shop") == Answer(
        (Record(f"peers.shop.{SVC}", "A", "10.244.0.9"),)
    )


@pytest.mark.parametrize(
    ("host", "namespace", "address"),
    [
        ("web", "shop", "10.96.0.7"),
        ("web", "default", ""),
        ("web.shop", "default", "10.96.0.7"),
        ("web.shop.svc.cluster.local.", "default", "10.96.0.7"),
        ("10.1.2.3", "default", "10.1.2.3"),
        ("example.org", "shop", ""),
    ],
)
def test_lookups_follow_the_search_list(
    zone: Zone, host: str, namespace: str, address: str
) -> None:
    assert address_of(zone, host, namespace) == address
