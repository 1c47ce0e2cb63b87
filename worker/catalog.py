"""What the operator's commands have made in the database, as PostgreSQL describes it.

Two looks at it, before and after, say what a command changed. Access lists are
sorted: to take a right away and to give it again changes their order.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from argosy.settings import FleetSettings
from worker.logins import FLEET_ROLE, OBSERVER_ROLE, login_of

Catalog = Mapping[str, str]
"""A thing, such as `policy argosy_select`, and all that is said of it."""

_QUERIES = {
    "schema": "SELECT nspname, (SELECT string_agg(acl::text, ' ' ORDER BY acl::text) "
    "FROM unnest(nspacl) AS acl) FROM pg_namespace WHERE nspname = 'argosy'",
    "table": "SELECT c.relname, concat_ws(' | ', "
    "(SELECT string_agg(acl::text, ' ' ORDER BY acl::text) "
    "FROM unnest(coalesce(c.relacl, acldefault('r', c.relowner))) AS acl), "
    "(SELECT string_agg(a.attname || a.attacl::text, ' ' ORDER BY a.attnum) FROM pg_attribute a "
    "WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL AND a.attacl <> '{}')) "
    "FROM pg_class c WHERE c.relnamespace = to_regnamespace('argosy') AND c.relkind = 'r'",
    "view": "SELECT c.relname, concat_ws(' | ', pg_get_viewdef(c.oid), "
    "(SELECT string_agg(acl::text, ' ' ORDER BY acl::text) "
    "FROM unnest(coalesce(c.relacl, acldefault('r', c.relowner))) AS acl)) "
    "FROM pg_class c WHERE c.relnamespace = to_regnamespace('argosy') AND c.relkind = 'v'",
    "trigger": "SELECT t.tgname || ' on ' || t.tgrelid::regclass, "
    "concat_ws(' | ', pg_get_triggerdef(t.oid), t.tgenabled) "
    "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "WHERE c.relnamespace = to_regnamespace('argosy') AND NOT t.tgisinternal",
    "function": "SELECT p.oid::regprocedure::text, concat_ws(' | ', pg_get_functiondef(p.oid), "
    "(SELECT string_agg(acl::text, ' ' ORDER BY acl::text) "
    "FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl)) "
    "FROM pg_proc p WHERE p.pronamespace = to_regnamespace('argosy') AND p.prokind <> 'a'",
    "policy": "SELECT policyname || ' on ' || schemaname || '.' || tablename, "
    "concat_ws(' | ', permissive, cmd, roles::text, qual, with_check) FROM pg_policies "
    "WHERE starts_with(policyname, 'argosy_')",
    "row-level security of": "SELECT c.oid::regclass::text, c.relrowsecurity::text "
    "FROM pg_class c WHERE c.relnamespace = to_regnamespace('storage') "
    "AND c.relname IN ('objects', 's3_multipart_uploads', 's3_multipart_uploads_parts')",
    "role": "SELECT r.rolname, concat_ws(' | ', r.rolcanlogin, r.rolbypassrls, "
    "array_agg(m.roleid::regrole::text ORDER BY m.roleid)) FROM pg_roles r "
    "LEFT JOIN pg_auth_members m ON m.member = r.oid "
    "WHERE r.rolname IN (:fleet, :observer, :login) "
    "GROUP BY r.rolname, r.rolcanlogin, r.rolbypassrls",
}
_TABLES = {
    "migration": ("alembic_version", "SELECT version_num, '' FROM argosy.alembic_version"),
    "bucket row": ("buckets", "SELECT name, retention_days::text FROM argosy.buckets"),
}


def look(connection: Connection, settings: FleetSettings) -> Catalog:
    """Describe what is there now."""
    login = login_of(settings.database_url, settings)
    roles = {"fleet": FLEET_ROLE, "observer": OBSERVER_ROLE, "login": login}
    found: dict[str, str] = {}
    for kind, query in _QUERIES.items():
        found |= _described(connection, kind, query, roles if kind == "role" else {})
    for kind, (table, query) in _TABLES.items():
        if connection.scalar(text(f"SELECT to_regclass('argosy.{table}')")):
            found |= _described(connection, kind, query, {})
    return found


def _described(
    connection: Connection, kind: str, query: str, roles: dict[str, str]
) -> dict[str, str]:
    rows = connection.execute(text(query), roles)
    return {f"{kind} {name}": str(described) for name, described in rows}


def changes(before: Catalog, after: Catalog) -> list[str]:
    """What differs, a line each."""
    made = [f"{thing}: made" for thing in after if thing not in before]
    gone = [f"{thing}: removed" for thing in before if thing not in after]
    other = [
        f"{thing}: changed" for thing in after if thing in before and before[thing] != after[thing]
    ]
    return sorted([*made, *gone, *other])
