"""Whether the deployment is well: each check is a question with a plain answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from uuid import uuid4

import amqp  # type: ignore[import-untyped]
import httpx
import redis
from celery import Celery
from kombu.exceptions import KombuError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from argosy.errors import Error
from argosy.settings import FleetSettings, SettingsError
from argosy.storage.control import ControlPlane
from argosy.tokens import CLOCK_SKEW_SECONDS, Mint
from models.database import one_session
from worker import policies, schema
from worker.auth_admin import AuthAdmin
from worker.bootstrap import bring_up_database, ensure_buckets, wanted_buckets
from worker.broker_api import BrokerApiError, why_none
from worker.broker_users import BrokerUsers, rights_of
from worker.finding import Finding, Unwell
from worker.logins import MIGHTY
from worker.mailboxes import missing_queues
from worker.queues import all_queues
from worker.readiness import LAST_TICK, judge_beat, waiting_messages
from worker.unready import DatabaseUnready

GB = 1_000_000_000


_EXPECTED = (
    Error,
    BrokerApiError,
    DatabaseUnready,
    SettingsError,
    DBAPIError,
    httpx.HTTPError,
    redis.RedisError,
    amqp.AMQPError,
    KombuError,
    OSError,
)


def examine_deployment(settings: FleetSettings, agent: str | None = None) -> list[Finding]:
    """Run every check, and `agent`'s broker user too if one is named."""
    found = [examine(what, settings) for what in CHECKS]
    if agent:
        found.append(_ask(f"broker user of {agent}", partial(check_broker_user, settings, agent)))
    return found


def examine(what: str, settings: FleetSettings) -> Finding:
    """Run one of CHECKS."""
    return _ask(what, partial(CHECKS[what], settings))


def _ask(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, well=True, said=check())
    except Unwell as found:
        return Finding(what, well=False, said=found.said, advice=found.advice)
    except _EXPECTED as error:
        return Finding(what, well=False, said=_sentence(error), advice="see the settings' table")


def _sentence(error: Exception) -> str:
    if isinstance(error, Error):
        return error.message
    if isinstance(error, DatabaseUnready | SettingsError):
        return str(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(f"{type(cause).__name__}: {cause}".split())[:200]


# The database


@contextmanager
def _as_fleet(settings: FleetSettings) -> Iterator[Session]:
    with one_session(settings.database_url) as session:
        yield session


def _database(settings: FleetSettings) -> str:
    with _as_fleet(settings) as session:
        user, may_change, may_decide = session.execute(text(_MAY)).one()
        mighty = list(session.scalars(text(_MIGHTY)))
    own_role = "give DATABASE_URL a role of its own, and ARGOSY_OPERATOR_DATABASE_URL the owner"
    if may_change:
        raise Unwell(f"the fleet connects as {user}, who owns the audit", own_role)
    if may_decide:
        raise Unwell(f"the fleet connects as {user}, who may change agents or buckets", own_role)
    if mighty:
        raise Unwell(
            f"the fleet connects as {user}, who is or can become {', '.join(mighty)}, whom "
            "row-level security does not bind",
            "REVOKE it, or ALTER ROLE … NOBYPASSRLS NOCREATEROLE",
        )
    return f"the fleet is {user}, and can only add to the audit"


_MAY = """
SELECT current_user, has_table_privilege('argosy.events', 'UPDATE, DELETE, TRUNCATE'),
    has_any_column_privilege('argosy.agents', 'INSERT, UPDATE')
    OR has_table_privilege('argosy.agents', 'DELETE, TRUNCATE')
    OR has_any_column_privilege('argosy.buckets', 'INSERT, UPDATE')
    OR has_table_privilege('argosy.buckets', 'DELETE, TRUNCATE')
"""
_MIGHTY = f"""
SELECT rolname FROM pg_roles
WHERE pg_has_role(oid, 'MEMBER') AND ({MIGHTY} OR oid IN (
    SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'argosy' OR (n.nspname, c.relname) = ('storage', 'objects')))
ORDER BY rolname
"""  # noqa: S608


def _policies(settings: FleetSettings) -> str:
    if found := schema.behind(settings):
        raise Unwell(f"the schema is at revision {found}", "run `argosy bootstrap`")
    differing = bring_up_database(settings, dry_run=True)
    if differing:
        raise Unwell(
            f"{len(differing)} differ from this version's: {', '.join(differing[:3])}",
            "`argosy bootstrap --dry-run` shows them, `argosy bootstrap` puts them right",
        )
    return "schema, functions, policies and roles are this version's"


def _other_policies(settings: FleetSettings) -> str:
    """PostgreSQL lets in whoever any permissive policy lets in, and no restrictive one forbids."""
    with one_session(settings.operator_url) as session:
        others = policies.others(session)
    told = [
        f"{what} the fleet's buckets: {', '.join(names)}"
        for permissive, what in ((True, "may open"), (False, "may close"))
        if (names := [f"{p.name} on {p.table}" for p in others if p.permissive is permissive])
    ]
    if told:
        raise Unwell(f"other policies {'; '.join(told)}", "have each of them name its own buckets")
    return "no other policy opens or closes Storage's tables"


def _beat(settings: FleetSettings) -> str:
    with _as_fleet(settings) as session:
        return judge_beat(session.scalar(text(LAST_TICK)), settings)


# Supabase


def _buckets(settings: FleetSettings) -> str:
    differing = ensure_buckets(settings, dry_run=True)
    if differing:
        raise Unwell("; ".join(differing), "`argosy bootstrap` puts it right")
    if unknown := _unknown_buckets(settings):
        raise Unwell(
            f"argosy.buckets names {', '.join(unknown)}, which the settings do not: agents may "
            "use it",
            "remove the row where the bucket is not the fleet's",
        )
    small = [wanted.name for wanted in wanted_buckets(settings) if _is_small(wanted.size_limit)]
    if small:
        raise Unwell(
            f"{', '.join(small)}: a file of 1 GB does not fit", "raise ARGOSY_BUCKET_SIZE_LIMIT"
        )
    return f"private, {settings.bucket_size_limit / GB:,.0f} GB a file"


def _unknown_buckets(settings: FleetSettings) -> list[str]:
    with _as_fleet(settings) as session:
        named = set(session.scalars(text("SELECT name FROM argosy.buckets")))
    return sorted(named - {wanted.name for wanted in wanted_buckets(settings)})


def _is_small(limit: int | None) -> bool:
    return limit is not None and limit < GB


def _clock(settings: FleetSettings) -> str:
    response = httpx.get(f"{settings.supabase_url}/auth/v1/health", timeout=15)
    there = _date_of(response)
    with _as_fleet(settings) as session:
        database = session.scalar(text("SELECT now()"))
    now = datetime.now(UTC)
    skew = max(abs((now - there).total_seconds()) - 1, abs((now - database).total_seconds()))
    if skew > CLOCK_SKEW_SECONDS:
        raise Unwell(f"clocks are {skew:.0f} s apart", "run NTP on every host")
    return f"within {max(skew, 0):.1f} s of Supabase's"


def _date_of(response: httpx.Response) -> datetime:
    try:
        there = parsedate_to_datetime(response.headers.get("date", ""))
    except ValueError:
        raise Unwell(
            "Supabase's answer does not say the time", "look at the proxy in front of it"
        ) from None
    return there if there.tzinfo else there.replace(tzinfo=UTC)


def _sign_ups(settings: FleetSettings) -> str:
    """Whoever may sign up may take an agent's name before it is added."""
    response = httpx.get(
        f"{settings.supabase_url}/auth/v1/settings",
        headers={"apikey": settings.supabase_anon_key.get_secret_value()},
        timeout=15,
    )
    try:
        closed = response.raise_for_status().json().get("disable_signup")
    except (ValueError, AttributeError):
        raise Unwell("Supabase Auth does not say", "look at SUPABASE_URL") from None
    if closed is not True:
        raise Unwell(
            "strangers may sign up at Supabase Auth",
            "switch new users' sign-ups off in its settings (GOTRUE_DISABLE_SIGNUP=true)",
        )
    return "switched off"


def _signing_key(settings: FleetSettings) -> str:
    """Storage takes a token that the fleet makes: a stranger's, who sees nothing."""
    token = Mint(settings).token_for(uuid4())
    anon_key = settings.supabase_anon_key.get_secret_value()
    control = ControlPlane(settings.supabase_url, token, api_key=anon_key)
    if next(control.list_objects(settings.bucket), None) is not None:
        raise Unwell(
            "a stranger sees objects of the fleet's bucket",
            "look at the policies of storage.objects",
        )
    return "Storage takes tokens of the fleet's key, and shows a stranger nothing"


def _service_key(settings: FleetSettings) -> str:
    AuthAdmin(settings).check()
    return "Supabase Auth takes the service key"


# The broker and the results


def _broker(settings: FleetSettings) -> str:
    waiting = waiting_messages(settings, [queue.name for queue in all_queues(settings)], 10)
    if not settings.broker_url.startswith("amqp"):
        raise Unwell("the broker is not RabbitMQ", "for development only: use RabbitMQ")
    return ", ".join(f"{name} {count}" for name, count in waiting.items())


def check_broker_user(settings: FleetSettings, agent: str) -> str:
    """What an agent's user may do on the broker. Raises Unwell where it should do other things."""
    if why := why_none(settings):
        raise Unwell(why)
    users = BrokerUsers.of(settings)
    found = users.rights(agent) if users else None
    if found != rights_of(agent):
        raise Unwell(
            "it is not there" if found is None else f"it may do other things: {found}",
            f"`argosy agents enable {agent}`, or rotate-key where there is no user",
        )
    if missing := missing_queues(settings, agent):
        raise Unwell(f"{', '.join(missing)} is not there", f"`argosy agents enable {agent}`")
    return "may write requests and messages and read its own queues, nothing else"


def _results(settings: FleetSettings) -> str:
    client = redis.Redis.from_url(settings.result_url, socket_timeout=10)
    with client:
        key = f"celery-task-meta-{uuid4()}"
        client.set(key, "doctor", ex=10)
        client.delete(key)
    return "can be written"


def _workers(settings: FleetSettings) -> str:
    with Celery(broker=settings.broker_url, set_as_current=False) as app:
        answers = app.control.ping(timeout=2)
    if not answers:
        raise Unwell("no worker answers", "start `argosy worker`")
    return ", ".join(sorted(name for answer in answers for name in answer))


def _spool(settings: FleetSettings) -> str:
    for folder in settings.spool:
        with tempfile.TemporaryFile(dir=folder):
            pass
    return ", ".join(str(folder) for folder in settings.spool)


CHECKS: dict[str, Callable[[FleetSettings], str]] = {
    "database": _database,
    "policies": _policies,
    "other policies": _other_policies,
    "buckets": _buckets,
    "sign-ups": _sign_ups,
    "service key": _service_key,
    "signing key": _signing_key,
    "clocks": _clock,
    "broker": _broker,
    "results": _results,
    "workers": _workers,
    "beat": _beat,
    "spool": _spool,
}
