"""What a media worker may ask of the kernel: nothing that reaches other machines, other processes or files to change.

A decoder for strangers' files needs memory, time and files to read. This filter (seccomp, see seccomp(2)) refuses the
rest with EPERM, for this process and for good. It lists what is refused and not what is allowed, so another libc or
decoder does not need another list. Where the kernel or the machine has no such filter, workers run without it.
"""

import ctypes
import errno
import os
import platform
import sys
from dataclasses import dataclass
from typing import Final

PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_SECCOMP: Final = 22
SECCOMP_MODE_FILTER: Final = 2
RET_ALLOW: Final = 0x7FFF_0000
RET_ERRNO: Final = 0x0005_0000
REFUSED: Final = RET_ERRNO | errno.EPERM
MISSING: Final = RET_ERRNO | errno.ENOSYS  # libc then uses the older call, whose arguments can be looked at

# Classic BPF, from linux/bpf_common.h. Offsets are into struct seccomp_data.
LOAD: Final = 0x20
JUMP_IF_EQUAL: Final = 0x15
JUMP_IF_ABOVE: Final = 0x35  # or equal
JUMP_IF_BITS: Final = 0x45
RETURN: Final = 0x06
NUMBER_AT: Final = 0
MACHINE_AT: Final = 4
ARGUMENTS_AT: Final = 16  # eight bytes each, the lower half first on both machines
X32_CALLS: Final = 0x4000_0000  # x86-64 has every call a second time from here on

CLONE_THREAD: Final = 0x0001_0000
CHANGES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

AUDIT_MACHINE: Final = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
# Numbers of system calls, of x86_64 and of aarch64; None where there is no such call.
NETWORK: Final = {"socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "io_uring_setup": (425, 425)}
PROCESSES: Final = {
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
FILES: Final = {
    "creat": (85, None),
    "truncate": (76, 45),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chmod": (90, None),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "mount": (165, 40),
}
OPEN: Final = (2, None)
OPENAT: Final = (257, 56)
CLONE: Final = (56, 220)
TGKILL: Final = (234, 131)
TKILL: Final = (200, 130)
CLONE3: Final = (435, 435)
OPENAT2: Final = (437, 437)


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


class FilterRefused(Exception):
    """There is no such filter here; the message says why."""


def refuse_dangerous_calls() -> None:
    """Filter the system calls of this process from now on; of its later threads, too.

    Raises:
        FilterRefused: the kernel takes no filter, or there is none for this machine.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in AUDIT_MACHINE:
        raise FilterRefused(f"there is none for {sys.platform} on {machine}")
    code = _instructions(machine)
    program = _Program(len(code), (_Instruction * len(code))(*code))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, *arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)),
    ):
        if libc.prctl(option, *arguments, 0, 0) != 0:
            raise FilterRefused(f"the kernel refuses it: {os.strerror(ctypes.get_errno())}")


@dataclass(frozen=True, slots=True)
class _Condition:
    """A test of the lower half of an argument."""

    argument: int
    test: int
    value: int


def _instructions(machine: str) -> list[_Instruction]:
    column = list(AUDIT_MACHINE).index(machine)
    code = [
        _Instruction(LOAD, 0, 0, MACHINE_AT),
        _Instruction(JUMP_IF_EQUAL, 1, 0, AUDIT_MACHINE[machine]),
        _Instruction(RETURN, 0, 0, REFUSED),
        _Instruction(LOAD, 0, 0, NUMBER_AT),
        _Instruction(JUMP_IF_ABOVE, 0, 1, X32_CALLS),
        _Instruction(RETURN, 0, 0, REFUSED),
    ]
    for numbers in (*NETWORK.values(), *PROCESSES.values(), *FILES.values()):
        code += _always(numbers[column], REFUSED)
    for numbers in (CLONE3, OPENAT2):
        code += _always(numbers[column], MISSING)
    code += _only_if(OPEN[column], _Condition(1, JUMP_IF_BITS, CHANGES), then=REFUSED, otherwise=RET_ALLOW)
    code += _only_if(OPENAT[column], _Condition(2, JUMP_IF_BITS, CHANGES), then=REFUSED, otherwise=RET_ALLOW)
    code += _only_if(CLONE[column], _Condition(0, JUMP_IF_BITS, CLONE_THREAD), then=RET_ALLOW, otherwise=REFUSED)
    code += _only_if(TGKILL[column], _Condition(0, JUMP_IF_EQUAL, os.getpid()), then=RET_ALLOW, otherwise=REFUSED)
    code += _always(TKILL[column], REFUSED)
    return [*code, _Instruction(RETURN, 0, 0, RET_ALLOW)]


def _always(number: int | None, verdict: int) -> list[_Instruction]:
    if number is None:
        return []
    return [_Instruction(JUMP_IF_EQUAL, 0, 1, number), _Instruction(RETURN, 0, 0, verdict)]


def _only_if(number: int | None, condition: _Condition, *, then: int, otherwise: int) -> list[_Instruction]:
    if number is None:
        return []
    return [
        _Instruction(JUMP_IF_EQUAL, 0, 4, number),
        _Instruction(LOAD, 0, 0, ARGUMENTS_AT + 8 * condition.argument),
        _Instruction(condition.test, 0, 1, condition.value),
        _Instruction(RETURN, 0, 0, then),
        _Instruction(RETURN, 0, 0, otherwise),
    ]
