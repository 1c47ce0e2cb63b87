"""Flower as the fleet runs it: who may see it, what it keeps, and where it finds the broker."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from argosy.settings import FleetSettings, SettingsError, environment_name
from worker.broker_api import api_url
from worker.flower_tasks import Told

MOST_TASKS = 10_000
"""Tasks that Flower keeps: the history of all of them is in PostgreSQL."""
SAVE_MILLISECONDS = 60_000
"""How often it writes down what it keeps."""
COLUMNS = "name,args,state,received,runtime,worker,uuid"
_LOGINS = {
    "google": "flower.views.auth.GoogleAuth2LoginHandler",
    "github": "flower.views.auth.GithubLoginHandler",
    "gitlab": "flower.views.auth.GitLabLoginHandler",
    "okta": "flower.views.auth.OktaLoginHandler",
}
_OAUTH = ("flower_oauth_emails", "flower_oauth_key", "flower_oauth_secret", "flower_oauth_url")
"""Without all of these nobody can sign in by a provider."""


def prepare(settings: FleetSettings, address: str, broker_api: str | None = None) -> None:
    """Tell Flower, by its environment, what it must know; what is there already stands.

    Secrets are no arguments: `ps` shows those. Raises SettingsError for a Flower without a
    password that others than this machine could open, and for a half-made sign-in.
    """
    told = {**_sign_in(settings), **_what_it_keeps(settings)}
    if api := broker_api or settings.broker_api:
        told["FLOWER_BROKER_API"] = api_url(api)
    for name, value in told.items():
        os.environ.setdefault(name, value)
    if not _has_sign_in() and not _is_loopback(address):
        raise SettingsError(
            f"Flower would let anybody in who reaches {address or 'this machine'}, and let them "
            f"end the workers: set {environment_name('flower_basic_auth')} (name:password) or "
            f"{environment_name('flower_oauth')}, or listen on 127.0.0.1."
        )


def arguments(settings: FleetSettings, address: str, port: int | None) -> list[str]:
    """Flower's command, for the Celery application."""
    return [
        "flower",
        f"--port={settings.flower_port if port is None else port}",
        f"--address={address}",
        "--persistent=true",
        f"--db={settings.state_dir / 'flower'}",
    ]


def tell_of_transfers(settings: FleetSettings) -> None:
    """Have Flower's pages say what a task is about, in place of its bare arguments."""
    from flower.options import default_options  # type: ignore[import-untyped]

    default_options.format_task = _function(Told(settings))


def _function(told: Told) -> Callable[[Any], Any]:
    """Flower takes nothing but a plain function."""

    def format_task(task: Any) -> Any:
        return told.shown(task)

    return format_task


def _what_it_keeps(settings: FleetSettings) -> dict[str, str]:
    secret = settings.supabase_jwt_secret or settings.supabase_jwt_signing_key
    key = secret.get_secret_value().encode() if secret else b""  # settings refuse to have neither
    cookies = hmac.new(key, b"argosy: cookies of Flower", hashlib.sha256).hexdigest()
    return {
        "FLOWER_MAX_TASKS": str(MOST_TASKS),
        "FLOWER_STATE_SAVE_INTERVAL": str(SAVE_MILLISECONDS),
        "FLOWER_TASKS_COLUMNS": COLUMNS,
        "FLOWER_COOKIE_SECRET": cookies,  # who has signed in stays so when Flower starts anew
    }


def _sign_in(settings: FleetSettings) -> dict[str, str]:
    told = {}
    if settings.flower_basic_auth:
        told["FLOWER_BASIC_AUTH"] = settings.flower_basic_auth.get_secret_value()
    if settings.flower_oauth:
        told |= _by_provider(settings, settings.flower_oauth)
    return told


def _by_provider(settings: FleetSettings, provider: str) -> dict[str, str]:
    values = {name: _plain(getattr(settings, name)) for name in _OAUTH}
    if missing := [environment_name(name) for name, value in values.items() if not value]:
        raise SettingsError(
            f"{environment_name('flower_oauth')} is {provider}: set {', '.join(missing)} too."
        )
    emails, key, secret, url = values.values()
    return {
        "FLOWER_AUTH_PROVIDER": _LOGINS[provider],
        "FLOWER_AUTH": emails,
        "FLOWER_OAUTH2_KEY": key,
        "FLOWER_OAUTH2_SECRET": secret,
        "FLOWER_OAUTH2_REDIRECT_URI": url,
    }


def _plain(value: str | SecretStr | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""


def _has_sign_in() -> bool:
    return bool(os.environ.get("FLOWER_BASIC_AUTH") or os.environ.get("FLOWER_AUTH"))


def _is_loopback(address: str) -> bool:
    """Whether only this machine reaches it; no address at all is every address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
