"""The world that the matrix is asked about: agents, objects and grants, made once."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import jwt
import psycopg

from argosy.storage.signing import Endpoint, SessionSignature
from tests.deployment import AgentInTest, Deployment
from tests.security.matrix import CALLERS, SCOPES

BUCKETS_OF_IT = FLEET, READABLE, WRITABLE, OTHER = (
    *("matrix-fleet", "matrix-readable"),
    *("matrix-writable", "matrix-other"),
)
"""Buckets. All but the last are the fleet's; two are granted as a whole."""

BUCKETS = {
    "bucket granted to read": READABLE,
    "bucket granted to write": WRITABLE,
    "own folder, other bucket": OTHER,
    "granted, other bucket": OTHER,
}
"""Where a scope is, if not in FLEET."""

ROLES = {"admin": "admin", "disabled admin": "admin", "reader": "reader"}
"""Of the callers that are agents, or look like one; the others are workers."""

BELOW = "below/it/"
"""Where objects are in a folder that is granted."""

STRANGERS = ("anonymous", "no token")
"""Callers without an id of their own."""


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


NEW, PART = b"the cargo that was sent", b"the cargo that was sent in a part"
PART_ETAG = _md5(PART)
Snapshot = Mapping[str, tuple[str, ...]]

_ROWS = {
    table: f"""SELECT t::text AS row FROM storage.{table} t
    WHERE starts_with(bucket_id, 'matrix-') ORDER BY bucket_id, {name} COLLATE "C", id"""
    for table, name in (
        ("objects", "name"),
        ("s3_multipart_uploads", "key"),
        ("s3_multipart_uploads_parts", "key"),
    )
}
_UPLOAD_ID = {"s3_multipart_uploads": "id", "s3_multipart_uploads_parts": "upload_id"}
_FINGERPRINT = "SELECT md5(string_agg(row, '')) FROM (({}) UNION ALL ({}) UNION ALL ({}))".format(
    *_ROWS.values()
)


@dataclass(frozen=True)
class Place:
    """Two names in one folder: `kept` is there, `new` is not; `upload` is a part on its way."""

    bucket: str
    folder: str

    @property
    def kept(self) -> str:
        return f"{self.folder}kept.bin"

    @property
    def new(self) -> str:
        return f"{self.folder}new.bin"

    @property
    def content(self) -> bytes:
        """What is in `kept`: nothing that could be in an answer by chance."""
        return f"the cargo of {self.bucket}/{self.folder}".encode()

    @property
    def etag(self) -> str:
        """Of `kept`."""
        return _md5(self.content)


def _escape_dots(path: str) -> str:
    """Keep `..` from being resolved before it is sent."""
    return re.sub(r"(?<=/)[.]{1,2}(?=/|$)", lambda dots: "%2e" * len(dots[0]), path)


class _Signature(SessionSignature):
    """S3 signs the name itself, however it is escaped in the URL."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        plain = request.url.raw_path.replace(b"%2e", b".")
        url = SimpleNamespace(scheme=request.url.scheme, raw_path=plain)
        same: Any = SimpleNamespace(method=request.method, url=url, headers=request.headers)
        next(super().auth_flow(same))
        yield request


class Caller:
    """Asks over HTTP, with one token or none."""

    def __init__(self, http: httpx.Client, endpoint: Endpoint, token: str | None) -> None:
        self._http = http
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._signature = _Signature(endpoint, lambda: token) if token else None

    def rest(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request to the REST API."""
        headers = {**self._headers, **options.pop("headers", {})}
        url = f"/storage/v1/{_escape_dots(path)}"
        return self._http.request(method, url, headers=headers, **options)

    def s3(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request to the S3 protocol, signed if there is a token."""
        name, mark, query = path.partition("?")
        url = f"/storage/v1/s3/{_escape_dots(quote(name))}{mark}{query}"
        return self._http.request(method, url, auth=self._signature, **options)


class World:
    """All places of all callers, and a look at what Storage has."""

    def __init__(self, deployment: Deployment, http: httpx.Client) -> None:
        self.deployment = deployment
        settings = deployment.settings
        self._endpoint = Endpoint(
            f"{settings.supabase_url}/storage/v1/s3",
            settings.project_ref,
            settings.supabase_anon_key.get_secret_value(),
        )
        self._http = http
        self._database = psycopg.connect(settings.operator_url, autocommit=True)
        self.service = self._caller(settings.supabase_service_role_key.get_secret_value())
        self.owner = deployment.add_agent()
        self.agents = self._add_agents()
        self._strangers = {caller: str(uuid4()) for caller in STRANGERS}
        self.tokens = self._tokens()
        self.callers = {name: self._caller(token) for name, token in self.tokens.items()}
        self.places = {
            (caller, scope): Place(BUCKETS.get(scope, FLEET), self._folder(caller, scope))
            for caller in CALLERS
            for scope in SCOPES
        }
        self.uploads: dict[Place, str] = {}

    def close(self) -> None:
        self._database.close()

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the owner of the database."""
        cursor = self._database.execute(query, values)
        return cursor.fetchall() if cursor.description else []

    # Making it

    def fill(self) -> None:
        """Make buckets, objects, unfinished uploads and grants; then disable who is disabled."""
        for bucket in BUCKETS_OF_IT:
            self.service.rest("POST", "bucket", json={"name": bucket}).raise_for_status()
        for bucket in (FLEET, READABLE, WRITABLE):
            self.sql("INSERT INTO argosy.buckets (name) VALUES (%s)", bucket)
        for (caller, scope), place in self.places.items():
            self._put(place.bucket, place.kept, place.content)
            self._begin(place, caller)
            self._grant(caller, scope, place)
        disabled = [self.id_of(name) for name in CALLERS if name.startswith("disabled")]
        self.sql("UPDATE argosy.agents SET disabled_at = now() WHERE id = ANY (%s)", disabled)
        self.sql("DELETE FROM argosy.agents WHERE id = %s", self.id_of("unknown"))
        self.note()

    def clear(self) -> None:
        """Leave nothing behind but the agents."""
        self.sql("DELETE FROM argosy.grants WHERE starts_with(bucket, 'matrix-')")
        self.sql("DELETE FROM argosy.buckets WHERE starts_with(name, 'matrix-')")
        for upload, bucket, key in self.sql(
            "SELECT id, bucket_id, key FROM storage.s3_multipart_uploads"
            " WHERE starts_with(bucket_id, 'matrix-')"
        ):
            self.service.s3("DELETE", f"{bucket}/{key}?uploadId={upload}").raise_for_status()
        for bucket in BUCKETS_OF_IT:
            self.service.rest("POST", f"bucket/{bucket}/empty").raise_for_status()
            self.service.rest("DELETE", f"bucket/{bucket}").raise_for_status()

    def id_of(self, caller: str) -> str:
        """An agent's id; of a stranger, the id that its folder is named after."""
        agent = self.agents.get(caller)
        return str(agent.id) if agent else self._strangers[caller]

    def _add_agents(self) -> dict[str, AgentInTest]:
        return {
            caller: self.deployment.add_agent(ROLES.get(caller, "worker"))
            for caller in CALLERS
            if caller not in STRANGERS
        }

    def _tokens(self) -> dict[str, str | None]:
        tokens: dict[str, str | None] = {name: agent.token() for name, agent in self.agents.items()}
        tokens["anonymous"] = self._endpoint.anon_key
        tokens["no token"] = None
        tokens["expired"] = self._expired_token()
        return tokens

    def _expired_token(self) -> str:
        """Three hours old: the fleet takes a request's token for an hour after its end."""
        secret = self.deployment.settings.supabase_jwt_secret
        assert secret, "these tests sign with the secret of the local stack"
        claims = jwt.decode(self.agents["expired"].token(), options={"verify_signature": False})
        claims |= {"iat": int(time.time()) - 3 * 3600, "exp": int(time.time()) - 2 * 3600}
        return jwt.encode(claims, secret.get_secret_value(), "HS256")

    def _caller(self, token: str | None) -> Caller:
        return Caller(self._http, self._endpoint, token)

    def _folder(self, caller: str, scope: str) -> str:
        if scope.startswith("own folder"):
            return f"{self.id_of(caller)}/of its own/"
        if scope == "beside one's own folder":
            return f"{self.id_of(caller)}2/"
        below = BELOW if scope.startswith("folder") else ""
        return f"{self.owner.id}/{caller}/{scope.replace(',', '')}/{below}"

    def _grant(self, caller: str, scope: str, place: Place) -> None:
        """The rows that make the scope what its name says."""
        role, agent = self.granted_role(caller, scope), self.id_of(caller)
        if scope == "somebody else's":
            agent = str(self.owner.id)
        elif "grant" not in scope or (not role and caller in ("unknown", *STRANGERS)):
            return
        for path in self._granted_paths(scope, place):
            self.sql(
                "INSERT INTO argosy.grants (bucket, path, agent_id, role, access, granted_by,"
                " expires_at) VALUES (%s, %s, %s, %s, %s, %s, now() + %s::interval)"
                " ON CONFLICT DO NOTHING",
                *(place.bucket, path, None if role else agent, role),
                "read" if scope.endswith("read") else "write",
                self.owner.id,
                "-1 second" if scope.startswith("expired") else "1 hour",
            )

    def granted_role(self, caller: str, scope: str) -> str | None:
        """The role that a place of the caller was granted to, if it was to one."""
        role = ROLES.get(caller, "worker")
        if scope.startswith("another role"):
            return "worker" if role == "reader" else "reader"
        return role if scope.startswith("role") else None

    def _granted_paths(self, scope: str, place: Place) -> list[str]:
        if scope.startswith("object"):
            return [place.kept, place.new]
        if scope.startswith("bucket"):
            return [""]
        if scope.startswith("beside"):
            return self._paths_beside(place)
        return [place.folder.removesuffix(BELOW)]

    def _paths_beside(self, place: Place) -> list[str]:
        """A shorter name, an object of the folder's name, and one that is a pattern for it."""
        folder = place.folder.removesuffix("/")
        return [f"{folder.removesuffix(' folder')}/", folder, place.folder.replace(" ", "_")]

    # Looking at it

    def snapshot(self) -> Snapshot:
        """Every row of Storage that is of this world, in PostgreSQL's words."""
        return {table: tuple(row for (row,) in self.sql(rows)) for table, rows in _ROWS.items()}

    def has_changed(self) -> bool:
        """Whether a row differs from what was last noted."""
        return self._fingerprint() != self._noted

    def note(self) -> None:
        """Take what is there now as it should be."""
        self._noted = self._fingerprint()

    def _fingerprint(self) -> str:
        [(fingerprint,)] = self.sql(_FINGERPRINT)
        return str(fingerprint)

    def bytes_of(self, bucket: str, name: str) -> bytes | None:
        """An object as the service role reads it; None where there is none."""
        answer = self.service.rest("GET", f"object/authenticated/{bucket}/{name}")
        return answer.content if answer.status_code == 200 else None

    # Putting it right again

    def restore(self, caller: str, *places: Place) -> None:
        """Make these places again as they were, and note it."""
        for place in places:
            if self.bytes_of(place.bucket, place.kept) != place.content:
                self._put(place.bucket, place.kept, place.content)
            self.service.rest("DELETE", f"object/{place.bucket}", json={"prefixes": [place.new]})
            self._end_uploads(place)
            self._begin(place, caller)
        self.note()

    def _put(self, bucket: str, name: str, content: bytes) -> None:
        self.service.rest(
            "POST", f"object/{bucket}/{name}", content=content, headers={"x-upsert": "true"}
        ).raise_for_status()

    def _begin(self, place: Place, caller: str) -> None:
        """An upload of `new`, its only part sent, as if the caller had begun it."""
        answer = self.service.s3("POST", f"{place.bucket}/{place.new}?uploads=").raise_for_status()
        upload = answer.text.partition("<UploadId>")[2].partition("<")[0]
        query = f"partNumber=1&uploadId={upload}"
        self.service.s3(
            "PUT", f"{place.bucket}/{place.new}?{query}", content=PART
        ).raise_for_status()
        self.uploads[place] = upload
        self.give_upload(place, self.id_of(caller))

    def give_upload(self, place: Place, owner: object) -> None:
        """Have an unfinished upload be somebody's."""
        for table, column in _UPLOAD_ID.items():
            query = f"UPDATE storage.{table} SET owner_id = %s WHERE {column} = %s"
            self.sql(query, str(owner), self.uploads[place])

    def _end_uploads(self, place: Place) -> None:
        for (upload,) in self.sql(
            "SELECT id FROM storage.s3_multipart_uploads WHERE bucket_id = %s AND key = %s",
            place.bucket,
            place.new,
        ):
            path = f"{place.bucket}/{place.new}?uploadId={upload}"
            self.service.s3("DELETE", path).raise_for_status()


WorldT = TypeVar("WorldT", bound=World)


@contextmanager
def world_in(deployment: Deployment, kind: type[WorldT] = World) -> Iterator[WorldT]:
    """The world, made; it goes whatever happens."""
    with httpx.Client(base_url=deployment.settings.supabase_url, timeout=30) as http:
        world = kind(deployment, http)
        try:
            world.fill()
            yield world
        finally:
            world.clear()
            world.close()
