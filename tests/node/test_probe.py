"""Which isolation is chosen from what the machine answers, and what people are told."""

import os
import sys

import pytest

from weft.api import wellknown
from weft.node.probe import IsolationReport, choose, decide, probe
from weft.xds import udp

NETNS = (
    "mounts", "etc", "volumes", "own_devices", "namespace", "pin", "devices", "redirect",
    "low_ports",
)  # fmt: skip
ALL = dict.fromkeys((*NETNS, "user.mounts", "user.etc", "user.volumes"), "")
REFUSED = "Operation not permitted"
USER = {**ALL, "mounts": REFUSED, "namespace": REFUSED}
USER_NETNS = (*(name for name in NETNS if name != "own_devices"), "nested")
WITH_NAMESPACES = {**USER, **{f"user.{name}": "" for name in USER_NETNS}}


def test_everything_possible_is_netns() -> None:
    assert decide("auto", ALL) == IsolationReport("netns")
    assert decide("netns", ALL) == IsolationReport("netns")


def test_an_ordinary_user_gets_the_host_network_with_own_files() -> None:
    report = decide("auto", USER)
    assert (report.isolation, report.possible, report.private_files) == ("host", True, True)
    (sentence,) = report.missing
    assert "mount namespaces (Operation not permitted)" in sentence
    assert "$PORT" in sentence


@pytest.mark.parametrize("question", NETNS)
def test_one_missing_thing_is_enough_for_host(question: str) -> None:
    report = decide("auto", {**ALL, question: "no such thing"})
    assert report.isolation == "host"
    assert "(no such thing)" in report.missing[0]


def test_an_ordinary_user_may_have_network_namespaces_in_a_user_namespace() -> None:
    assert decide("netns", WITH_NAMESPACES) == IsolationReport("netns", rootless=True)
    assert decide("auto", WITH_NAMESPACES).rootless
    assert decide("host", WITH_NAMESPACES).isolation == "host"
    assert decide("auto", WITH_NAMESPACES, as_user=False).isolation == "host"


def test_root_needs_no_user_namespace() -> None:
    assert not decide("netns", {**WITH_NAMESPACES, **ALL}).rootless


@pytest.mark.parametrize("question", USER_NETNS)
def test_one_thing_that_a_user_namespace_lacks_is_named(question: str) -> None:
    answers = {**WITH_NAMESPACES, f"user.{question}": "no such thing"}
    report = decide("netns", answers)
    assert (report.possible, report.rootless) == (False, False)
    assert "(no such thing)" in report.missing[0]
    report = decide("auto", answers)
    assert report.isolation == "host"
    assert "(no such thing)" in report.missing[0]


def test_without_private_mounts_that_is_said_too() -> None:
    report = decide("auto", {**USER, "user.mounts": "No space left on device"})
    assert not report.private_files
    assert "No space left on device" in report.missing[1]


def test_netns_asked_for_and_impossible() -> None:
    report = decide("netns", {**ALL, "redirect": "Protocol not supported"})
    assert not report.possible
    assert "nftables redirection (Protocol not supported)" in report.missing[0]


def test_host_may_be_asked_for() -> None:
    report = decide("host", ALL)
    assert (report.isolation, report.private_files) == ("host", True)
    assert "as asked" in report.missing[0]


async def test_the_trial_runs_without_packages() -> None:
    assert "the probe gave no answer" not in (await probe()).values()


def test_ports_are_turned_alike_by_proxy_and_kernel() -> None:
    assert udp.DATAGRAM_PORT_BITS == wellknown.DATAGRAM_PORT_BITS


@pytest.mark.slow
async def test_this_machine_answers_every_question() -> None:
    answers = await probe()
    assert answers["mounts"] == "" or os.geteuid() != 0 or "permitted" in answers["mounts"]
    assert (await choose("host")).isolation == "host"
    before = os.listdir("/proc/self/fd")
    assert (await choose("auto")).possible
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert "weft.node.linux.trial" not in sys.modules
