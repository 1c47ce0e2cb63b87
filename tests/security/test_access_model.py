"""The policies agree with a model of ten lines, whatever happens in which order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from tests.deployment import Deployment
from tests.security.access_model import FLEET, OTHER, PLAIN, STRANGE, live, lives

QUIETLY = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
KEY = "(bucket_id, name) = (%s, %s)"
COLUMNS = "INSERT INTO storage.objects (bucket_id, name, version) VALUES (%s, %s, '1')"
UPSERT = " ON CONFLICT (bucket_id, name) DO UPDATE SET version = '2' RETURNING id"
MOVE = f"UPDATE storage.objects SET name = %s WHERE {KEY} RETURNING id"
OWN = "one's own"


class InPostgres:
    """The policies themselves, in a transaction that is rolled back."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url)
        self.sql("SET LOCAL storage.allow_delete_query = 'true'")
        for bucket in (FLEET, OTHER):
            self.sql("INSERT INTO storage.buckets (id, name) VALUES (%s, %s)", bucket, bucket)
        self.sql("INSERT INTO argosy.buckets (name) VALUES (%s)", FLEET)

    def sql(self, query: str, *values: Any) -> None:
        self._rows(query, *values)

    def tries(self, who: str, bucket: str, name: str) -> dict[str, bool]:
        here = bucket, name
        absent = [(f"DELETE FROM storage.objects WHERE {KEY}", here)]
        there = [*absent, (COLUMNS, here)]
        did = {
            "read": self._try(who, there, f"SELECT id FROM storage.objects WHERE {KEY}", *here),
            "write new": self._try(who, absent, f"{COLUMNS} RETURNING id", *here),
            "write unseen": self._try(who, absent, COLUMNS, *here),
            "write again": self._try(who, there, COLUMNS + UPSERT, *here),
            "write over": self._try(who, there, MOVE, name, *here),
            "write away": self._try(
                who, there, f"DELETE FROM storage.objects WHERE {KEY} RETURNING id", *here
            ),
        }
        own = f"{who}/{OWN}"
        if name != own and self.decides(who, bucket, [own])[own][1]:
            from_own = [*absent, (COLUMNS, (bucket, own))]
            did["write by a move in"] = self._try(who, from_own, MOVE, name, bucket, own)
            did["write by a move out"] = self._try(who, there, MOVE, own, *here)
        return did

    def decides(self, who: str, bucket: str, names: list[str]) -> dict[str, tuple[bool, bool]]:
        with self._connection.transaction(force_rollback=True):
            self._become(who)
            query = (
                "SELECT name, argosy.can_read(%s, name), argosy.can_write(%s, name)"
                " FROM unnest(%s::text[]) AS name"
            )
            rows = self._rows(query, bucket, bucket, names)
            return {name: (read, write) for name, read, write in rows}

    def lists(self, who: str, bucket: str, names: set[str]) -> set[str]:
        with self._connection.transaction(force_rollback=True):
            for name in names:
                self.sql(COLUMNS, bucket, name)
            self._become(who)
            rows = self._rows("SELECT name FROM storage.objects WHERE bucket_id = %s", bucket)
            return {name for (name,) in rows}

    def close(self) -> None:
        self._connection.rollback()
        self._connection.close()

    def _try(self, who: str, before: list[Any], query: str, *values: Any) -> bool:
        """Whether the agent's statement finds or changes a row, and undo it."""
        try:
            with self._connection.transaction(force_rollback=True):
                for prepared in before:
                    self.sql(*prepared[:1], *prepared[1])
                self._become(who)
                return self._connection.execute(query.encode(), values).rowcount == 1
        except InsufficientPrivilege:
            return False

    def _become(self, who: str) -> None:
        self.sql("SET LOCAL ROLE authenticated")
        claims = Jsonb({"sub": who, "role": "authenticated"})
        self.sql("SELECT set_config('request.jwt.claims', %s::text, true)", claims)

    def _rows(self, query: str, *values: Any) -> list[Any]:
        cursor = self._connection.execute(query.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


class OverHTTP:
    """Storage's REST API, with the bytes to be looked at by the service role."""

    def __init__(self, deployment: Deployment, http: httpx.Client) -> None:
        known = deployment.settings
        assert known.supabase_jwt_secret, "these tests sign with the secret of the local stack"
        self._secret = known.supabase_jwt_secret.get_secret_value()
        self._service = known.supabase_service_role_key.get_secret_value()
        self._http = http
        self._connection = psycopg.connect(known.operator_url, autocommit=True)
        self._touched: set[tuple[str, str]] = set()
        for bucket in (FLEET, OTHER):
            self._ask(self._service, "POST", "bucket", json={"name": bucket})
        self.sql("INSERT INTO argosy.buckets (name) VALUES (%s)", FLEET)

    def sql(self, query: str, *values: Any) -> None:
        self._connection.execute(query.encode(), values)

    def tries(self, who: str, bucket: str, name: str) -> dict[str, bool]:
        token, here = self._token(who), f"{bucket}/{quote(name)}"
        self._put(bucket, name, b"there")
        read = self._ask(token, "GET", f"object/authenticated/{here}")
        over = self._ask(token, "PUT", f"object/{here}", content=b"over")
        is_over = self._bytes(here) == b"over"
        away = self._ask(token, "DELETE", f"object/{here}")
        is_away = self._bytes(here) is None
        self._remove(bucket, [name])
        new = self._ask(token, "POST", f"object/{here}", content=b"new")
        is_new = self._bytes(here) == b"new"
        answers = {"write over": over, "write away": away, "write new": new}
        done = {"write over": is_over, "write away": is_away, "write new": is_new}
        assert done == {what: answer.is_success for what, answer in answers.items()}
        return {"read": read.is_success and read.content == b"there", **done}

    def decides(self, who: str, bucket: str, names: list[str]) -> dict[str, tuple[bool, bool]]:
        return {}  # nobody can ask that from outside

    def lists(self, who: str, bucket: str, names: set[str]) -> set[str]:
        for name in names:
            self._put(bucket, name, b"listed")
        listed: set[str] = set()
        asked: dict[str, Any] = {"prefix": "", "limit": 3}
        while True:
            page = self._ask(
                self._token(who), "POST", f"object/list-v2/{bucket}", json=asked
            ).json()
            listed |= {entry["name"] for entry in page["objects"]}
            if not page["hasNext"]:
                return listed & names
            asked["cursor"] = page["nextCursor"]

    def close(self) -> None:
        for bucket in (FLEET, OTHER):
            if names := [name for where, name in self._touched if where == bucket]:
                self._remove(bucket, names)
        for table in ("grants", "buckets"):
            column = "bucket" if table == "grants" else "name"
            self.sql(f"DELETE FROM argosy.{table} WHERE starts_with({column}, 'model-')")
        self.sql("DELETE FROM argosy.agents WHERE name ~ '^(ann|bob|cid)-'")
        self._connection.close()

    def _token(self, who: str) -> str:
        claims = {"sub": who, "role": "authenticated", "exp": int(time.time()) + 60}
        return jwt.encode(claims, self._secret, "HS256")

    def _ask(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return self._http.request(method, f"/storage/v1/{path}", headers=headers, **options)

    def _put(self, bucket: str, name: str, content: bytes) -> None:
        self._touched.add((bucket, name))
        path, headers = f"object/{bucket}/{quote(name)}", {"x-upsert": "true"}
        self._ask(self._service, "POST", path, content=content, headers=headers).raise_for_status()

    def _bytes(self, here: str) -> bytes | None:
        answer = self._ask(self._service, "GET", f"object/authenticated/{here}")
        return answer.content if answer.is_success else None

    def _remove(self, bucket: str, names: list[str]) -> None:
        asked = {"prefixes": names}
        self._ask(self._service, "DELETE", f"object/{bucket}", json=asked).raise_for_status()


@pytest.fixture(scope="module")
def http(deployment: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=deployment.settings.supabase_url, timeout=30) as client:
        yield client


@settings(max_examples=40, deadline=None, suppress_health_check=QUIETLY)
@given(life=lives(STRANGE, 6, 12))
def test_the_policies_agree_with_the_model(deployment: Deployment, life: Any) -> None:
    live(InPostgres(deployment.settings.operator_url), life)


@settings(max_examples=30, deadline=None, suppress_health_check=QUIETLY)
@given(life=lives(PLAIN, 3, 6))
def test_storage_agrees_with_the_model(
    deployment: Deployment, http: httpx.Client, life: Any
) -> None:
    live(OverHTTP(deployment, http), life)
