"""What a decoding process may not do: much memory, much time, files, other processes."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

MIB = 1024 * 1024
OPEN_FILES = 32
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def limit(memory_mb: int, cpu_seconds: int) -> None:
    """Bind this process for good: address space, processor time, no core, no file written."""
    bounds = {
        resource.RLIMIT_AS: memory_mb * MIB,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for what, most in bounds.items():
        resource.setrlimit(what, (most, most))
    # At the first it dies of SIGXCPU, which says why; at the second nothing can hold it.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))


def die_with(parent: int) -> None:
    """Be killed when process `parent`, that forked this one, ends (Linux: prctl(2))."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
