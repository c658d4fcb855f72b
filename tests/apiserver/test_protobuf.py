"""Bodies in protobuf: the wire form by hand, and rubbish."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.packaged import protobuf_messages
from weft.apiserver import protobuf
from weft.apiserver.protobuf import ProtobufError, UnknownKind, decode


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def data(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def wrapped(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + data(1, data(1, api_version) + data(2, kind)) + data(2, raw)


def test_secret_with_bytes_maps_and_zero_values() -> None:
    meta = data(1, "s") + data(3, "") + data(11, data(1, "a") + data(2, "")) + number(7, 0)
    entries = data(2, data(1, "k") + data(2, b"\xff\x00")) + data(2, data(1, "empty"))
    found = decode(wrapped("v1", "Secret", data(1, meta) + entries + data(3, "") + number(5, 0)))
    assert found == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"a": ""}},
        "data": {"k": "/wA=", "empty": ""},
        "immutable": False,
    }


def test_times_quantities_ports_and_inlined_messages() -> None:
    """Lease and Pod: MicroTime, Quantity, IntOrString, what JSON has in line, negative numbers."""
    spec = number(2, 15) + data(3, number(1, 1_790_000_000) + number(2, 123_456_000))
    lease = decode(wrapped("coordination.k8s.io/v1", "Lease", data(1, b"") + data(2, spec)))
    assert isinstance(lease, dict)
    assert lease["spec"] == {
        "leaseDurationSeconds": 15, "acquireTime": "2026-09-21T14:13:20.123456Z",
    }  # fmt: skip

    probe = data(1, data(2, data(1, "/") + data(2, number(1, 1) + data(3, "http"))))
    limits = data(1, data(1, "cpu") + data(2, data(1, "250m")))
    container = data(1, "c") + data(8, limits) + data(10, probe)
    volume = data(1, "v") + data(2, data(2, b""))  # emptyDir
    toleration = data(22, number(5, -1))
    pod = data(2, data(1, volume) + data(2, container) + toleration + data(3, "") + number(11, 0))
    found = decode(wrapped("v1", "Pod", pod))
    assert isinstance(found, dict)
    assert found["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [
            {
                "name": "c",
                "resources": {"limits": {"cpu": "250m"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
            }
        ],
        "tolerations": [{"tolerationSeconds": -1}],
    }


def test_groups_of_users_and_embedded_json() -> None:
    extra = data(5, data(1, "scopes") + data(2, data(1, "a") + data(1, "b")))
    review = decode(wrapped("authorization.k8s.io/v1", "SubjectAccessReview", data(2, extra)))
    assert isinstance(review, dict)
    assert review["spec"]["extra"] == {"scopes": ["a", "b"]}
    revision = decode(wrapped("apps/v1", "ControllerRevision", data(2, data(1, b'{"x":1}'))))
    assert isinstance(revision, dict)
    assert revision["data"] == {"x": 1}


def test_delete_options_come_in_the_name_of_any_group() -> None:
    body = wrapped("apps/v1", "DeleteOptions", number(1, 0) + data(4, "Background"))
    assert decode(body) == {
        "apiVersion": "apps/v1", "kind": "DeleteOptions",
        "gracePeriodSeconds": 0, "propagationPolicy": "Background",
    }  # fmt: skip


def test_kinds_that_are_not_known() -> None:
    assert decode(wrapped("x.io/v1", "Thing", b"")) == UnknownKind("x.io/v1", "Thing")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{}", "does not appear to be"),
        (b"k8s\0\x0a\x05a", "unexpected EOF"),
        (b"k8s\0\x0b", "illegal wireType"),
        (wrapped("v1", "Secret", data(1, data(1, b"\xff"))), "UTF-8"),
        (wrapped("v1", "Secret", number(1, 3)), "a message is expected"),
        (wrapped("v1", "Secret", data(5, b"x")), "a number is expected"),
        (wrapped("v1", "Secret", b"\x08" + b"\xff" * 11), "longer than 64 bits"),
        (wrapped("v1", "Pod", data(1, data(8, number(1, 1 << 50)))), "out of range"),
        (wrapped("apps/v1", "ControllerRevision", data(2, data(1, b"{"))), "not valid"),
    ],
)
def test_rubbish_is_told(body: bytes, why: str) -> None:
    with pytest.raises(ProtobufError, match=why):
        decode(body)


KINDS = sorted(protobuf_messages()["kinds"])


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_give_json_or_an_error(kind: str, raw: bytes) -> None:
    version, _, name = kind.rpartition("/")
    with contextlib.suppress(ProtobufError):
        decode(wrapped(version, name, raw))


def test_every_type_has_a_reader() -> None:
    for message in protobuf_messages()["messages"]:
        assert protobuf._fields_of(message) is not None
