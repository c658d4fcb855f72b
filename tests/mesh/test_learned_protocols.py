"""What is learned about undeclared ports, and what is not."""

import pytest

from tests.mesh.cluster import snapshot
from weft.api.k8s.core_v1 import Service
from weft.mesh.build import build
from weft.mesh.learned_protocols import (
    Port,
    annotation,
    conclusion,
    learned,
    observed,
    undeclared_ports,
)

SETTINGS = bytes.fromhex("000012040000000000000300000064")


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (b"220 ready\r\n", "speaks"),
        (b"\x4a\x00\x00\x00\x0a8.0.36", "speaks"),
        (b"", "silent"),
        (b"HTTP/1.1 408 Request Timeout\r\n", "silent"),
        (SETTINGS, "silent"),
        (SETTINGS[:9].replace(b"\x12", b"\0"), "silent"),
    ],
)
def test_what_first_bytes_say(first: bytes, found: str) -> None:
    assert observed(first) == found


A, B = ("a", "10.0.0.1", 25), ("b", "10.0.0.2", 25)


@pytest.mark.parametrize(
    ("places", "known", "before", "found"),
    [
        ((A, B), {A: "speaks", B: "speaks"}, {}, "tcp"),
        ((A, B), {A: "speaks", B: "silent"}, {25: "tcp"}, None),
        ((A, B), {A: "speaks"}, {}, None),
        ((A, B), {A: "speaks"}, {25: "tcp"}, "tcp"),
        ((), {}, {25: "tcp"}, "tcp"),
        ((), {}, {}, None),
    ],
)  # fmt: skip
def test_a_port_is_pinned_only_when_all_its_servers_speak_first(places, known, before, found):
    assert conclusion(Port(Service(), 25, places), known, before) == found


SERVICE = """
kind: Service
apiVersion: v1
metadata: {name: mail, annotations: {weft.dev/learned-protocols: '{"2525": "tcp"}'}}
spec:
  clusterIP: 10.96.0.10
  selector: {app: mail}
  ports:
  - {name: smtp, port: 2525}
  - {name: admin, port: 8025}
  - {name: http-web, port: 80}
  - {name: dns, port: 53, protocol: UDP}
"""
BACKENDS = "{kind: Backends, service: mail, metadata: {name: mail}, pods: {a: {ip: 10.244.0.1}}}"


def test_pins_hold_and_the_rest_is_listened_to() -> None:
    import yaml

    objects = snapshot([yaml.safe_load(SERVICE), yaml.safe_load(BACKENDS)])
    model = build(objects).model
    protocols = {d.port: d.protocol for d in model.destinations}
    assert protocols == {2525: "tcp", 8025: "auto", 80: "http", 53: "udp"}
    ports = undeclared_ports(objects.list(Service), model.destinations)
    assert [(p.number, p.places) for p in ports] == [
        (2525, (("uid-a", "10.244.0.1", 2525),)),
        (8025, (("uid-a", "10.244.0.1", 8025),)),
    ]


def test_the_annotation_is_read_as_it_is_written() -> None:
    import yaml

    (service,) = snapshot([yaml.safe_load(SERVICE)]).list(Service)
    assert learned(service) == {2525: "tcp"}
    assert annotation(learned(service)) == '{"2525": "tcp"}'
    assert annotation({}) is None
    for text in ("nonsense", "[1]", '{"a": "tcp"}', "[" * 100_000):
        service = snapshot([yaml.safe_load(SERVICE.replace('{"2525": "tcp"}', text))])
        assert learned(service.list(Service)[0]) == {}
