"""`argosy doctor`: every finding has a cause that a test can make, and goes with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from argosy.settings import FleetSettings
from tests.deployment import AgentInTest, Deployment, remote
from worker.doctor.access import OPERATIONS, Verdict, examine_access
from worker.doctor.checks import CHECKS, examine
from worker.revisions import newest

pytestmark = pytest.mark.skipif(remote(), reason="it breaks the project that it looks at")


def _changed(deployment: Deployment, **changes: Any) -> FleetSettings:
    return deployment.settings.model_copy(update=changes)


def test_a_deployment_that_is_well(deployment: Deployment, agent: AgentInTest) -> None:
    told = json.loads(deployment.run("doctor", agent.name, "--json"))
    assert [check["what"] for check in told["checks"] if not check["well"]] == [
        f"broker user of {agent.name}"  # the tests' agents have none
    ] or all(check["well"] for check in told["checks"])
    assert {check["what"] for check in told["checks"]} >= CHECKS.keys()
    assert [one["operation"] for one in told["access"]] == list(OPERATIONS)
    assert all(one["allowed"] for one in told["access"])


@pytest.fixture
def late_clock() -> Iterator[str]:
    """A Supabase whose clock is an hour late."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def date_time_string(self, timestamp: float | None = None) -> str:
            import time

            return super().date_time_string(time.time() - 3600)

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def other_answers(request: pytest.FixtureRequest) -> Iterator[str]:
    """A Supabase that says this date and this document."""
    date, document = request.param

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            if date is not None:
                self.send_header("date", date)
            self.send_header("content-length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ODD_DATES = [(None, b"{}"), ("", b"{}"), ("yesterday", b"{}"), ("Mon, 99 Jan 2026 99:00", b"{}")]


@pytest.mark.parametrize("other_answers", ODD_DATES, indirect=True)
def test_an_answer_without_the_time(deployment: Deployment, other_answers: str) -> None:
    found = examine("clocks", _changed(deployment, supabase_url=other_answers))
    assert (found.well, found.said) == (False, "Supabase's answer does not say the time")


LATE = [("Mon, 05 Jan 2026 10:00:00 -0000", b"{}")]


@pytest.mark.parametrize("other_answers", LATE, indirect=True)
def test_a_time_without_a_zone(deployment: Deployment, other_answers: str) -> None:
    found = examine("clocks", _changed(deployment, supabase_url=other_answers))
    assert "apart" in found.said


OPEN_DOORS = [(None, b'{"disable_signup": false}'), (None, b"{}"), (None, b"[]"), (None, b"<html>")]


@pytest.mark.parametrize("other_answers", OPEN_DOORS, indirect=True)
def test_strangers_who_may_sign_up(deployment: Deployment, other_answers: str) -> None:
    assert examine("sign-ups", deployment.settings).well
    found = examine("sign-ups", _changed(deployment, supabase_url=other_answers))
    assert not found.well
    assert found.advice


def _wrong_user(url: str) -> str:
    return url.replace("://", "://nobody-", 1)


UNWELL = {
    "database": (lambda d: {"database_url": d.settings.operator_url}, "owns the audit"),
    "buckets": (lambda d: {"bucket_size_limit": 10**8}, "limit"),
    "service key": (
        lambda d: {"supabase_service_role_key": SecretStr("wrong")},
        "service key",
    ),
    "signing key": (lambda d: {"supabase_jwt_secret": SecretStr("wrong" * 10)}, ""),
    "broker": (lambda d: {"broker_url": _wrong_user(d.settings.broker_url)}, ""),
    "results": (lambda d: {"result_url": _wrong_user(d.settings.result_url)}, ""),
    "beat": (lambda d: {"resume_seconds": 1e-9}, "transfer.resume last ran"),
    "spool": (lambda d: {"spool": (Path("/nowhere"),)}, "/nowhere"),
}


@pytest.mark.parametrize("what", UNWELL)
def test_settings_that_are_wrong(deployment: Deployment, what: str) -> None:
    changes, said = UNWELL[what]
    assert examine(what, deployment.settings).well
    found = examine(what, _changed(deployment, **changes(deployment)))
    assert not found.well
    assert said in found.said
    assert found.advice


def test_clocks_that_are_apart(deployment: Deployment, late_clock: str) -> None:
    found = examine("clocks", _changed(deployment, supabase_url=late_clock))
    assert not found.well
    assert "clocks are 3" in found.said


@pytest.fixture
def broken(deployment: Deployment) -> Iterator[Deployment]:
    """To be broken; bootstrap puts it right afterwards."""
    yield deployment
    deployment.run("bootstrap")


def _execute(deployment: Deployment, statement: str) -> None:
    deployment.transact(lambda session: session.execute(text(statement)))


def test_a_policy_that_is_missing(broken: Deployment, agent: AgentInTest) -> None:
    _execute(broken, "DROP POLICY argosy_delete ON storage.objects")
    found = examine("policies", broken.settings)
    assert not found.well
    assert "argosy_delete" in found.said
    [delete] = [v for v in _verdicts(broken, agent, f"{agent.id}/x") if v.operation == "delete"]
    assert not delete.allowed
    assert "bootstrap" in delete.missing


def test_a_function_that_decides_otherwise(broken: Deployment, agent: AgentInTest) -> None:
    _execute(
        broken,
        "CREATE OR REPLACE FUNCTION argosy.can_read(bucket text, object_name text) "
        "RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    )
    assert not examine("policies", broken.settings).well
    [read] = [v for v in _verdicts(broken, agent, "other/x") if v.operation == "read"]
    assert not read.allowed
    assert "decides otherwise" in read.missing


def test_a_policy_of_somebody_else(deployment: Deployment) -> None:
    _execute(deployment, "CREATE POLICY lax ON storage.objects FOR SELECT USING (true)")
    try:
        found = examine("other policies", deployment.settings)
    finally:
        _execute(deployment, "DROP POLICY lax ON storage.objects")
    assert not found.well
    assert "lax" in found.said


OPEN = {
    "a policy by our prefix": (
        "CREATE POLICY argosy_backdoor ON storage.objects FOR SELECT USING (true)",
        "DROP POLICY argosy_backdoor ON storage.objects",
        "other policies",
        "may open the fleet's buckets: argosy_backdoor on storage.objects",
    ),
    "our name on another table": (
        "CREATE POLICY argosy_select ON storage.s3_multipart_uploads FOR SELECT USING (true)",
        "DROP POLICY argosy_select ON storage.s3_multipart_uploads",
        "other policies",
        "argosy_select on storage.s3_multipart_uploads",
    ),
    "parts of everybody": (
        "CREATE POLICY lax ON storage.s3_multipart_uploads_parts FOR SELECT "
        "TO authenticated USING (true)",
        "DROP POLICY lax ON storage.s3_multipart_uploads_parts",
        "other policies",
        "lax on storage.s3_multipart_uploads_parts",
    ),
    "a restrictive policy": (
        "CREATE POLICY never ON storage.objects AS RESTRICTIVE FOR ALL USING (false)",
        "DROP POLICY never ON storage.objects",
        "other policies",
        "may close the fleet's buckets: never on storage.objects",
    ),
    "a fleet that is not bound": (
        "ALTER ROLE fleet BYPASSRLS",
        "ALTER ROLE fleet NOBYPASSRLS",
        "database",
        "row-level security does not bind",
    ),
    "a fleet that may be the service": (
        "GRANT service_role TO fleet",
        "REVOKE service_role FROM fleet",
        "database",
        "can become service_role",
    ),
    "a fleet that makes agents": (
        "GRANT UPDATE (role) ON argosy.agents TO fleet",
        "REVOKE UPDATE (role) ON argosy.agents FROM fleet",
        "database",
        "may change agents",
    ),
    "another bucket": (
        "INSERT INTO argosy.buckets (name) VALUES ('forgotten')",
        "DELETE FROM argosy.buckets WHERE name = 'forgotten'",
        "buckets",
        "argosy.buckets names forgotten",
    ),
    "no row-level security": (
        "ALTER TABLE storage.objects DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE storage.objects ENABLE ROW LEVEL SECURITY",
        "policies",
        "row-level security of storage.objects",
    ),
    "agents who see all grants": (
        "GRANT SELECT ON argosy.grants TO authenticated",
        "REVOKE SELECT ON argosy.grants FROM authenticated",
        "policies",
        "table grants",
    ),
    "an audit that may be changed": (
        "ALTER TABLE argosy.events DISABLE TRIGGER append_only",
        "ALTER TABLE argosy.events ENABLE TRIGGER append_only",
        "policies",
        "trigger append_only",
    ),
    "an older schema": (
        "UPDATE argosy.alembic_version SET version_num = '0002'",
        f"UPDATE argosy.alembic_version SET version_num = '{newest()}'",
        "policies",
        "the schema is at revision 0002",
    ),
    "a newer schema": (
        "UPDATE argosy.alembic_version SET version_num = '9999'",
        f"UPDATE argosy.alembic_version SET version_num = '{newest()}'",
        "policies",
        "revision 9999, which this version of Argosy does not know",
    ),
}


@pytest.mark.parametrize("case", OPEN)
def test_what_is_wide_open_is_found(deployment: Deployment, case: str) -> None:
    make, undo, what, said = OPEN[case]
    _execute(deployment, make)
    try:
        found = examine(what, deployment.settings)
    finally:
        _execute(deployment, undo)
    assert not found.well
    assert said in found.said
    assert examine(what, deployment.settings).well


def test_a_policy_that_says_otherwise(broken: Deployment, agent: AgentInTest) -> None:
    _execute(broken, "ALTER POLICY argosy_select ON storage.objects USING (false)")
    verdicts = {one.operation: one for one in _verdicts(broken, agent, f"{agent.id}/x")}
    assert {name for name, one in verdicts.items() if one.allowed} == {"write"}
    assert "argosy_select lacks or differs: run `argosy bootstrap`" in verdicts["read"].missing


def test_our_policy_on_another_table_is_not_ours(broken: Deployment, agent: AgentInTest) -> None:
    _execute(
        broken,
        "DROP POLICY argosy_delete ON storage.objects; "
        "CREATE POLICY argosy_delete ON storage.s3_multipart_uploads FOR DELETE USING (false)",
    )
    try:
        [delete] = [v for v in _verdicts(broken, agent, f"{agent.id}/x") if v.operation == "delete"]
    finally:
        _execute(broken, "DROP POLICY argosy_delete ON storage.s3_multipart_uploads")
    assert not delete.allowed


RESTRICTIVE = {
    "another bucket's": ("FOR ALL USING (bucket_id <> 'x%y' OR name = 'a:b')", set[str]()),
    "deletions": ("FOR DELETE USING (bucket_id = 'other')", {"delete"}),
    "by name": ("FOR SELECT USING (objects.name LIKE '%.pdf')", set(OPERATIONS) - {"write"}),
    "one that fails": (
        "FOR INSERT WITH CHECK (1 / length('') > 0)",
        {"write", "upsert", "multipart"},
    ),
}


@pytest.mark.parametrize("case", RESTRICTIVE)
def test_restrictive_policies_of_others(
    deployment: Deployment, agent: AgentInTest, case: str
) -> None:
    rule, forbidden = RESTRICTIVE[case]
    _execute(deployment, f"CREATE POLICY theirs ON storage.objects AS RESTRICTIVE {rule}")
    try:
        verdicts = _verdicts(deployment, agent, f"{agent.id}/x")
    finally:
        _execute(deployment, "DROP POLICY theirs ON storage.objects")
    assert {one.operation for one in verdicts if not one.allowed} == forbidden
    for one in verdicts:
        assert ("restrictive policy forbids it: theirs" in one.missing) is not one.allowed


def _verdicts(deployment: Deployment, agent: AgentInTest, path: str) -> list[Verdict]:
    bucket = deployment.settings.bucket
    return deployment.transact(lambda s: examine_access(s, agent.name, bucket, path))


def _row(deployment: Deployment, statement: str, **values: Any) -> None:
    deployment.transact(lambda session: session.execute(text(statement), values))


GRANT = (
    "INSERT INTO argosy.grants (bucket, path, agent_id, access, granted_by, expires_at) "
    "VALUES ('agent-transfers', :path, :agent, :access, :agent, now() + :ends * interval '1 s')"
)


def test_a_grant_decides(deployment: Deployment, agent: AgentInTest) -> None:
    folder = f"{uuid4()}/"
    _row(deployment, GRANT, path=folder, agent=agent.id, access="read", ends=100)
    verdicts = {one.operation: one for one in _verdicts(deployment, agent, f"{folder}a/b")}
    assert {name for name, one in verdicts.items() if one.allowed} == {"read", "sign", "list"}
    assert verdicts["read"].because.startswith("grant ")
    assert "access='write'" in verdicts["delete"].missing


def test_a_grant_that_ended(deployment: Deployment, agent: AgentInTest) -> None:
    path = f"{uuid4()}/x"
    _row(deployment, GRANT, path=path, agent=agent.id, access="write", ends=-100)
    for verdict in _verdicts(deployment, agent, path):
        assert not verdict.allowed
        assert "a grant ended at" in verdict.missing


def test_an_agent_that_is_disabled(deployment: Deployment, agent: AgentInTest) -> None:
    _row(deployment, "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id", id=agent.id)
    for verdict in _verdicts(deployment, agent, f"{agent.id}/x"):
        assert (verdict.allowed, verdict.because) == (False, "agent is disabled")
        assert verdict.missing == f"`argosy agents enable {agent.name}`"


def test_a_reader(deployment: Deployment) -> None:
    reader = deployment.add_agent("reader")
    verdicts = _verdicts(deployment, reader, f"{reader.id}/x")
    assert {one.operation for one in verdicts if one.allowed} == {"read", "sign", "list"}
