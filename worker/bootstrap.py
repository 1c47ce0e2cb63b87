"""What a deployment needs before its first transfer: schema, policies, roles, buckets, limits.

And what a broker that lost its data has lost for good: the queues of agents' messages.
"""

from __future__ import annotations

from sqlalchemy import func, select

from argosy.settings import FleetSettings
from argosy.storage.control import BucketInfo, ControlPlane
from models import Agent
from models.database import one_session
from models.transitions import record
from worker import schema
from worker.broker_policies import ensure_policies
from worker.mailboxes import open_mailboxes


def bootstrap(settings: FleetSettings, *, dry_run: bool = False) -> list[str]:
    """Make the project ready, and return what changed, a line each; safe to repeat.

    With `dry_run` nothing changes: the lines say what would.
    """
    changed = bring_up_database(settings, dry_run=dry_run)
    changed += ensure_buckets(settings, dry_run=dry_run)
    changed += ensure_mailboxes(settings, dry_run=dry_run)
    return changed + ensure_policies(settings, dry_run=dry_run)


def bring_up_database(settings: FleetSettings, *, dry_run: bool = False) -> list[str]:
    """The part of it that is in PostgreSQL, and in its audit."""
    retention = {settings.bucket: settings.retention_days, settings.persistent_bucket: None}
    return schema.bring_up(settings, retention, dry_run=dry_run)


def ensure_buckets(settings: FleetSettings, *, dry_run: bool = False) -> list[str]:
    """Create or correct the fleet's buckets, and say what changed.

    Raises ObjectTooLarge when the project's own limit is below the wanted one.
    """
    key = settings.supabase_service_role_key.get_secret_value()
    control = ControlPlane(settings.supabase_url, key)
    changed = []
    for wanted in wanted_buckets(settings):
        found = control.find_bucket(wanted.name)
        if found != wanted:
            changed.append(_difference(found, wanted))
            if not dry_run:
                control.ensure_bucket(wanted)
                _record(settings, changed[-1])
    return changed


def ensure_mailboxes(settings: FleetSettings, *, dry_run: bool = False) -> list[str]:
    """Make those queues of agents' messages that RabbitMQ does not have, and say which.

    Raises BrokerUnready.
    """
    names = _agents(settings) if settings.broker_url.startswith("amqp") else []
    return open_mailboxes(settings, names, dry_run=dry_run) if names else []


def _agents(settings: FleetSettings) -> list[str]:
    """Every agent; none before there is a schema."""
    with one_session(settings.operator_url) as session:
        if session.scalar(select(func.to_regclass("argosy.agents"))) is None:
            return []
        return list(session.scalars(select(Agent.name).order_by(Agent.name)))


def _record(settings: FleetSettings, change: str) -> None:
    """Storage is not in the transaction: what follows may fail, what is made is made."""
    with one_session(settings.operator_url) as session:
        record(session, "project.bootstrapped", detail={"changed": [change]})


def wanted_buckets(settings: FleetSettings) -> list[BucketInfo]:
    """The fleet's buckets as the settings describe them."""
    return [
        BucketInfo(
            name,
            public=False,
            size_limit=settings.bucket_size_limit,
            allowed_types=settings.allowed_types,
        )
        for name in (settings.bucket, settings.persistent_bucket)
    ]


def _difference(found: BucketInfo | None, wanted: BucketInfo) -> str:
    if found is None:
        return f"bucket {wanted.name}: made"
    told = [
        f"{what} {getattr(found, name)} -> {getattr(wanted, name)}"
        for name, what in (
            ("public", "public"),
            ("size_limit", "limit"),
            ("allowed_types", "types"),
        )
        if getattr(found, name) != getattr(wanted, name)
    ]
    return f"bucket {wanted.name}: {', '.join(told)}"
