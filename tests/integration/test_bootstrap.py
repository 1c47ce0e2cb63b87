"""`argosy bootstrap`: says what it changes, changes it once, and puts right what drifted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from argosy.errors import Error
from argosy.settings import FleetSettings
from local.servers.postgres import Postgres
from local.supabase.schema import apply_schema
from models.database import make_engine
from tests.deployment import Deployment
from worker import schema
from worker.bootstrap import bootstrap, bring_up_database
from worker.catalog import Catalog, look
from worker.revisions import newest
from worker.unready import DatabaseUnready

PASSWORD = "with a space, a % and a ü"


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    yield server
    server.stop()


@contextmanager
def project(postgres: Postgres) -> Iterator[FleetSettings]:
    """A new project's database, and a fleet whose login nobody has made."""
    name = f"project_{uuid4().hex}"
    owner = make_url(postgres.url).set(database=name)
    fleet = owner.set(username=f"fleet_{uuid4().hex[:8]}", password=PASSWORD)
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        apply_schema(owner.render_as_string(hide_password=False))
        yield FleetSettings(
            supabase_url="http://localhost",
            supabase_anon_key="anon",
            broker_url="amqp://localhost",
            result_url="redis://localhost",
            supabase_service_role_key="service",
            supabase_project_ref="local",
            supabase_jwt_secret="secret",
            spool="/spool",
            database_url=fleet.render_as_string(hide_password=False),
            operator_database_url=owner.render_as_string(hide_password=False),
        )
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def settings(postgres: Postgres) -> Iterator[FleetSettings]:
    with project(postgres) as made:
        yield made


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace(" ", "%20"), autocommit=True)


def _relations(settings: FleetSettings) -> int:
    with _connect(settings.operator_url) as connection:
        counted = connection.execute("SELECT count(*) FROM pg_class").fetchone()
    assert counted
    return int(counted[0])


def test_a_dry_run_says_what_the_real_one_does(settings: FleetSettings) -> None:
    before = _relations(settings)
    planned = bring_up_database(settings, dry_run=True)
    assert _relations(settings) == before
    assert bring_up_database(settings) == planned
    assert "policy argosy_select on storage.objects: made" in planned
    assert bring_up_database(settings) == []
    assert bring_up_database(settings, dry_run=True) == []


DRIFT = {
    "a policy that is gone": (
        "DROP POLICY argosy_delete ON storage.objects",
        "policy argosy_delete on storage.objects: made",
    ),
    "a policy that lets everybody in": (
        "ALTER POLICY argosy_select ON storage.objects USING (true)",
        "policy argosy_select on storage.objects: changed",
    ),
    "a policy for strangers": (
        "ALTER POLICY argosy_select ON storage.objects TO anon",
        "policy argosy_select on storage.objects: changed",
    ),
    "a function that says yes": (
        "CREATE OR REPLACE FUNCTION argosy.can_read(bucket text, object_name text) "
        "RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "function argosy.can_read(text,text): changed",
    ),
    "a fleet that may change the audit": (
        "GRANT UPDATE ON argosy.events TO argosy_fleet",
        "table events: changed",
    ),
    "agents who may decide": (
        "GRANT EXECUTE ON FUNCTION argosy.decide(uuid, text, text, text) TO PUBLIC",
        "function argosy.decide(uuid,text,text,text): changed",
    ),
    "a fleet that may change agents": (
        "GRANT UPDATE ON argosy.agents TO argosy_fleet",
        "table agents: changed",
    ),
    "a fleet that may change one column of them": (
        "GRANT UPDATE (role) ON argosy.agents TO argosy_fleet",
        "table agents: changed",
    ),
    "a fleet that may make tables": (
        "GRANT CREATE ON SCHEMA argosy TO argosy_fleet",
        "schema argosy: changed",
    ),
    "agents who see the grants": (
        "GRANT SELECT ON argosy.grants TO authenticated",
        "table grants: changed",
    ),
    "strangers who see the past": (
        "GRANT SELECT ON argosy.transfer_history TO anon",
        "view transfer_history: changed",
    ),
    "a fleet that sees what is for operators": (
        "GRANT SELECT ON argosy.failures_by_reason TO argosy_fleet",
        "view failures_by_reason: changed",
    ),
    "an observer who sees a table": (
        "GRANT SELECT ON argosy.transfers TO argosy_observer",
        "table transfers: changed",
    ),
    "an observer that row-level security does not bind": (
        "ALTER ROLE argosy_observer BYPASSRLS",
        "role argosy_observer: changed",
    ),
    "a past that is forgotten at once": (
        "CREATE OR REPLACE FUNCTION argosy.history_days() RETURNS double precision "
        "LANGUAGE sql IMMUTABLE RETURN 0.001::double precision",
        "function argosy.history_days(): changed",
    ),
    "strangers who see the audit": (
        "GRANT SELECT ON argosy.events TO anon",
        "table events: changed",
    ),
    "agents who ask for others": (
        "GRANT EXECUTE ON FUNCTION argosy.decide(uuid, text, text, text) TO authenticated",
        "function argosy.decide(uuid,text,text,text): changed",
    ),
    "a restrictive policy": (
        "DROP POLICY argosy_select ON storage.objects; "
        "CREATE POLICY argosy_select ON storage.objects AS RESTRICTIVE FOR SELECT "
        "TO authenticated USING (argosy.can_read(bucket_id, name))",
        "policy argosy_select on storage.objects: changed",
    ),
    "objects without row-level security": (
        "ALTER TABLE storage.objects DISABLE ROW LEVEL SECURITY",
        "row-level security of storage.objects: changed",
    ),
    "parts without row-level security": (
        "ALTER TABLE storage.s3_multipart_uploads_parts DISABLE ROW LEVEL SECURITY",
        "row-level security of storage.s3_multipart_uploads_parts: changed",
    ),
    "an audit that may be changed": (
        "ALTER TABLE argosy.events DISABLE TRIGGER append_only",
        "trigger append_only on argosy.events: changed",
    ),
    "an audit without its trigger": (
        "DROP TRIGGER append_only ON argosy.events",
        "trigger append_only on argosy.events: made",
    ),
    "a trigger that refuses deletions only": (
        "DROP TRIGGER append_only ON argosy.events; "
        "CREATE TRIGGER append_only BEFORE DELETE ON argosy.events "
        "FOR EACH STATEMENT EXECUTE FUNCTION argosy.refuse_change()",
        "trigger append_only on argosy.events: changed",
    ),
    "a fleet that row-level security does not bind": (
        "ALTER ROLE argosy_fleet BYPASSRLS",
        "role argosy_fleet: changed",
    ),
    "a fleet that may be the service": (
        "GRANT service_role TO argosy_fleet",
        "role argosy_fleet: changed",
    ),
    "a bucket that keeps too long": (
        "UPDATE argosy.buckets SET retention_days = 100 WHERE name = 'agent-transfers'",
        "bucket row agent-transfers: changed",
    ),
}


@pytest.fixture(scope="module")
def made(postgres: Postgres) -> Iterator[FleetSettings]:
    with project(postgres) as settings:
        bring_up_database(settings)
        yield settings


@pytest.mark.parametrize("case", DRIFT)
def test_what_drifted_is_put_right(made: FleetSettings, case: str) -> None:
    drift, line = DRIFT[case]
    with _connect(made.operator_url) as connection:
        connection.execute(drift)  # type: ignore[arg-type]
    assert bring_up_database(made, dry_run=True) == [line]
    assert bring_up_database(made) == [line]
    assert bring_up_database(made) == []


def test_a_new_password(made: FleetSettings) -> None:
    url = make_url(made.database_url).set(password="another")
    changed = made.model_copy(update={"database_url": url.render_as_string(hide_password=False)})
    assert bring_up_database(changed) == [f"role {url.username}: password set"]
    _connect(changed.database_url).close()
    with pytest.raises(psycopg.OperationalError):
        _connect(made.database_url)
    assert bring_up_database(made) == [f"role {url.username}: password set"]


def _with(settings: FleetSettings, user: str, password: str) -> FleetSettings:
    url = make_url(settings.database_url).set(username=user, password=password)
    return settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)})


@pytest.fixture
def somebody(made: FleetSettings) -> Iterator[str]:
    """A role that is not the fleet's, and gets in as `right`."""
    name = f"somebody_{uuid4().hex[:8]}"
    with _connect(made.operator_url) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'")  # type: ignore[arg-type]
        yield name
        connection.execute(f"DROP ROLE {name}")  # type: ignore[arg-type]


def _refused(settings: FleetSettings, word: str) -> None:
    with pytest.raises(DatabaseUnready, match=word):
        bring_up_database(settings)


def _is_member(made: FleetSettings, role: str) -> bool:
    query = (
        "SELECT FROM pg_auth_members WHERE member = %s::regrole "
        "AND roleid = 'argosy_fleet'::regrole"
    )
    with _connect(made.operator_url) as connection:
        return connection.execute(query, [role]).fetchone() is not None


@pytest.mark.parametrize("right", ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "IN ROLE service_role"])
def test_a_mighty_role_is_left_alone(made: FleetSettings, somebody: str, right: str) -> None:
    """DATABASE_URL names the owner, and has a typo in the password."""
    role, _, service = right.partition("IN ROLE ")
    make = f"GRANT {service} TO {somebody}" if service else f"ALTER ROLE {somebody} {role}"
    with _connect(made.operator_url) as connection:
        connection.execute(make)  # type: ignore[arg-type]
    _refused(_with(made, somebody, "typo"), "does not change it")
    _connect(_with(made, somebody, "right").database_url).close()
    assert not _is_member(made, somebody)
    if right != "SUPERUSER":  # who is a member of everything
        _refused(_with(made, somebody, "right"), "does not change it")
    assert not _is_member(made, somebody)


def test_somebodys_password_is_left_alone(made: FleetSettings, somebody: str) -> None:
    _refused(_with(made, somebody, "typo"), "correct the password")
    _connect(_with(made, somebody, "right").database_url).close()
    assert not _is_member(made, somebody)


def test_a_login_that_gets_in_becomes_the_fleets(made: FleetSettings, somebody: str) -> None:
    settings = _with(made, somebody, "right")
    assert bring_up_database(settings, dry_run=True) == [f"role {somebody}: changed"]
    assert bring_up_database(settings) == [f"role {somebody}: changed"]
    assert bring_up_database(settings) == []
    with _connect(settings.database_url) as connection:
        connection.execute("SELECT * FROM argosy.agents")


def test_an_empty_password(made: FleetSettings) -> None:
    _refused(_with(made, f"new_{uuid4().hex[:8]}", ""), "has no password")


def test_a_fleet_whose_server_is_away(made: FleetSettings) -> None:
    """A password is set where one is wrong, not where nobody answers."""
    url = make_url(made.database_url).set(port=9)
    away = {"database_url": url.render_as_string(hide_password=False)}
    _refused(made.model_copy(update=away), "does not lead to PostgreSQL")
    gone = make_url(made.database_url).set(database="nowhere")
    away = {"database_url": gone.render_as_string(hide_password=False)}
    _refused(made.model_copy(update=away), "nowhere")
    assert bring_up_database(made) == []


def test_an_operator_who_is_no_superuser(settings: FleetSettings) -> None:
    """Whoever makes a role is its member since PostgreSQL 16: that is not our doing."""
    with _connect(settings.operator_url) as connection:
        if connection.info.server_version < 160000:
            pytest.skip("PostgreSQL 16")
        bring_up_database(settings)
        name = f"operator_{uuid4().hex[:8]}"
        for statement in (
            f"CREATE ROLE {name} LOGIN PASSWORD 'right'",
            f"GRANT argosy_fleet TO {name} WITH ADMIN OPTION",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
        assert bring_up_database(settings) == []
        seen = look_as(settings)
        assert f"role {name}" not in seen
        assert {thing for thing in seen if thing.startswith("role ")} == {
            "role argosy_fleet",
            "role argosy_observer",
            f"role {make_url(settings.database_url).username}",
        }


def look_as(settings: FleetSettings) -> Catalog:
    engine = make_engine(settings.operator_url)
    with engine.connect() as connection:
        seen = look(connection, settings)
    engine.dispose()
    return seen


def test_a_search_path_of_its_own(settings: FleetSettings) -> None:
    """An expression is printed without a schema that is on it, and would look changed for ever."""
    bring_up_database(settings)
    database = make_url(settings.operator_url).database
    with _connect(settings.operator_url) as connection:
        connection.execute(
            f"ALTER DATABASE {database} SET search_path = argosy, storage, public, auth"  # type: ignore[arg-type]
        )
    assert bring_up_database(settings) == []


def test_the_script_alone_with_a_search_path(settings: FleetSettings) -> None:
    """As somebody applies it by hand: it replaces nothing that is right, and leaves nothing."""
    bring_up_database(settings)
    script = (schema.SCRIPTS / "20_policies.sql").read_bytes()
    oids = "SELECT array_agg(oid ORDER BY oid) FROM pg_policy"
    with _connect(settings.operator_url) as connection:
        connection.execute("SET search_path = argosy, storage, public, auth")
        before = connection.execute(oids).fetchone()  # type: ignore[arg-type]
        connection.execute(script)
        assert connection.execute(oids).fetchone() == before  # type: ignore[arg-type]
        assert connection.execute("SHOW search_path").fetchone() == (
            "argosy, storage, public, auth",
        )
        left = "SELECT to_regproc('pg_temp.argosy_policy') IS NULL"
        assert connection.execute(left).fetchone() == (True,)


def _audit(settings: FleetSettings, name: str) -> list[dict[str, object]]:
    query = "SELECT detail FROM argosy.events WHERE name = %s ORDER BY id"
    with _connect(settings.operator_url) as connection:
        return [row[0] for row in connection.execute(query, [name])]


def test_the_audit_says_what_changed(settings: FleetSettings) -> None:
    """With the change itself: there is no moment between the two."""
    told = bring_up_database(settings)
    bring_up_database(settings)
    with _connect(settings.operator_url) as connection:
        connection.execute("DROP POLICY argosy_delete ON storage.objects")
    bring_up_database(settings, dry_run=True)
    again = bring_up_database(settings)
    assert _audit(settings, "project.bootstrapped") == [{"changed": told}, {"changed": again}]


def test_what_is_recorded_of_buckets_is_made(settings: FleetSettings) -> None:
    """Storage is away: what the database has got is in the audit, and nothing else."""
    away = settings.model_copy(update={"supabase_url": "http://127.0.0.1:9"})
    with pytest.raises(Error):
        bootstrap(away)
    [detail] = _audit(settings, "project.bootstrapped")
    assert not [line for line in detail["changed"] if line.startswith("bucket agent")]  # type: ignore[attr-defined]


def test_one_that_hangs_is_named(settings: FleetSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LOCK_WAIT", "100ms")
    with _connect(settings.operator_url) as holder, holder.transaction():
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [schema.LOCK])
        _refused(settings, rf"process {holder.info.backend_pid} of postgres from 127.0.0.1, since")
    assert bring_up_database(settings)


def test_a_database_of_a_newer_version(settings: FleetSettings) -> None:
    bring_up_database(settings)
    with _connect(settings.operator_url) as connection:
        connection.execute("UPDATE argosy.alembic_version SET version_num = '9999'")
    _refused(settings, "revision 9999, which this version of Argosy does not know")
    with pytest.raises(DatabaseUnready, match="9999"):
        schema.migrate(settings, "0002")


def _policies(settings: FleetSettings) -> dict[str, str]:
    with _connect(settings.operator_url) as connection:
        query = "SELECT polname, oid::text FROM pg_policy"
        return dict(connection.execute(query).fetchall())


def test_migrate_goes_up_and_down(settings: FleetSettings) -> None:
    schema.migrate(settings, "0002")
    before = _policies(settings)
    assert len(before) == 6
    schema.migrate(settings, "0003")
    assert _policies(settings) == before  # nobody is shut out, and nobody waits for the table
    schema.migrate(settings, "0003")
    schema.migrate(settings, "0002")
    assert _policies(settings).keys() == before.keys()
    assert schema.behind(settings) == "0002"
    bring_up_database(settings)
    assert schema.behind(settings) is None
    schema.migrate(settings, "base")
    assert not _policies(settings)
    with pytest.raises(DatabaseUnready, match="nonsense"):
        schema.migrate(settings, "nonsense")
    assert bring_up_database(settings)


def test_views_of_the_past_go_and_come_back(settings: FleetSettings) -> None:
    """A column that a view has cannot be changed; what somebody built on one is not taken."""
    bring_up_database(settings)
    views = "SELECT count(*) FROM pg_views WHERE schemaname = 'argosy'"
    with _connect(settings.operator_url) as connection:
        connection.execute("CREATE VIEW public.mine AS SELECT * FROM argosy.failures_by_reason")
        with pytest.raises(DatabaseUnready, match=r"view (public\.)?mine depends on view"):
            schema.migrate(settings, "0005")
        assert schema.behind(settings) is None
        for here in (newest(), "head"):
            schema.migrate(settings, here)  # nothing is to be changed: they stay
        connection.execute("DROP VIEW public.mine")
        assert connection.execute(views).fetchone() == (3,)
        schema.migrate(settings, "0005")
        assert connection.execute(views).fetchone() == (0,)
        bring_up_database(settings)
        assert connection.execute(views).fetchone() == (3,)


def test_migrations_are_in_the_audit(settings: FleetSettings) -> None:
    schema.migrate(settings, "0002")
    schema.migrate(settings, "0003")
    schema.migrate(settings, "0003")
    assert _audit(settings, "project.migrated") == [
        {"from": None, "to": "0002"},
        {"from": "0002", "to": "0003"},
    ]


def test_an_upgrade_leaves_storages_objects_alone(settings: FleetSettings) -> None:
    """Somebody reads them all the while, and nobody has to wait behind us."""
    schema.migrate(settings, "0002")
    with _connect(settings.operator_url) as holder, holder.transaction():
        holder.execute("LOCK TABLE storage.objects IN ACCESS SHARE MODE")
        assert f"migration {newest()}: made" in bring_up_database(settings)
    with _connect(settings.operator_url) as connection:
        left = "SELECT to_regproc('argosy.owns'), to_regproc('argosy.is_enabled')"
        assert connection.execute(left).fetchone() == (None, None)


def test_the_owner_may_be_the_fleet(made: FleetSettings) -> None:
    """One role for both is a smaller deployment; the doctor says what it lacks."""
    alone = made.model_copy(update={"database_url": made.operator_url})
    assert bring_up_database(alone) == []


FORBIDDEN = [
    "UPDATE argosy.events SET name = 'x'",
    "DELETE FROM argosy.events",
    "SET argosy.is_forgetting = 'on'; DELETE FROM argosy.events",
    "CREATE OR REPLACE FUNCTION argosy.history_days() RETURNS double precision "
    "LANGUAGE sql IMMUTABLE RETURN 0.001::double precision",
    "SELECT * FROM argosy.transfer_history",
    "TRUNCATE argosy.events",
    "ALTER TABLE argosy.events DISABLE TRIGGER ALL",
    "UPDATE argosy.agents SET role = 'admin'",
    "INSERT INTO argosy.agents (id, name) VALUES (gen_random_uuid(), 'x')",
    "INSERT INTO argosy.buckets (name) VALUES ('x')",
    "CREATE TABLE argosy.mine ()",
    "SET ROLE service_role",
    "SET ROLE postgres",
    "DROP POLICY argosy_select ON storage.objects",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_what_the_fleet_may_not(made: FleetSettings, statement: str) -> None:
    with (
        _connect(made.database_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)  # type: ignore[arg-type]


def test_what_the_fleet_may(made: FleetSettings) -> None:
    with _connect(made.database_url) as connection:
        connection.execute("INSERT INTO argosy.events (name) VALUES ('x')")
        connection.execute("SELECT * FROM argosy.events, argosy.agents")
        connection.execute("SET ROLE authenticated")


def test_it_is_all_or_nothing(settings: FleetSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds Storage's table: nothing is waited for long, and nothing is half done."""
    monkeypatch.setattr(schema, "TRIES", 1)
    before = _relations(settings)
    with _connect(settings.operator_url) as holder, holder.transaction():
        holder.execute("LOCK TABLE storage.objects IN ACCESS SHARE MODE")
        _refused(settings, rf"storage.objects is busy: process {holder.info.backend_pid} of")
    assert _relations(settings) == before
    assert bring_up_database(settings)


def test_two_at_once(settings: FleetSettings) -> None:
    told: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: told.append(bring_up_database(settings))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(bool, told)) == [False, False, True]


def test_policies_that_are_right_are_left_alone(made: FleetSettings) -> None:
    """Replacing one would lock Storage's table at each deployment."""
    with _connect(made.operator_url) as holder, holder.transaction():
        holder.execute("LOCK TABLE storage.objects IN ACCESS SHARE MODE")
        assert bring_up_database(made) == []


def test_buckets_are_corrected(deployment: Deployment) -> None:
    """Of the whole command, on a real project: a bucket that somebody made public."""
    deployment.run("bootstrap")  # agents of other tests may have no queues yet
    deployment.query(
        "UPDATE storage.buckets SET public = true WHERE id = :id RETURNING id",
        id=deployment.settings.bucket,
    )
    line = f"bucket {deployment.settings.bucket}: public True -> False"
    assert deployment.run("bootstrap", "--dry-run") == f"would change: {line}\n"
    assert deployment.run("bootstrap") == f"{line}\n"
    assert deployment.run("bootstrap") == "Nothing to change.\n"
    [audit] = deployment.query(
        "SELECT detail FROM argosy.events WHERE name = 'project.bootstrapped' "
        "ORDER BY id DESC LIMIT 1"
    )
    assert audit.detail == {"changed": [line]}
