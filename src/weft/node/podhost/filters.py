"""`linux.seccomp` of a container's configuration as the kernel takes it: classic BPF."""

import os
import struct
from typing import Any

_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38
_X32 = 0x4000_0000
_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_COMMON = {
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "clone3": 435,
}  # fmt: skip
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": _COMMON | {
        "clone": 56, "uselib": 134, "ustat": 136, "sysfs": 139, "vhangup": 153, "pivot_root": 155,
        "_sysctl": 156, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166,
        "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172, "ioperm": 173,
        "create_module": 174, "init_module": 175, "delete_module": 176, "get_kernel_syms": 177,
        "query_module": 178, "quotactl": 179, "nfsservctl": 180, "lookup_dcookie": 212,
        "clock_settime": 227, "mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239,
        "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
        "move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "open_by_handle_at": 304,
        "clock_adjtime": 305, "setns": 308, "kcmp": 312, "finit_module": 313,
        "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323,
    },
    "aarch64": _COMMON | {
        "lookup_dcookie": 18, "umount2": 39, "mount": 40, "pivot_root": 41, "nfsservctl": 42,
        "vhangup": 58, "quotactl": 60, "acct": 89, "unshare": 97, "kexec_load": 104,
        "init_module": 105, "delete_module": 106, "clock_settime": 112, "reboot": 142,
        "settimeofday": 170, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220,
        "swapon": 224, "swapoff": 225, "mbind": 235, "get_mempolicy": 236, "set_mempolicy": 237,
        "move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "open_by_handle_at": 265,
        "clock_adjtime": 266, "setns": 268, "kcmp": 272, "finit_module": 273, "bpf": 280,
        "userfaultfd": 282, "kexec_file_load": 294,
    },
}  # fmt: skip
"""What this kernel's tables call what profiles refuse; calls that an architecture lacks are
left out. Source: asm/unistd_64.h and asm-generic/unistd.h."""


def program(profile: dict[str, Any], machine: str = "") -> bytes:
    """The filter. ValueError for what this compiler does not know: no container runs with less
    of a filter than it was given."""
    machine = machine or os.uname().machine
    if machine not in _ARCHITECTURES:
        raise ValueError(f"no seccomp filter is known for {machine}; say Unconfined to go without")
    if profile["defaultAction"] != "SCMP_ACT_ALLOW":
        raise ValueError(f"seccomp default {profile['defaultAction']} is not supported")
    code = [
        _one(_LOAD, _ARCHITECTURE_OFFSET),
        _one(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _one(_RETURN, _ERRNO | _EPERM),
        _one(_LOAD, _NUMBER_OFFSET),
    ]
    if machine == "x86_64":
        code += [_one(_AT_LEAST, _X32, 0, 1), _one(_RETURN, _ERRNO | _ENOSYS)]
    for rule in profile["syscalls"]:
        if rule["action"] != "SCMP_ACT_ERRNO":
            raise ValueError(f"seccomp action {rule['action']} is not supported")
        refuse = _one(_RETURN, _ERRNO | int(rule.get("errnoRet", _EPERM)))
        for name in rule["names"]:
            number = _NUMBERS[machine].get(name)
            if number is not None:
                code += _rule(number, rule.get("args") or [], refuse)
    code.append(_one(_RETURN, _ALLOW))
    return b"".join(code)


def _rule(number: int, arguments: list[dict[str, Any]], refuse: bytes) -> list[bytes]:
    if not arguments:
        return [_one(_EQUAL, number, 0, 1), refuse]
    (argument,) = arguments
    if argument["op"] != "SCMP_CMP_MASKED_EQ" or argument["value"] >> 32:
        raise ValueError(f"seccomp comparison {argument['op']} is not supported")
    return [
        _one(_EQUAL, number, 0, 5),
        _one(_LOAD, _ARGUMENTS_OFFSET + 8 * argument["index"]),
        _one(_AND, argument["value"]),
        _one(_EQUAL, argument["valueTwo"], 0, 1),
        refuse,
        _one(_LOAD, _NUMBER_OFFSET),
    ]


def _one(code: int, value: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)
