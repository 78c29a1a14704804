"""A filter over system calls: what is not listed does not exist for the process, nor for any program it starts.

A list of what is allowed, not of what is forbidden: calls that a future kernel adds stay closed. Unknown calls fail
with ENOSYS, so that the C library takes an older way where it knows one; calls that programs try in the course of their
work fail with EPERM. Format of the program: linux/filter.h (classic BPF), linux/seccomp.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingest.parsers.kernel import no_new_privileges, system_call
from ingest.parsers.syscalls import numbers

ALWAYS = """
    access arch_prctl brk chdir clock_getres clock_gettime clock_nanosleep close close_range copy_file_range dup
    dup2 dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 exit exit_group faccessat faccessat2
    fadvise64 fallocate fchdir fdatasync flock fstat fstatfs fsync ftruncate futex get_robust_list getcpu getcwd
    getdents64 getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getrandom getresgid getresuid
    getrlimit getrusage getsid gettid gettimeofday getuid lseek lstat madvise membarrier mincore mmap mprotect
    mremap msync munmap nanosleep newfstatat pipe pipe2 poll ppoll pread64 preadv pselect6 pwrite64 pwritev read
    readlink readlinkat readv recvmsg restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn
    rt_sigsuspend rt_sigtimedwait sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam
    sched_getscheduler sched_yield select sendfile set_robust_list set_tid_address setitimer setrlimit sigaltstack stat
    statfs statx sysinfo time times umask uname wait4 waitid write writev
"""
FOLDER = "mkdir mkdirat rename renameat renameat2 rmdir unlink unlinkat"
"""Where Landlock holds them to the private folder."""
PROGRAMS = """
    accept accept4 bind execve fork getpeername getsockname getsockopt link linkat listen memfd_create recvfrom
    setsockopt shutdown symlink symlinkat vfork
"""
"""What a program needs that is started on purpose. It connects to nobody: sockets of the machine are files too."""
REFUSED = """
    accept accept4 bind bpf chmod chown connect execve execveat fchmod fchmodat fchown fchownat fork fsetxattr
    lchown link linkat listen lsetxattr mount process_vm_readv process_vm_writev ptrace sendmsg sendto setns
    setxattr symlink symlinkat unshare utimensat utimes vfork
"""

AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
X32_CALLS = 0x40000000  # another table of calls, behind the same architecture on x86_64
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # linux/bpf_common.h
ALLOW, FAIL, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
SET_MODE_FILTER, ALL_THREADS = 1, 1

CLONE_THREAD = 0x00010000
CLONE_NEW = 0x7E020000  # all namespaces that clone can make
AF_UNIX = 1
HARMLESS_IOCTLS = (0x5401, 0x5450, 0x5451, 0x541B)  # TCGETS, FIONCLEX, FIOCLEX, FIONREAD
HARMLESS_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1034)
"""Copies, flags, locks and seals (linux/fcntl.h). Without F_SETOWN, by which a file sends signals to any process."""
NAMING = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
TRUNCATING_OPENS = os.O_ACCMODE | os.O_TRUNC
WRITING_OPENS = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | 0o20000000  # O_TMPFILE without O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Only:
    """A call is allowed while its argument number `index`, seen through `mask`, is one of `values`."""

    index: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


def restrict_calls(*, writing: bool = False, programs: bool = False, signals: bool = False) -> None:
    """Puts the filter on every thread of this process, for good.

    Args:
        writing: files may be opened for writing and named; what restricts where is Landlock.
        programs: other programs may be started; what restricts which is Landlock.
        signals: signals may be sent; what restricts to whom is Landlock. Otherwise to this process only.

    Raises:
        OSError: this kernel has no filters, or this machine's calls are not described here.
    """
    machine = os.uname().machine
    known = numbers(machine)
    if not known or machine not in AUDIT_ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"the system calls of {machine} are not known here")
    code = _program(AUDIT_ARCHITECTURES[machine], known, *_rules(writing=writing, programs=programs, signals=signals))
    instructions = ctypes.create_string_buffer(code)
    head = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    no_new_privileges()
    system_call(known["seccomp"], SET_MODE_FILTER, ALL_THREADS, ctypes.create_string_buffer(head))


def _rules(*, writing: bool, programs: bool, signals: bool) -> tuple[list[str], Mapping[str, Only]]:
    """Calls that are allowed, and calls that are allowed with some arguments."""
    own = os.getpid()
    rules = {
        "fcntl": Only(1, HARMLESS_FCNTLS),
        "ioctl": Only(1, HARMLESS_IOCTLS),
        "prctl": Only(0, NAMING),
        "prlimit64": Only(0, (0, own)),
        "kill": Only(0, (own,)),
        "tgkill": Only(0, (own,)),
        "clone": Only(0, (CLONE_THREAD,), CLONE_THREAD | CLONE_NEW),
        "openat": Only(2, (0,), WRITING_OPENS),
    }
    if writing:  # anything but emptying a file that is only opened for reading, which Landlock misses before Linux 6.2
        opens = (0, 1, 2, 3, os.O_TRUNC | 1, os.O_TRUNC | 2, os.O_TRUNC | 3)
        rules["openat"] = Only(2, opens, TRUNCATING_OPENS)
    if programs:
        rules |= {
            "clone": Only(0, (0,), CLONE_NEW),
            "socket": Only(0, (AF_UNIX,)),
            "socketpair": Only(0, (AF_UNIX,)),
            "prlimit64": Only(0, (0,)),
        }
    names = [*ALWAYS.split(), *(FOLDER.split() if writing else ()), *(PROGRAMS.split() if programs else ())]
    if signals:
        names += [each for each in ("kill", "tgkill") if rules.pop(each)]
    return names, rules


def _program(architecture: int, known: Mapping[str, int], allowed: Iterable[str], rules: Mapping[str, Only]) -> bytes:
    """struct sock_filter[n]: looks the call up from top to bottom, the most specific rules first."""
    code = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32_CALLS),
        (RETURN, 0, 0, FAIL | errno.ENOSYS),
    ]
    allowed = set(allowed) - rules.keys()
    for name in sorted(allowed & known.keys()):
        code += [(EQUAL, 0, 1, known[name]), (RETURN, 0, 0, ALLOW)]
    for name in sorted(rules.keys() & known.keys()):
        body = _checks(rules[name])
        code += [(EQUAL, 0, len(body), known[name]), *body]
    for name in sorted(({*REFUSED.split(), "socket", "socketpair"}) & known.keys() - allowed - rules.keys()):
        code += [(EQUAL, 0, 1, known[name]), (RETURN, 0, 0, FAIL | errno.EPERM)]
    code.append((RETURN, 0, 0, FAIL | errno.ENOSYS))
    return b"".join(struct.pack("HBBI", *each) for each in code)


def _checks(rule: Only) -> list[tuple[int, int, int, int]]:
    """The lower half of the argument: all that the kernel looks at in those that are ruled here."""
    body = [(LOAD, 0, 0, ARGUMENTS + 8 * rule.index), (AND, 0, 0, rule.mask)]
    for value in rule.values:
        body += [(EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW)]
    return [*body, (RETURN, 0, 0, FAIL | errno.EPERM)]
