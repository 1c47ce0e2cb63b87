"""Nothing to open and nowhere to connect to: Linux's Landlock, where the kernel has it.

A decoder that a file takes over can then neither read the worker's memory, environment or
files, nor reach a network: it may only read what Python and PDFium load (code, fonts). Source:
landlock(7) and linux/landlock.h, as of kernel 6.12.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
GIVE_VERSION = 1
RULE_PATH_BENEATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many kinds of access to files the interface's versions know; later ones know 16."""
NETWORK = 0b11
"""To bind and to connect a TCP socket: from version 4."""
SCOPED = 0b11
"""Abstract sockets of others, and signals to them: from version 6."""
FONTS = ("/usr/share/fonts", "/usr/local/share/fonts")


def version() -> int:
    """Of the kernel's interface; less than 1 where it has none."""
    return _call(CREATE_RULESET, None, 0, GIVE_VERSION) if sys.platform == "linux" else 0


def ruleset() -> int | None:
    """A descriptor of the rules; None where the kernel has no Landlock."""
    known = version()
    if known < 1:
        return None
    handled = struct.pack(
        "QQQ",
        (1 << FS_BITS.get(known, 16)) - 1,
        NETWORK if known >= 4 else 0,
        SCOPED if known >= 6 else 0,
    )
    length = 8 if known < 4 else 16 if known < 6 else 24
    rules = _call(CREATE_RULESET, handled, length, 0)
    if rules < 0:
        return None
    for folder in (*sys.path, *FONTS):
        _allow(rules, folder)
    return rules


def confine(rules: int) -> None:
    """Bind this process, and all it may fork, to `rules` (it must have given up privileges)."""
    _call(RESTRICT_SELF, rules, 0, 0)


def _allow(rules: int, folder: str) -> None:
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    access = READ_FILE | READ_DIR if Path(folder).is_dir() else READ_FILE
    _call(ADD_RULE, rules, RULE_PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
