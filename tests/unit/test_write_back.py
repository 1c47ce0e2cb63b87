from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from errno import ENOSYS, EOPNOTSUPP
from pathlib import Path

import pytest

from argosy.write_back import begin_write_back

CACHESTAT = 451
"""Number of the system call, the same on every processor; Linux 6.5."""
MIB = 1024 * 1024

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a call that only Linux has")


class _Range(ctypes.Structure):
    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _Stat(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint64) for name in ("cache", "dirty", "writeback", "evicted", "recently")
    )


def dirty_pages(fd: int, offset: int, length: int) -> int:
    libc, found = ctypes.CDLL(None, use_errno=True), _Stat()
    wanted = _Range(offset, length)
    if libc.syscall(CACHESTAT, fd, ctypes.byref(wanted), ctypes.byref(found), 0):
        if ctypes.get_errno() in (ENOSYS, EOPNOTSUPP):
            pytest.skip("this kernel does not tell what of a file is still to be written")
        raise OSError(ctypes.get_errno(), "cachestat")
    return int(found.dirty)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[int]:
    """8 MiB that were just written."""
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, os.urandom(8 * MIB), 0)
    yield fd
    os.close(fd)


def test_the_disk_begins_with_a_range(written: int) -> None:
    if not dirty_pages(written, 0, 8 * MIB):
        pytest.skip("this file system writes at once, or never")
    begin_write_back(written, 0, 4 * MIB)
    assert dirty_pages(written, 0, 4 * MIB) == 0


def test_the_bytes_stay_what_they_are(written: int) -> None:
    before = os.pread(written, 8 * MIB, 0)
    begin_write_back(written, MIB, 3 * MIB)
    begin_write_back(written, 0, 0)
    assert os.pread(written, 8 * MIB, 0) == before


def test_it_is_only_a_hint() -> None:
    begin_write_back(-1, 0, 1)
