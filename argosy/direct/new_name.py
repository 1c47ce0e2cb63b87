"""A file gets a name that nothing else has, in its folder."""

from __future__ import annotations

import errno
import os
from ctypes import CDLL, get_errno

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without hard links answer: exFAT, and some of FUSE and SMB."""
_RENAME_NOREPLACE = 1


def give_name(old: str, new: str, folder: int) -> None:
    """Give it a name beside the old one, or where that cannot be, instead of it.

    Nothing is ever replaced. Raises FileExistsError, and OSError where neither can be done.
    """
    try:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename(old, new, folder)


def _rename(old: str, new: str, folder: int) -> None:
    """Python's own rename replaces what is there: this one is Linux's."""
    rename = getattr(CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(folder, os.fsencode(old), folder, os.fsencode(new), _RENAME_NOREPLACE):
        raise OSError(get_errno(), os.strerror(get_errno()))
