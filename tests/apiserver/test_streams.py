"""What exec, attach and port-forward are asked for."""

import pytest

from weft.api.errors import ApiError
from weft.apiserver import streams


def test_options() -> None:
    query = {"stdin": "true", "stdout": "1", "tty": "True", "container": "c"}
    found = streams.parse_options("exec", query, ["sh", "-c", "x"])
    assert found == streams.Options("c", ("sh", "-c", "x"), True, True, False, True)


@pytest.mark.parametrize(
    ("query", "command", "why"),
    [
        ({"stdout": "true"}, [], "at least one command"),
        ({}, ["ls"], "at least 1 of stdin, stdout, stderr"),
        ({"stdout": "maybe"}, ["ls"], "ParseBool"),
    ],
)
def test_options_that_make_no_sense(query: dict[str, str], command: list[str], why: str) -> None:
    with pytest.raises(ApiError, match=why) as refused:
        streams.parse_options("exec", query, command)
    assert refused.value.code == 400


def test_ports() -> None:
    assert streams.parse_ports(["80", "81,82"]) == (80, 81, 82)
    for bad in (["0"], ["65536"], ["x"], [], [str(n) for n in range(1, 40)]):
        with pytest.raises(ApiError):
            streams.parse_ports(bad)


def test_the_first_protocol_that_both_know() -> None:
    offered = "v9.channel.k8s.io, v5.channel.k8s.io,v4.channel.k8s.io"
    assert streams.choose_protocol(offered, streams.WEBSOCKET_PROTOCOLS) == "v5.channel.k8s.io"
    assert streams.choose_protocol("x", streams.WEBSOCKET_PROTOCOLS) == ""


def test_outcomes() -> None:
    assert streams.outcome(0)["status"] == "Success"
    status = streams.outcome(7)
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


def test_a_pod_without_a_node_is_nowhere() -> None:
    pod = {"metadata": {"name": "p", "namespace": "d", "uid": "u"},
           "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}  # fmt: skip
    with pytest.raises(ApiError, match="does not have a host assigned"):
        streams.place(pod, "a")
    pod["spec"]["nodeName"] = "n"
    assert streams.place(pod, "b") == streams.Place("n", "d", "p", "u", "b")
    with pytest.raises(ApiError, match=r"choose one of: \[a b\]"):
        streams.place(pod, "")


@pytest.mark.parametrize("size", [None, [], {"Width": 0, "Height": 1}, {"Width": "1"}, 5])
def test_sizes_that_are_none(size: object) -> None:
    assert streams.window_size(size) is None
