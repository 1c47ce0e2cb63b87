"""Which schema this version of the fleet works with. Light: `argosy ready` runs often.

Each migration says which is the oldest version of the code that works with what it leaves
behind (`OLDEST_CODE`), and the database keeps the newest one's word, as a comment. So a version
that does not know a migration yet knows whether it may go on.
"""

from __future__ import annotations

import re
from pathlib import Path

from worker.finding import Unwell

VERSIONS = Path(__file__).resolve().parent.parent / "alembic" / "versions"
FOUND = (
    "SELECT (SELECT version_num FROM argosy.alembic_version), "
    "obj_description('argosy.alembic_version'::regclass)"
)
"""SQL: the database's revision, and the comment."""
_COMMENT = "works with the code of {} and newer"
_OLDEST = re.compile(_COMMENT.format(r"(\d+)"))


def newest() -> str:
    """The revision that this version of the code brings."""
    return max(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))


def comment(oldest_code: str) -> str:
    """What the database is told."""
    return _COMMENT.format(oldest_code)


def judge(found: str | None, told: str | None) -> str:
    """Say which revision was found. Raises Unwell where this version cannot work with it."""
    ours = newest()
    if found is None:
        raise Unwell("there is no schema argosy", "run `argosy bootstrap`")
    if found < ours:
        raise Unwell(f"the schema is at {found}, and this version needs {ours}", "bootstrap first")
    if found == ours:
        return f"revision {found}"
    oldest = _OLDEST.search(told or "")
    if oldest is None or oldest[1] > ours:
        raise Unwell(
            f"the schema is at {found}, too new for this version, which brings {ours}",
            "run a newer version",
        )
    return f"revision {found}, newer than this version's {ours}, which still works with it"
