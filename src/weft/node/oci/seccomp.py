"""The default filter of system calls, after the OCI runtime specification. Pure.

What it refuses is what Docker's documentation lists as blocked by its default profile, each with
the capability that allows it. Everything else is allowed: new calls of the kernel do not break
images. `clone3` is unknown to programs, because its flags cannot be seen by a filter.
"""

from collections.abc import Iterable
from typing import Any

_EPERM, _ENOSYS = 1, 38
_ALWAYS = (
    "_sysctl", "add_key", "create_module", "get_kernel_syms", "io_uring_enter",
    "io_uring_register", "io_uring_setup", "kexec_file_load", "kexec_load", "keyctl",
    "nfsservctl", "pivot_root", "query_module", "request_key", "sysfs", "uselib", "userfaultfd",
    "ustat", "vm86", "vm86old",
)  # fmt: skip
_BY_CAPABILITY = {
    "SYS_ADMIN": (
        "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie", "mount",
        "mount_setattr", "move_mount", "open_tree", "quotactl", "quotactl_fd", "setns",
        "swapoff", "swapon", "umount", "umount2", "unshare",
    ),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_TIME": ("clock_adjtime", "clock_settime", "settimeofday", "stime"),
    "SYS_RAWIO": ("ioperm", "iopl"),
    "SYS_PACCT": ("acct",),
    "SYS_BOOT": ("reboot",),
    "SYS_NICE": ("get_mempolicy", "mbind", "move_pages", "set_mempolicy"),
    "SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYS_TTY_CONFIG": ("vhangup",),
    "BPF": ("bpf",),
    "PERFMON": ("perf_event_open",),
}  # fmt: skip
_IMPLIES = {"SYS_ADMIN": ("BPF", "PERFMON")}
_CLONE_NAMESPACES = (
    0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
)  # fmt: skip
"""CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET."""
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}


def profile(capabilities: Iterable[str], machine: str) -> dict[str, Any]:
    """`linux.seccomp` for a container with these capabilities; `machine` is `uname -m`."""
    held = set(capabilities)
    for name, implied in _IMPLIES.items():
        if name in held:
            held.update(implied)
    refused = list(_ALWAYS)
    for capability, calls in _BY_CAPABILITY.items():
        if capability not in held:
            refused += calls
    rules: list[dict[str, Any]] = [
        {"names": sorted(refused), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM}
    ]
    if "SYS_ADMIN" not in held:
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
        for flag in _CLONE_NAMESPACES:
            masked = {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
            rules.append({
                "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM,
                "args": [masked],
            })  # fmt: skip
    found: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    if machine in _ARCHITECTURES:
        found["architectures"] = list(_ARCHITECTURES[machine])
    return found
