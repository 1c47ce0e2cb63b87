"""The policies on Storage's tables: ours as deploy/supabase has them, and those of others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

SCRIPT = Path(__file__).resolve().parent.parent / "deploy" / "supabase" / "20_policies.sql"
_CALL = re.compile(r"^SELECT pg_temp\.argosy_policy(\(.*?\));$", re.MULTILINE | re.DOTALL)

_DIFFERING = """
SELECT wanted.name FROM wanted WHERE NOT EXISTS (
    SELECT FROM pg_policy p
    WHERE p.polname = wanted.name AND p.polrelid = wanted.target::regclass AND p.polpermissive
        AND p.polroles = ARRAY['authenticated'::regrole::oid]
        AND p.polcmd = CASE wanted.command
            WHEN 'SELECT' THEN 'r' WHEN 'INSERT' THEN 'a' WHEN 'UPDATE' THEN 'w' ELSE 'd' END
        AND pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM wanted.using_
        AND pg_get_expr(p.polwithcheck, p.polrelid) IS NOT DISTINCT FROM wanted.check_)
"""
_OTHERS = """
SELECT p.polname, p.polrelid::regclass::text, p.polpermissive, p.polcmd::text,
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_policy p
WHERE p.polrelid IN (SELECT target::regclass FROM wanted)
    AND NOT EXISTS (
        SELECT FROM wanted WHERE name = p.polname AND target::regclass = p.polrelid)
    AND EXISTS (
        SELECT FROM unnest(p.polroles) AS role WHERE CASE WHEN role = 0 THEN true
        ELSE pg_has_role('authenticated', role, 'MEMBER') OR pg_has_role('anon', role, 'MEMBER')
        END)
ORDER BY p.polname
"""


@dataclass(frozen=True)
class Policy:
    """Somebody else's policy that an agent or a stranger is under."""

    name: str
    table: str
    permissive: bool
    command: str
    """As pg_policy has it: r, a, w, d or `*`."""
    using: str | None
    check: str | None

    def conditions(self, command: str) -> list[str]:
        """What it asks of a row that `command` (r, a, w or d) reads or writes."""
        if self.command not in ("*", command):
            return []
        before = self.using if command != "a" else None
        after = self.check or self.using if command in "aw" else None
        return [one for one in dict.fromkeys((before, after)) if one]


def differing(connection: Connection | Session) -> set[str]:
    """Names of our policies that are not there, or not as this version has them."""
    return {name for (name,) in _rows(connection, _DIFFERING)}


def others(connection: Connection | Session) -> list[Policy]:
    """Policies of somebody else on the tables that ours are on."""
    return [Policy(*row) for row in _rows(connection, _OTHERS)]


def _rows(connection: Connection | Session, query: str) -> list[tuple[Any, ...]]:
    # pg_get_expr leaves out a schema that is on the search_path.
    connection.execute(text("SET LOCAL search_path = pg_catalog, pg_temp"))
    raw = connection if isinstance(connection, Connection) else connection.connection()
    rows = raw.exec_driver_sql(_wanted() + query, execution_options={"no_parameters": True})
    return [tuple(row) for row in rows]


@cache
def _wanted() -> str:
    """The script's own calls, as the rows of a table."""
    calls = ", ".join(_CALL.findall(SCRIPT.read_text()))
    return f"WITH wanted(name, target, command, using_, check_) AS (VALUES {calls})"
