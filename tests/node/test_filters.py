"""The seccomp filter, in the kernel."""

import ctypes
import os
from collections.abc import Callable

import pytest

from weft.node.linux import ns
from weft.node.oci import seccomp
from weft.node.podhost import filters

ALLOWED, EPERM, ENOSYS = 0, 1, 38
MACHINE = os.uname().machine
CLONE3 = 435


def under(capabilities: tuple[str, ...], call: Callable[[], object]) -> int:
    """The error number of a call in a child that has the filter; 0 for none."""
    pid = os.fork()
    if pid == 0:
        try:
            ns.prctl(ns.PR_SET_NO_NEW_PRIVS, 1)
            ns.filter_calls(filters.program(seccomp.profile(capabilities, MACHINE)))
            call()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
        finally:
            os._exit(254)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def clone3() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(CLONE3, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "clone3")


def cloned(flags: int) -> None:
    """A child with these namespaces, which ends at once."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = {"x86_64": 56, "aarch64": 220}[MACHINE]
    child = libc.syscall(number, ctypes.c_ulong(flags | 17), 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child == -1:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(child, 0)


@pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason="no filter for this machine")
def test_what_is_refused_and_to_whom() -> None:
    assert under((), lambda: ns.unshare(ns.CLONE_NEWNS)) == EPERM
    assert under((), lambda: ns.mount("x", "/nowhere", "tmpfs")) == EPERM
    assert under((), lambda: cloned(ns.CLONE_NEWUSER)) == EPERM
    assert under((), lambda: cloned(0)) == ALLOWED
    assert under((), clone3) == ENOSYS
    assert under(("SYS_ADMIN",), lambda: ns.mount("x", "/nowhere", "tmpfs")) != EPERM or (
        os.geteuid() != 0
    )
    assert under(("SYS_ADMIN",), clone3) != ENOSYS


def test_what_is_not_understood_is_an_error() -> None:
    profile = seccomp.profile((), "x86_64")
    with pytest.raises(ValueError, match="no seccomp filter is known"):
        filters.program(profile, "vax")
    with pytest.raises(ValueError, match="is not supported"):
        filters.program(profile | {"defaultAction": "SCMP_ACT_ERRNO"}, "x86_64")
    assert len(filters.program(profile, "aarch64")) % 8 == 0
