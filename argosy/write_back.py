"""Has the disk begun with what was written, so that the last `fsync` finds little to do."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_BEGIN = 2
"""SYNC_FILE_RANGE_WRITE: begin to write what is dirty, and wait for nothing."""


def _of_this_system() -> Callable[[int, int, int, int], int] | None:
    """Linux has a call for it, Python none; elsewhere the system writes when it sees fit."""
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_sync_file_range = _of_this_system()


def begin_write_back(fd: int, offset: int, length: int) -> None:
    """Have a range of a file written to the disk from now on.

    It is a hint, so nothing is said where it fails: the `fsync` at the end says so.
    """
    if _sync_file_range and length:  # a length of 0 would mean to the end
        _sync_file_range(fd, offset, length, _BEGIN)
