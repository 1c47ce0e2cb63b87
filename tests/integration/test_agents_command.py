"""`argosy agents`: what each act does to Auth, to the broker and to the row, and what it leaves
when it is interrupted."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from amqp.exceptions import AccessRefused, ConnectionForced, NotAllowed
from click.testing import CliRunner, Result
from kombu import Connection

from argosy import errors
from argosy.auth import TOKEN_HEADER, agent_email
from argosy.settings import FleetSettings, SettingsError
from commands.main import argosy
from local.environment_file import exported
from models import Role
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import ARGOSY, Deployment, until
from worker import agents
from worker.auth_admin import AuthAdmin
from worker.broker_api import BrokerApiError, api_url
from worker.broker_users import BrokerUsers, user_of

NOWHERE = "postgresql://nobody@127.0.0.1:9/postgres"


@dataclass
class Operator:
    """Runs the commands, and looks at what became of an agent."""

    deployment: Deployment
    settings: FleetSettings

    def run(self, *arguments: str, **environment: str | None) -> Result:
        """A command, in this process; what it raises is in the result."""
        told = {**self.deployment.operator_environment, **environment}
        return CliRunner().invoke(argosy, ["agents", *arguments], env=told)

    def add(self, name: str) -> dict[str, str]:
        """What `agents add` has printed."""
        return printed(self.run("add", name))

    def sign_in(self, name: str, key: str) -> httpx.Response:
        """Ask Auth for a session."""
        return self._auth("password", {"email": agent_email(name), "password": key})

    def refresh(self, session: dict[str, Any]) -> httpx.Response:
        """Ask Auth to prolong one."""
        return self._auth("refresh_token", {"refresh_token": session["refresh_token"]})

    def _auth(self, grant: str, body: dict[str, str]) -> httpx.Response:
        return httpx.post(
            f"{self.settings.supabase_url}/auth/v1/token?grant_type={grant}",
            headers={"apikey": self.settings.supabase_anon_key.get_secret_value()},
            json=body,
            timeout=15,
        )

    def audit(self, name: str) -> list[str]:
        """What the audit says of an agent."""
        rows = self.deployment.query(
            "SELECT e.name, e.detail FROM argosy.events e "
            "JOIN argosy.agents a ON a.id = e.agent_id "
            "WHERE a.name = :name AND e.name LIKE 'agent.%' ORDER BY e.id",
            name=name,
        )
        assert all(row.detail["name"] == name for row in rows)
        return [row.name.removeprefix("agent.") for row in rows]

    def rows(self, name: str) -> list[Any]:
        """Its rows: one, or none."""
        return self.deployment.query("SELECT * FROM argosy.agents WHERE name = :name", name=name)

    def broker_user(self, name: str) -> dict[str, Any] | None:
        """Its user, as RabbitMQ describes it, with the virtual hosts that it may use."""
        api = api_url(self.settings.broker_api or "")
        found = httpx.get(f"{api}users/{user_of(name)}", timeout=15)
        if found.status_code == 404:
            return None
        may = httpx.get(f"{api}users/{user_of(name)}/permissions", timeout=15).json()
        return {**found.json(), "vhosts": [one["vhost"] for one in may]}


@pytest.fixture
def operator(deployment: Deployment) -> Operator:
    settings = deployment.settings
    if settings.broker_api is None:
        pytest.skip("needs ARGOSY_BROKER_API")
    return Operator(deployment, settings)


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex[:8]}.x"


def printed(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.output
    assert all(line.startswith("export ") for line in result.stdout.splitlines())
    return exported(result.stdout)


def connect(broker_url: str) -> None:
    with Connection(broker_url) as connection:
        connection.connect()


def is_let_in(operator: Operator, told: dict[str, str]) -> bool:
    """By Auth and by the broker; never by one alone."""
    by_auth = operator.sign_in(told["ARGOSY_AGENT"], told["ARGOSY_AGENT_KEY"]).is_success
    try:
        connect(told["BROKER_URL"])
        by_broker = True
    except (AccessRefused, NotAllowed):
        by_broker = False
    assert by_auth == by_broker
    return by_auth


# add


def test_add(operator: Operator, name: str) -> None:
    result = operator.run("add", name, "--role", "reader")
    told = printed(result)
    assert list(told) == ["ARGOSY_AGENT", "ARGOSY_AGENT_KEY", "BROKER_URL"]
    assert told["ARGOSY_AGENT"] == name
    assert result.stderr == ""
    assert is_let_in(operator, told)
    [row] = operator.rows(name)
    assert (row.role, row.disabled_at) == ("reader", None)
    session = operator.sign_in(name, told["ARGOSY_AGENT_KEY"]).json()
    assert session["user"]["id"] == str(row.id)
    assert operator.audit(name) == ["added"]


def test_agents_reach_the_broker_by_a_name_of_their_own(operator: Operator, name: str) -> None:
    public = "amqps://broker.example.com:5671/argosy;amqps://fleet:secret@other.example.com/argosy"
    told = printed(operator.run("add", name, ARGOSY_AGENT_BROKER=public))
    first, second = map(urlsplit, told["BROKER_URL"].split(";"))
    assert {first.username, second.username} == {user_of(name)}
    assert first.password == second.password
    hosts = (first.hostname, first.port, second.hostname)
    assert hosts == ("broker.example.com", 5671, "other.example.com")
    own = urlsplit(operator.settings.broker_url)
    login = f"{first.username}:{first.password}@{own.hostname}:{own.port}"
    connect(own._replace(netloc=login).geturl())


def test_a_secret_is_in_no_row(operator: Operator, name: str) -> None:
    told = operator.add(name)
    rows = operator.deployment.query("SELECT detail FROM argosy.events WHERE name LIKE 'agent.%'")
    kept = repr(rows) + repr(operator.rows(name))
    for secret in (told["ARGOSY_AGENT_KEY"], told["BROKER_URL"].split(":")[2].split("@")[0]):
        assert len(secret) > 40
        assert secret not in kept


def test_a_taken_name(operator: Operator, name: str) -> None:
    told = operator.add(name)
    again = operator.run("add", name)
    assert isinstance(again.exception, errors.InvalidRequest)
    assert f"argosy agents rotate-key {name}" in str(again.exception)
    assert is_let_in(operator, told)
    assert operator.audit(name) == ["added"]


@pytest.mark.parametrize("bad", ["", "Weather", "-x", "a b", "a/b", "ü", "a" * 64, "a\n", "x.dead"])
def test_a_bad_name(operator: Operator, bad: str) -> None:
    result = operator.run("add", "--", bad)
    assert isinstance(result.exception, errors.InvalidRequest)
    assert not operator.rows(bad)


def test_two_at_once(operator: Operator, name: str) -> None:
    together = Barrier(2)

    def add(_: int) -> agents.Credentials | errors.InvalidRequest:
        together.wait()
        try:
            return agents.add_agent(operator.settings, name, Role.WORKER)
        except errors.InvalidRequest as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(add, range(2)))
    [made] = [one for one in outcomes if isinstance(one, agents.Credentials)]
    [refused] = [one for one in outcomes if isinstance(one, errors.InvalidRequest)]
    assert "is there already" in refused.message
    assert operator.sign_in(name, made.key).json()["user"]["id"] == str(made.id)
    connect(made.broker_url or "")
    assert operator.audit(name) == ["added"]


@pytest.mark.parametrize(("tags", "vhosts"), [("monitoring", []), ("", ["another-fleets"])])
def test_somebody_elses_broker_user(
    operator: Operator, name: str, tags: str, vhosts: list[str]
) -> None:
    with httpx.Client(base_url=api_url(operator.settings.broker_api or ""), timeout=15) as api:
        user, made = user_of(name), [f"users/{user_of(name)}", *(f"vhosts/{v}" for v in vhosts)]
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        try:
            api.put(f"users/{user}", json={"password": uuid4().hex, "tags": tags})
            for vhost in vhosts:
                api.put(f"vhosts/{vhost}")
                api.put(f"permissions/{vhost}/{user}", json=everything)
            before = operator.broker_user(name)
            assert before and (before["tags"] or before["vhosts"])
            result = operator.run("add", name)
            assert isinstance(result.exception, errors.InvalidRequest)
            assert user in result.exception.message
            assert operator.broker_user(name) == before
            assert not operator.rows(name)
        finally:
            for thing in made:
                api.delete(thing)


def test_the_fleets_own_user(operator: Operator, name: str) -> None:
    """Where somebody has called it as if it were an agent's."""
    told = operator.add(name)
    operator.deployment.query(
        "DELETE FROM argosy.agents WHERE name = :name RETURNING id", name=name
    )
    again = operator.run("add", name, BROKER_URL=told["BROKER_URL"])
    assert isinstance(again.exception, errors.InvalidRequest)
    connect(told["BROKER_URL"])


# disable and enable


def test_disable_shuts_out_everywhere(operator: Operator, name: str, spool: Path) -> None:
    told = operator.add(name)
    session = operator.sign_in(name, told["ARGOSY_AGENT_KEY"]).json()
    with Connection(told["BROKER_URL"], transport_options={"confirm_publish": True}) as open_one:
        open_one.connect()
        result = operator.run("disable", name)
        assert (result.exit_code, result.stderr) == (0, "")
        with pytest.raises(ConnectionForced):
            until(lambda: open_one.drain_events(timeout=10), what="the end of the connection")
    assert not is_let_in(operator, told)
    assert operator.refresh(session).status_code == 400
    source = operator.deployment.make_file("cargo.bin", 10)
    headers = {TOKEN_HEADER: session["access_token"]}
    with pytest.raises(errors.AccessDenied):
        transfer.upload.apply_async((str(source),), headers=headers).get(timeout=RESULT_SECONDS)


def test_disable_and_enable_again_and_again(operator: Operator, name: str) -> None:
    told = operator.add(name)
    for act, allowed in (("disable", False), ("enable", True), ("disable", False)):
        for _ in range(2):
            assert operator.run(act, name).exit_code == 0
            assert is_let_in(operator, told) == allowed
    since = operator.rows(name)[0].disabled_at
    operator.run("disable", name)
    assert operator.rows(name)[0].disabled_at == since
    assert operator.audit(name) == ["added", "disabled", "enabled", "disabled"]


# rotate-key


def test_rotate_key(operator: Operator, name: str) -> None:
    old = operator.add(name)
    session = operator.sign_in(name, old["ARGOSY_AGENT_KEY"]).json()
    with Connection(old["BROKER_URL"]) as open_one:
        open_one.connect()
        new = printed(operator.run("rotate-key", name))
        with pytest.raises(ConnectionForced):
            until(lambda: open_one.drain_events(timeout=10), what="the end of the connection")
    assert not is_let_in(operator, old)
    assert is_let_in(operator, new)
    assert operator.refresh(session).status_code == 400
    assert operator.audit(name) == ["added", "key_rotated"]


def test_a_disabled_agent_stays_so_with_its_new_key(operator: Operator, name: str) -> None:
    operator.add(name)
    operator.run("disable", name)
    new = printed(operator.run("rotate-key", name))
    assert not is_let_in(operator, new)
    operator.run("enable", name)
    assert is_let_in(operator, new)


@pytest.mark.parametrize("act", ["disable", "enable", "rotate-key"])
def test_an_unknown_agent(operator: Operator, act: str) -> None:
    result = operator.run(act, "nobody")
    assert isinstance(result.exception, errors.InvalidRequest)
    assert "'nobody'" in result.exception.message
    assert "`argosy agents list`" in result.exception.message


# list


def test_list(operator: Operator, name: str) -> None:
    operator.add(name)
    other = f"{name}.other"
    operator.add(other)
    operator.run("disable", other)
    found = {one["name"]: one for one in json.loads(operator.run("list", "--json").stdout)}
    assert list(found) == sorted(found)
    [row] = operator.rows(name)
    assert found[name] == {
        "name": name,
        "id": str(row.id),
        "role": "worker",
        "disabled_at": None,
        "created_at": found[name]["created_at"],
        "limits": dict.fromkeys(LIMITS) | {"weight": 1},
    }
    assert found[other]["disabled_at"]
    table = operator.run("list").stdout.splitlines()
    assert table[0].split() == ["name", "id", "role", "state", "created", "limits"]
    [line] = [line for line in table if line.startswith(f"{name} ")]
    assert line.split()[:4] == [name, str(row.id), "worker", "enabled"]
    [line] = [line for line in table if line.startswith(f"{other} ")]
    assert "disabled since 20" in line


# limit


LIMITS = ("stored", "per_day", "at_once", "rate", "weight")


def limits_of(operator: Operator, name: str) -> dict[str, Any]:
    listed = json.loads(operator.run("list", "--json").stdout)
    [found] = [one["limits"] for one in listed if one["name"] == name]
    return dict(found)


def test_limit(operator: Operator, name: str) -> None:
    operator.add(name)
    given = ["--stored", "10GB", "--per-day", "1.5TiB", "--at-once", "3", "--rate", "5MB"]
    result = operator.run("limit", name, *given, "--weight", "2", "--json")
    assert result.exit_code == 0, result.output
    wanted = {
        "stored": 10 * 10**9,
        "per_day": 3 * 2**39,
        "at_once": 3,
        "rate": 5_000_000,
        "weight": 2,
    }
    assert json.loads(result.stdout) == {"name": name, "limits": wanted}
    assert limits_of(operator, name) == wanted
    [row] = operator.rows(name)
    assert (row.max_bytes, row.max_bytes_per_day) == (10**10, 3 * 2**39)
    assert (row.max_transfers, row.bytes_per_second, row.weight) == (3, 5_000_000, 2)
    [line] = [line for line in operator.run("list").stdout.splitlines() if name in line]
    assert line.endswith("10.0 GB stored, 1.6 TB a day, 3 at once, 5.0 MB/s, weight 2")


def test_a_limit_is_taken_off_and_the_others_stay(operator: Operator, name: str) -> None:
    operator.add(name)
    operator.run("limit", name, "--stored", "0", "--rate", "256KiB")
    said = operator.run("limit", name, "--stored", "none")
    assert said.stdout == f"Agent {name}: 262.1 kB/s.\n"
    assert limits_of(operator, name) == {**dict.fromkeys(LIMITS), "rate": 262_144, "weight": 1}
    operator.run("limit", name, "--rate", "NONE")
    said = operator.run("limit", name, "--rate", "none")
    assert said.stdout == f"Agent {name}: the fleet's own limits.\n"
    assert operator.audit(name) == ["added", "limited", "limited", "limited"]
    rows = operator.deployment.query(
        "SELECT detail FROM argosy.events WHERE name = 'agent.limited' AND detail->>'name' = :name "
        "ORDER BY id",
        name=name,
    )
    assert [row.detail for row in rows] == [
        {"name": name, "max_bytes": 0, "bytes_per_second": 262_144},
        {"name": name, "max_bytes": None},
        {"name": name, "bytes_per_second": None},
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "Say which limit"),
        (("--stored", "much"), "is no size"),
        (("--stored", "-1"), "is no size"),
        (("--stored", "10XB"), "is no size"),
        (("--stored", "10iB"), "is no size"),
        (("--stored", "10000000TB"), "is too much: give 8388607TiB or less"),
        (("--rate", "1KB"), "'1KB' is too little: give 256KiB or more"),
        (("--rate", "255KiB"), "is too little: give 256KiB or more"),
        (("--at-once", "0"), "is too little: give 1 or more"),
        (("--at-once", "1.5"), "is no number"),
        (("--weight", "none"), "not a valid integer"),
        (("--weight", "1001"), "1<=x<=1000"),
    ],
)
def test_a_limit_that_is_none(operator: Operator, given: tuple[str, ...], said: str) -> None:
    result = operator.run("limit", "nobody", *given)
    assert result.exit_code == 2
    assert said in result.output


def test_a_limit_of_nobody(operator: Operator) -> None:
    result = operator.run("limit", "nobody", "--weight", "2")
    assert isinstance(result.exception, errors.InvalidRequest)


# Interrupted


class Crash(BaseException):
    """The process is gone: nothing catches it."""


@contextmanager
def crash_in(place: Any, what: str) -> Iterator[None]:
    """The process ends when it gets there; the next one is well."""

    def crash(*_: Any, **__: Any) -> None:
        raise Crash

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(place, what, crash)
        yield


ADDING = [(BrokerUsers, "take_in"), (BrokerUsers, "grant"), (agents, "record")]


@pytest.mark.parametrize(
    ("place", "what"), ADDING, ids=lambda part: getattr(part, "__name__", part)
)
def test_an_interrupted_add_is_finished_by_the_next(
    operator: Operator, name: str, place: Any, what: str
) -> None:
    with crash_in(place, what):
        agents.add_agent(operator.settings, name, Role.WORKER)
    assert not operator.rows(name)
    told = operator.add(name)
    assert is_let_in(operator, told)
    assert operator.audit(name) == ["added"]


def test_a_banned_user_without_a_row_is_let_in(operator: Operator, name: str) -> None:
    auth = AuthAdmin(operator.settings)
    left = auth.take_in(name, uuid4().hex)
    auth.ban(left)
    told = operator.add(name)
    assert is_let_in(operator, told)
    assert operator.rows(name)[0].id == left


def test_what_an_interrupted_add_left_is_found_among_many(operator: Operator, name: str) -> None:
    """Auth lists its users by page."""
    left = AuthAdmin(operator.settings).take_in(name, uuid4().hex)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.auth_admin._PAGE", 1)
        AuthAdmin(operator.settings).take_in(f"{name}.later", uuid4().hex)
        assert AuthAdmin(operator.settings).take_in(name, uuid4().hex) == left


def _sign_up(operator: Operator, name: str, **facts: Any) -> str:
    """A user that no command of ours has made."""
    key = operator.settings.supabase_service_role_key.get_secret_value()
    made = httpx.post(
        f"{operator.settings.supabase_url}/auth/v1/admin/users",
        headers={"apikey": key, "Authorization": f"Bearer {key}"},
        json={"email": agent_email(name), "email_confirm": True, **facts},
        timeout=15,
    )
    return str(made.raise_for_status().json()["id"])


@pytest.mark.parametrize("said", [{}, {"user_metadata": {"argosy": True}}])
def test_a_strangers_user_is_not_taken_over(
    operator: Operator, name: str, said: dict[str, Any]
) -> None:
    """Its access token would be the agent's; what it says of itself does not count."""
    stranger = _sign_up(operator, name, password="the-stranger's-1", **said)
    result = operator.run("add", name)
    assert isinstance(result.exception, errors.InvalidRequest)
    assert f"{agent_email(name)} ({stranger})" in result.exception.message
    assert "remove it in Supabase Auth" in result.exception.message
    assert operator.sign_in(name, "the-stranger's-1").is_success
    assert not operator.rows(name)
    assert operator.broker_user(name) is None


def test_an_agents_user_is_not_taken_over(operator: Operator, name: str) -> None:
    """Somebody has given the row another name."""
    told, renamed = operator.add(name), f"{name}.renamed"
    operator.deployment.query(
        "UPDATE argosy.agents SET name = :new WHERE name = :name RETURNING id",
        name=name,
        new=renamed,
    )
    result = operator.run("add", name)
    assert isinstance(result.exception, errors.InvalidRequest)
    assert operator.sign_in(name, told["ARGOSY_AGENT_KEY"]).is_success


@pytest.mark.parametrize("act", ["add", "disable", "enable", "rotate-key"])
def test_without_the_operators_database(operator: Operator, name: str, act: str) -> None:
    """Nothing is done elsewhere that the row would not follow."""
    told = operator.add(name) if act != "add" else {}
    result = operator.run(act, name, ARGOSY_OPERATOR_DATABASE_URL=None)
    assert isinstance(result.exception, SettingsError)
    assert "ARGOSY_OPERATOR_DATABASE_URL" in str(result.exception)
    if told:
        assert is_let_in(operator, told)
    else:
        assert operator.broker_user(name) is None
        _sign_up(operator, name)  # there was no such user


def test_the_broker_grants_nothing_before_the_row(operator: Operator, name: str) -> None:
    with crash_in(agents, "record"):
        agents.add_agent(operator.settings, name, Role.WORKER)
    user = operator.broker_user(name)
    assert user is not None
    assert user["vhosts"] == []


DISABLING = [(AuthAdmin, "ban"), (BrokerUsers, "shut_out")]


@pytest.mark.parametrize(
    ("place", "what"), DISABLING, ids=lambda part: getattr(part, "__name__", part)
)
def test_an_interrupted_disable_has_shut_the_door_already(
    operator: Operator, name: str, place: Any, what: str
) -> None:
    told = operator.add(name)
    with crash_in(place, what):
        agents.disable_agent(operator.settings, name)
    assert operator.rows(name)[0].disabled_at
    assert operator.run("disable", name).exit_code == 0
    assert not is_let_in(operator, told)
    assert operator.audit(name) == ["added", "disabled"]


def test_the_broker_is_closed_while_auth_is_away(operator: Operator, name: str) -> None:
    told = operator.add(name)
    result = operator.run("disable", name, SUPABASE_URL="http://127.0.0.1:9")
    assert isinstance(result.exception, errors.StorageUnavailable)
    with pytest.raises(NotAllowed):
        connect(told["BROKER_URL"])


ENABLING = [(BrokerUsers, "grant"), (agents, "record")]


@pytest.mark.parametrize(
    ("place", "what"), ENABLING, ids=lambda part: getattr(part, "__name__", part)
)
def test_an_interrupted_enable_has_not_opened_the_door_yet(
    operator: Operator, name: str, place: Any, what: str
) -> None:
    told = operator.add(name)
    operator.run("disable", name)
    with crash_in(place, what):
        agents.enable_agent(operator.settings, name)
    assert operator.rows(name)[0].disabled_at
    assert operator.run("enable", name).exit_code == 0
    assert is_let_in(operator, told)
    assert operator.audit(name) == ["added", "disabled", "enabled"]


def test_an_interrupted_rotation_is_repeated(operator: Operator, name: str) -> None:
    operator.add(name)
    with crash_in(BrokerUsers, "take_in"):
        agents.rotate_key(operator.settings, name)
    assert is_let_in(operator, printed(operator.run("rotate-key", name)))
    assert operator.audit(name) == ["added", "key_rotated"]


# Without, or with a wrong, broker API


def test_without_a_broker_api(operator: Operator, name: str) -> None:
    result = operator.run("add", name, ARGOSY_BROKER_API=None)
    assert list(printed(result)) == ["ARGOSY_AGENT", "ARGOSY_AGENT_KEY"]
    assert "ARGOSY_BROKER_API is not set" in result.stderr
    assert operator.broker_user(name) is None
    assert f"`argosy agents rotate-key {name}`" in result.stderr
    for act in ("disable", "enable"):
        result = operator.run(act, name, ARGOSY_BROKER_API=None)
        assert result.exit_code == 0
        assert "ARGOSY_BROKER_API is not set" in result.stderr
        assert f"`argosy agents {act} {name}`" in result.stderr
    enabled = operator.run("enable", name)
    assert enabled.exit_code == 0
    assert f"`argosy agents rotate-key {name}`" in enabled.stderr
    assert operator.run("disable", name).exit_code == 0  # nothing to take from nobody
    operator.run("enable", name)
    assert is_let_in(operator, printed(operator.run("rotate-key", name)))


def test_where_valkey_is_the_broker(operator: Operator, name: str) -> None:
    on_valkey = {"BROKER_URL": operator.settings.result_url, "ARGOSY_BROKER_API": None}
    result = operator.run("add", name, **on_valkey)
    assert list(printed(result)) == ["ARGOSY_AGENT", "ARGOSY_AGENT_KEY"]
    assert "not RabbitMQ" in result.stderr
    assert "rotate-key" not in result.stderr


@pytest.fixture(params=["wrong password", "nobody there", "no password", "another page"])
def wrong_api(request: pytest.FixtureRequest, operator: Operator) -> Iterator[tuple[str, str]]:
    """A setting that does not work, and a word of what is said then."""
    right = httpx.URL(operator.settings.broker_api or "")
    yield {
        "wrong password": (str(right.copy_with(password="wr0ng")), "refuses the user"),
        "no password": (str(right.copy_with(userinfo=b"")), "refuses the user"),
        "nobody there": ("http://argosy:wr0ng@127.0.0.1:9", "cannot be reached"),
        "another page": (f"{right}/nowhere", "answered 4"),
    }[request.param]


def test_a_broker_api_that_does_not_work(
    operator: Operator, name: str, wrong_api: tuple[str, str]
) -> None:
    setting, word = wrong_api
    result = operator.run("add", name, ARGOSY_BROKER_API=setting)
    assert isinstance(result.exception, BrokerApiError)
    assert word in str(result.exception)
    assert "wr0ng" not in str(result.exception)
    assert not operator.rows(name)
    assert is_let_in(operator, operator.add(name))


def test_a_wrong_service_key(operator: Operator, name: str) -> None:
    result = operator.run("add", name, SUPABASE_SERVICE_ROLE_KEY="wrong")
    assert isinstance(result.exception, errors.AccessDenied)
    assert "SUPABASE_SERVICE_ROLE_KEY" in result.exception.message


def test_a_mistake_gets_a_sentence(operator: Operator) -> None:
    """The whole program, as an operator runs it."""
    told = {**os.environ, **operator.deployment.operator_environment}
    for arguments, word, changed in (
        (["disable", "nobody"], "There is no agent 'nobody'", {}),
        (["add", "x"], "cannot be reached", {"ARGOSY_BROKER_API": "http://u:p@127.0.0.1:9"}),
        (["list"], "PostgreSQL: connection failed", {"ARGOSY_OPERATOR_DATABASE_URL": NOWHERE}),
    ):
        done = subprocess.run(
            [ARGOSY, "agents", *arguments],
            env={**told, **changed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert word in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
