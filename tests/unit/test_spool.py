"""The spool: nothing leads out of it, whatever is swapped, and only real files are read."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy.errors import (
    DestinationError,
    DestinationExists,
    DestinationOutsideSpool,
    DestinationUnwritable,
    DiskFull,
    Error,
    SourceChanged,
    SourceError,
    SourceMissing,
    SourceNotAFile,
    SourceOutsideSpool,
    SourceUnreadable,
)
from argosy.files import write_at
from argosy.storage.body import read_range
from tasks import spool as spool_module
from tasks.spool import Partial, Spool

NOBODY = 65534


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "spool"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def spool(root: Path) -> Spool:
    return Spool((root,))


def read(spool: Spool, path: object) -> bytes:
    with spool.source(str(path)) as source:
        return os.pread(source.fd, source.fingerprint.size, 0)


def opened(root: Path) -> list[Path]:
    """What this process has open of the spool: other files may come and go in other threads."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile, as the list's own is
            links.append(entry.readlink())
    return [link for link in links if link.is_relative_to(root)]


# Reading


def test_a_file_is_read(spool: Spool, root: Path) -> None:
    (root / "file").write_bytes(b"content")
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "file").write_bytes(b"deeper")
    assert read(spool, root / "file") == b"content"
    assert read(spool, root / "deep" / "er" / "file") == b"deeper"


def test_every_root_is_a_spool(root: Path, tmp_path: Path) -> None:
    (root / "one").write_bytes(b"1")
    spool = Spool((root, tmp_path.resolve() / "outside"))
    assert read(spool, root / "one") == b"1"
    assert read(spool, tmp_path.resolve() / "outside" / "secret") == b"secret"


OUTSIDE = [
    "/etc/passwd",
    "/",
    "",
    "relative",
    "{root}",
    "{root}/",
    "{root}/.",
    "{root}/..",
    "{root}/../outside/secret",
    "{root}/folder/../file",
    "{root}/./../outside/secret",
    "{root}x/file",
    "{root}/a\0b",
    "/{root}/file",
]


@pytest.mark.parametrize("path", OUTSIDE, ids=ascii)
def test_a_path_outside(spool: Spool, root: Path, path: str) -> None:
    (root / "file").write_bytes(b"content")
    (root / "folder").mkdir()
    given = path.format(root=root)
    with pytest.raises(SourceOutsideSpool), spool.source(given):
        pass
    with pytest.raises(DestinationOutsideSpool), spool.destination(given):
        pass


@given(parts=st.lists(st.sampled_from(["..", ".", "link", "outside", "secret", "file", "folder"])))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_no_path_reads_what_is_outside(spool: Spool, root: Path, parts: list[str]) -> None:
    if not (root / "link").is_symlink():
        (root / "folder").mkdir()
        (root / "file").write_bytes(b"inside")
        (root / "link").symlink_to("../outside")
        (root / "secret").symlink_to("../outside/secret")
        (root / "folder" / "link").symlink_to(root.parent / "outside")
    with suppress(SourceError):
        assert read(spool, "/".join([str(root), *parts])) == b"inside"


def test_the_folder_itself(spool: Spool, root: Path) -> None:
    with pytest.raises(SourceOutsideSpool, match="name a file in it"), spool.source(str(root)):
        pass


def test_links_are_not_followed(spool: Spool, root: Path) -> None:
    (root / "file").write_bytes(b"inside")
    (root / "link").symlink_to(root / "file")
    (root / "folder").symlink_to(root)
    (root / "dangling").symlink_to(root / "nowhere")
    for path in (root / "link", root / "folder" / "file", root / "dangling"):
        with pytest.raises(SourceOutsideSpool):
            read(spool, path)


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _device(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root makes device nodes")
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))


@pytest.mark.parametrize("make", [_directory, _fifo, _socket, _device])
def test_what_is_no_file(spool: Spool, root: Path, make: Callable[[Path], None]) -> None:
    make(root / "it")
    with pytest.raises(SourceNotAFile):
        read(spool, root / "it")
    assert opened(root) == []


def test_a_file_that_hides_its_size() -> None:
    process = Path("/proc") / str(os.getpid())
    with pytest.raises(SourceNotAFile, match="give a copy of it"):
        read(Spool((process,)), process / "status")


def test_a_fifo_with_a_writer_does_not_block(spool: Spool, root: Path) -> None:
    os.mkfifo(root / "pipe")
    writer = os.open(root / "pipe", os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(SourceNotAFile):
            read(spool, root / "pipe")
    finally:
        os.close(writer)


def test_what_is_not_there(spool: Spool, root: Path) -> None:
    for path in (root / "missing", root / "no" / "folder"):
        with pytest.raises(SourceMissing):
            read(spool, path)


def test_a_name_that_no_disk_takes(spool: Spool, root: Path) -> None:
    with pytest.raises(SourceUnreadable):
        read(spool, root / ("n" * 256))


def test_a_spool_that_is_gone(tmp_path: Path) -> None:
    spool = Spool((tmp_path.resolve() / "gone",))
    with pytest.raises(SourceMissing):
        read(spool, tmp_path.resolve() / "gone" / "file")


def as_nobody(check: Callable[[], None]) -> None:
    """Run `check` in a child that no longer is root."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.fixture
def open_root(root: Path) -> Iterator[Path]:
    """The spool, where nobody may walk to it."""
    changed = []
    for folder in (root, *root.parents):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if os.geteuid() == 0 and not mode & 0o001:
            folder.chmod(mode | 0o005)
            changed.append((folder, mode))
    yield root
    for folder, mode in changed:
        folder.chmod(mode)


def test_an_unreadable_file(spool: Spool, open_root: Path) -> None:
    (open_root / "file").write_bytes(b"not for you")
    (open_root / "file").chmod(0)

    def check() -> None:
        with pytest.raises(SourceUnreadable, match="Permission denied"):
            read(spool, open_root / "file")

    as_nobody(check)


def test_an_unreadable_folder(spool: Spool, open_root: Path) -> None:
    (open_root / "folder").mkdir()
    (open_root / "folder" / "file").write_bytes(b"not for you")
    (open_root / "folder").chmod(0)

    def check() -> None:
        with pytest.raises(SourceUnreadable):
            read(spool, open_root / "folder" / "file")

    try:
        as_nobody(check)
    finally:
        (open_root / "folder").chmod(0o700)


def test_an_unwritable_folder(spool: Spool, open_root: Path) -> None:
    (open_root / "folder").mkdir()
    (open_root / "folder").chmod(0o555)

    def check() -> None:
        with pytest.raises(DestinationUnwritable, match="Permission denied"):
            Partial(spool, str(open_root / "folder" / "new"), "id").create(10)

    as_nobody(check)


# Changes


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _cut(path: Path) -> None:
    os.truncate(path, 3)


def _rewrite_in_secret(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"CONTENT")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [_append, _cut, _rewrite_in_secret]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_read(
    spool: Spool, root: Path, change: Callable[[Path], None]
) -> None:
    (root / "file").write_bytes(b"content")
    with pytest.raises(SourceChanged), spool.source(str(root / "file")):
        change(root / "file")


def test_an_empty_file_that_grows(spool: Spool, root: Path) -> None:
    (root / "file").touch()
    assert read(spool, root / "file") == b""
    with pytest.raises(SourceChanged), spool.source(str(root / "file")):
        _append(root / "file")


def test_a_file_that_is_cut_while_it_is_read(spool: Spool, root: Path) -> None:
    path = root / "file"
    path.write_bytes(b"x" * 100)
    with pytest.raises(SourceChanged) as caught, spool.source(str(path)) as source:
        os.truncate(path, 50)
        list(read_range(source.fd, 0, 100))
    assert str(path) in caught.value.message
    assert "upload it again" in caught.value.message


def test_a_disk_that_fails_while_it_is_read(
    spool: Spool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "file"
    path.write_bytes(b"x" * 100)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(SourceUnreadable) as caught, spool.source(str(path)) as source:
        list(read_range(source.fd, 0, 100))
    assert caught.value.message == (
        f"{path}: reading the file failed at byte 0: [Errno 5] Input/output error."
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_between_two_reads(
    spool: Spool, root: Path, change: Callable[[Path], None]
) -> None:
    (root / "file").write_bytes(b"content")
    with spool.source(str(root / "file")) as source:
        seen = source.fingerprint.document()
    with spool.source(str(root / "file"), seen):
        pass
    change(root / "file")
    with pytest.raises(SourceChanged), spool.source(str(root / "file"), seen):
        pass


def test_a_file_replaced_by_its_copy(spool: Spool, root: Path) -> None:
    (root / "file").write_bytes(b"content")
    with spool.source(str(root / "file")) as source:
        seen = source.fingerprint.document()
    (root / "copy").write_bytes(b"content")
    (root / "copy").replace(root / "file")
    with pytest.raises(SourceChanged), spool.source(str(root / "file"), seen):
        pass


def test_a_write_within_a_tick_of_the_clock_is_seen(spool: Spool, root: Path) -> None:
    """The kernel stamps files with a coarse clock: two writes can look like one."""
    path = root / "file"
    for _ in range(5):
        path.write_bytes(b"content")
        with pytest.raises(SourceChanged), spool.source(str(path)):
            _rewrite_in_secret(path)


def test_reading_it_is_no_change(spool: Spool, root: Path) -> None:
    (root / "file").write_bytes(b"content")
    with spool.source(str(root / "file")):
        assert (root / "file").read_bytes() == b"content"
        os.utime(root, None)


def test_the_error_of_the_reader_is_not_hidden(spool: Spool, root: Path) -> None:
    (root / "file").write_bytes(b"content")
    with pytest.raises(ZeroDivisionError), spool.source(str(root / "file")):
        raise ZeroDivisionError
    assert opened(root) == []


# Races


def test_a_folder_swapped_for_a_link_again_and_again(spool: Spool, root: Path) -> None:
    """However the swaps fall, what is outside is never read."""
    real, folder = root / "real", root / "folder"
    real.mkdir()
    (real / "secret").write_bytes(b"inside")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            real.rename(folder)
            folder.rename(real)
            folder.symlink_to(root.parent / "outside")
            folder.unlink()

    swapper = threading.Thread(target=swap)
    swapper.start()
    found = set()
    try:
        for _ in range(1500):
            try:
                found.add(read(spool, root / "folder" / "secret"))
            except (SourceMissing, SourceOutsideSpool):
                continue
    finally:
        done.set()
        swapper.join()
    assert found <= {b"inside"}
    assert opened(root) == []


def test_a_folder_swapped_after_the_walk(spool: Spool, root: Path) -> None:
    """The open folder is what counts, not its name."""
    (root / "folder").mkdir()
    with spool.destination(str(root / "folder" / "new")) as (folder, name):
        (root / "folder").rename(root / "moved")
        (root / "folder").symlink_to(root.parent / "outside")
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    assert (root / "moved" / "new").exists()
    assert not (root.parent / "outside" / "new").exists()


# Writing


@pytest.fixture
def partial(spool: Spool, root: Path) -> Partial:
    return Partial(spool, str(root / "new"), "an-id")


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def fill(partial: Partial, content: bytes) -> None:
    partial.create(len(content))
    with partial.open() as fd:
        write_at(fd, content, 0)


def test_a_download_from_beginning_to_end(partial: Partial, root: Path) -> None:
    partial.create(7)
    assert names(root) == [".argosy-an-id.part"]
    assert (root / ".argosy-an-id.part").stat().st_size == 7
    with partial.open() as fd:
        write_at(fd, b"tent", 3)
        write_at(fd, b"con", 0)
    assert not (root / "new").exists()
    with partial.open_whole() as fd:
        assert os.pread(fd, 100, 0) == b"content"
    partial.publish()
    assert names(root) == ["new"]
    assert (root / "new").read_bytes() == b"content"


def test_publishing_twice_is_publishing_once(partial: Partial, root: Path) -> None:
    fill(partial, b"content")
    partial.publish()
    partial.publish()
    with partial.open_whole() as fd:
        assert os.pread(fd, 100, 0) == b"content"
    assert names(root) == ["new"]


def test_publishing_is_finished_after_a_crash_in_the_middle(partial: Partial, root: Path) -> None:
    fill(partial, b"content")
    os.link(root / ".argosy-an-id.part", root / "new")
    partial.publish()
    assert names(root) == ["new"]


def test_nothing_is_overwritten(partial: Partial, root: Path) -> None:
    fill(partial, b"content")
    (root / "new").write_bytes(b"faster")
    with pytest.raises(DestinationExists):
        partial.publish()
    assert (root / "new").read_bytes() == b"faster"
    partial.remove()
    partial.remove()
    assert names(root) == ["new"]


@pytest.mark.parametrize("kind", ["file", "folder", "link", "fifo"])
def test_a_name_that_is_taken(partial: Partial, root: Path, kind: str) -> None:
    make: dict[str, Callable[[], object]] = {
        "file": lambda: (root / "new").write_bytes(b""),
        "folder": (root / "new").mkdir,
        "link": lambda: (root / "new").symlink_to(root / "nowhere"),
        "fifo": lambda: os.mkfifo(root / "new"),
    }
    make[kind]()
    with pytest.raises(DestinationExists):
        partial.create(10)
    assert names(root) == ["new"]


def test_beginning_again_keeps_what_another_worker_wrote(partial: Partial, root: Path) -> None:
    fill(partial, b"content")
    partial.create(7)
    assert (root / ".argosy-an-id.part").read_bytes() == b"content"


def test_a_partial_file_that_is_a_link_is_not_written(partial: Partial, root: Path) -> None:
    target = root.parent / "outside" / "secret"
    (root / ".argosy-an-id.part").symlink_to(target)
    with pytest.raises(DestinationOutsideSpool):
        partial.create(10)
    with pytest.raises(DestinationOutsideSpool), partial.open():
        pass
    partial.remove()
    assert target.read_bytes() == b"secret"
    assert names(root) == []


def test_a_missing_folder(spool: Spool, root: Path) -> None:
    partial = Partial(spool, str(root / "no" / "new"), "id")
    with pytest.raises(DestinationUnwritable):
        partial.create(10)
    with pytest.raises(DestinationUnwritable):
        partial.remove()
    assert names(root) == []


FULL: list[tuple[int, type[Error]]] = [
    (errno.ENOSPC, DiskFull),
    (errno.EDQUOT, DiskFull),
    (errno.EFBIG, DiskFull),
    (errno.EIO, DestinationUnwritable),
    (errno.EROFS, DestinationUnwritable),
]


@pytest.mark.parametrize(("number", "kind"), FULL, ids=str)
def test_a_disk_that_refuses(
    partial: Partial,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[DestinationError],
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    partial.create(10)
    with pytest.raises(kind), partial.open() as fd:
        monkeypatch.setattr(spool_module.os, "pwrite", refuse)
        write_at(fd, b"content", 0)
    partial.remove()
    monkeypatch.setattr(spool_module.os, "posix_fallocate", refuse)
    with pytest.raises(kind):
        partial.create(10)
    assert names(root) == []
    assert opened(root) == []


def test_a_file_larger_than_any_disk(partial: Partial, root: Path) -> None:
    with pytest.raises(DiskFull):
        partial.create(2**62)
    assert names(root) == []


def test_an_empty_file(partial: Partial, root: Path) -> None:
    partial.create(0)
    partial.publish()
    assert (root / "new").read_bytes() == b""


def test_a_block_is_written_whole(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may take less than it was given."""
    real = os.pwrite
    monkeypatch.setattr(spool_module.os, "pwrite", lambda fd, view, at: real(fd, view[:3], at))
    fd = os.open(root / "file", os.O_RDWR | os.O_CREAT)
    try:
        write_at(fd, b"0123456789", 5)
        assert os.pread(fd, 100, 5) == b"0123456789"
    finally:
        os.close(fd)
