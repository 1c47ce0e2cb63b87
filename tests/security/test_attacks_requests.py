"""Everything that a request can be made of, sent to the real fleet at once by an agent of ours.

Nothing passes, nothing crashes a worker, and the audit has every refusal.
"""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from celery.result import AsyncResult
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from argosy import FileReference
from argosy.auth import TOKEN_HEADER
from argosy.errors import Error
from argosy.tokens import AUDIENCE
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote, until
from tests.integration.test_bad_input import new_agent
from tests.security.wire import Audit, Workers, body, message, post

pytestmark = pytest.mark.skipif(remote(), reason="looks at the processes of the local stack")

MARK = b"what only the victim may read"


@dataclass(frozen=True)
class Attack:
    """One request; `ends` are the codes that it may end with, `done` that it may be carried out."""

    task: str
    arguments: list[Any]
    named: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] | None = None
    task_id: str | None = None
    done: bool = False
    ends: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scene:
    """Who attacks whom, and with what at hand."""

    deployment: Deployment
    intruder: AgentInTest
    victim: AgentInTest
    own: FileReference
    theirs: FileReference
    good: str
    listener: str

    @property
    def spool(self) -> str:
        return str(self.deployment.spool)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        issuer = f"{self.deployment.settings.supabase_url}/auth/v1"
        usual = {
            "sub": str(self.victim.id),
            "role": AUDIENCE,
            "aud": AUDIENCE,
            "iss": issuer,
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not ...}

    @property
    def secret(self) -> str:
        secret = self.deployment.settings.supabase_jwt_secret
        assert secret, "the local stack signs with HS256"
        return secret.get_secret_value()


# Paths


TRAVERSALS = (
    "../secrets.json",
    "../../secrets.json",
    "./../secrets.json",
    "a/../../secrets.json",
    "%2e%2e/secrets.json",
    "%2e%2e%2fsecrets.json",
    "%252e%252e%252fsecrets.json",
    "..%2fsecrets.json",
    "..%c0%afsecrets.json",
    "..%u2215secrets.json",
    "..\\secrets.json",
    "..%5csecrets.json",
    "..\u2215secrets.json",
    "..\u2044secrets.json",
    "\uff0e\uff0e/secrets.json",
    "\uff0e\uff0e\uff0fsecrets.json",
    "\u2024\u2024/secrets.json",
    "\u2025/secrets.json",
    ".\u200b./secrets.json",
    ".\u00ad./secrets.json",
    "\u202e../secrets.json",
    "....//secrets.json",
    ".../...//secrets.json",
    "..;/secrets.json",
    ".. /secrets.json",
    "..\t/secrets.json",
    "..\n/secrets.json",
    "..\r\n/secrets.json",
    "\x7f../secrets.json",
    "~/secrets.json",
    "~root/.bashrc",
    "$HOME/.bashrc",
    "${ARGOSY_SPOOL}/../secrets.json",
    "`cat ../secrets.json`",
    "$(cat ../secrets.json)",
    "|cat ../secrets.json",
    "*",
    "{.,..}/secrets.json",
    "C:\\secrets.json",
    "\\\\host\\share\\secrets.json",
    "\udcff/../secrets.json",
    "a" * 256,
    "a/" * 2000,
    ".",
    "..",
    "./",
    "/",
    "",
)

ABSOLUTE = (
    "/etc/passwd",
    "//etc/passwd",
    "/./etc/passwd",
    "/../etc/passwd",
    "/proc/self/environ",
    "/proc/self/root/etc/passwd",
    "/proc/self/fd/0",
    "/dev/stdin",
    "/dev/zero",
    "/dev/tcp/127.0.0.1/80",
    "etc/passwd",
    "file:///etc/passwd",
    "",
    "/",
    "\0",
    "/\0",
)


def _paths(scene: Scene) -> Iterator[Attack]:
    """As a source none of them is there; as a destination some are strange names in the spool."""
    outside = frozenset(
        {
            "source_outside_spool",
            "source_missing",
            "source_not_a_file",
            "source_unreadable",
            "invalid_request",
            "destination_outside_spool",
            "destination_unwritable",
            "destination_exists",
        }
    )
    written = scene.own.document()
    for path in (*(f"{scene.spool}/{one}" for one in TRAVERSALS), *ABSOLUTE):
        yield Attack("transfer.upload", [path], ends=outside)
        yield Attack("transfer.download", [written, f"{path}.written"], ends=outside, done=True)


def _servers(scene: Scene) -> Iterator[Attack]:
    """The fleet opens no URL that a request names."""
    refused = frozenset({"invalid_request", "source_outside_spool", "destination_outside_spool"})
    places = (
        f"http://{scene.listener}/x",
        f"https://{scene.listener}/x",
        f"ftp://{scene.listener}/x",
        f"gopher://{scene.listener}/x",
        f"//{scene.listener}/x",
        f"\\\\{scene.listener}\\x",
        f"s3://{scene.listener}/x",
        f"/{scene.listener}/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost@127.0.0.1/",
        "data:text/plain,hello",
        "jar:file:///x!/y",
    )
    for place in places:
        yield Attack("transfer.upload", [place], ends=refused)
        yield Attack("transfer.download", [scene.own.document(), place], ends=refused)
        yield Attack(
            "transfer.upload", [scene.good], {"bucket": place}, ends=frozenset({"invalid_request"})
        )


# Text in every field


TEXTS = (
    "'; DROP TABLE argosy.transfers; --",
    "' OR '1'='1",
    "\\'; DELETE FROM argosy.agents; --",
    "$$; SELECT pg_sleep(60); $$",
    "'||pg_sleep(60)||'",
    "1); COPY argosy.agents TO PROGRAM 'true'; --",
    "\u02bc; DROP SCHEMA argosy CASCADE",
    "%(id)s %s %n {0} :id $1 ?",
    "${jndi:ldap://127.0.0.1/x}",
    "{{7*7}}<%= 7*7 %>",
    "<script>alert(1)</script>",
    "x\r\nx-amz-acl: public-read-write",
    "x\r\n\r\nHTTP/1.1 200 OK",
    "x\nx-upsert: true",
    "x\u2028y\u2029z",
    "\u0000",
    "a\u0000b",
    "\udc00 half",
    "\ud83d",
    "\ufeffbom",
    "\u202etxt.exe",
    "e\u0301" * 400,
    "ﷺ" * 300,
    "\U0010ffff",
    "\x1b[2J\x1b]0;title\x07",
    "A" * 70_000,
    " ",
    "",
)
REFUSED_TEXT = frozenset(
    {
        "invalid_request",
        "invalid_reference",
        "source_missing",
        "source_unreadable",
        "bucket_not_found",
        "object_not_found",
        "storage_refused",
        "access_denied",
        "source_outside_spool",
        "destination_unwritable",
        "destination_outside_spool",
        "destination_exists",
        "type_not_allowed",
        "checksum_mismatch",
    }
)


def _texts(scene: Scene) -> Iterator[Attack]:
    """Each where a string is expected. Some are good names, and then are kept as they are."""
    reference = scene.own.document()
    for number, text in enumerate(TEXTS):
        back = f"{scene.spool}/text-{number}"
        for where in ("bucket", "name", "content_type", "idempotency_key"):
            yield _either("transfer.upload", [scene.good], {where: text})
        yield _either("transfer.upload", [f"{scene.spool}/{text}"])
        yield _either("transfer.download", [reference, f"{scene.spool}/{text}"])
        for where in (name for name, value in reference.items() if isinstance(value, str)):
            edited = {**reference, where: text}
            yield _either("transfer.download", [edited, f"{back}-{where}"])
        for edited in ({"metadata": {text: text}}, {"grants": [text]}, {text: text}):
            yield _either("transfer.download", [{**reference, **edited}, f"{back}-{len(edited)}"])
        yield _either("transfer.share", [reference, [text]])
        yield _either("transfer.share", [{"bucket": text, "path": text}, [scene.intruder.name]])
        yield _either("transfer.share", [reference, [scene.intruder.name]], {"access": text})
        yield _either("transfer.delete", [{**reference, "path": text}])


def _either(task: str, arguments: list[Any], named: dict[str, Any] | None = None) -> Attack:
    return Attack(task, arguments, named or {}, done=True, ends=REFUSED_TEXT)


# Values that are no text


def _nested(depth: int, value: Any = "deep") -> Any:
    for _ in range(depth):
        value = {"a": [value]}
    return value


def _values(scene: Scene) -> Iterator[Attack]:
    wrong = frozenset({"invalid_request", "invalid_reference"})
    odd: tuple[Any, ...] = (
        None, True, 0, -1, 10**400, 1e308, float("nan"), float("inf"), [], {}, [[]], [None],
        {"__type__": "bytes", "__value__": "x"}, {"__type__": "decimal", "__value__": "NaN"},
        {"__type__": "datetime", "__value__": "2026-01-01"}, _nested(100), ["x"] * 10_000,
    )  # fmt: skip
    for value in odd:
        yield Attack("transfer.upload", [value], ends=wrong)
        yield Attack("transfer.download", [value, f"{scene.spool}/x"], ends=wrong)
        yield Attack("transfer.download", [scene.own.document(), value], ends=wrong)
        yield Attack("transfer.share", [value, ["x"]], ends=wrong)
        yield Attack("transfer.delete", [value], ends=wrong)
        yield _either("transfer.share", [scene.own.document(), value])
        for name in ("bucket", "name", "content_type", "idempotency_key"):
            yield _either("transfer.upload", [scene.good], {name: value})
    yield Attack("transfer.upload", [[[]] * 250_000], ends=wrong)
    for name in ("self", "args", "kwargs", "task", "headers", "__class__", "source", ""):
        yield Attack("transfer.upload", [scene.good], {name: scene.good}, ends=wrong)


def _numbers(scene: Scene) -> Iterator[Attack]:
    """What a reference says of its file, wrong in every way that a number can be."""
    wrong = frozenset({"invalid_reference", "checksum_mismatch", "invalid_request"})
    for number, value in enumerate(
        (0, -1, 1, 10**12, 5 * 1024**4 + 1, 2**63, 10**4000, 0.5, -0.0, float("nan"),
         float("inf"), float("-inf"), "10", "0x10", "\u0661\u0660", [10], True, False, None)
    ):  # fmt: skip
        for name in ("size", "chunk_size", "chunk_count"):
            edited = {**scene.own.document(), name: value}
            target = f"{scene.spool}/number-{name}-{number}"
            yield Attack(
                "transfer.download",
                [edited, target],
                ends=wrong,
                done=name != "size" or value == "10",
            )
    for value in ("0" * 64, "f" * 64, "F" * 64, "0" * 63, "\u0660" * 64, "", None, "0" * 64 + "\n"):
        edited = {**scene.own.document(), "sha256": value}
        target = f"{scene.spool}/hash-{uuid4().hex}"
        yield Attack("transfer.download", [edited, target], ends=wrong)


# What is somebody else's


def _others(scene: Scene) -> Iterator[Attack]:
    """References that are edited, or simply theirs: reading, sharing, deleting, writing."""
    denied = frozenset(
        {
            "object_not_found",
            "access_denied",
            "invalid_reference",
            "invalid_request",
            "checksum_mismatch",
            "bucket_not_found",
            "storage_refused",
        }
    )
    theirs, mine = scene.theirs.document(), scene.own.document()
    path, folder = theirs["path"], f"{scene.victim.id}/"
    paths = (
        path,
        path.upper(),
        f"/{path}",
        f"{path}/",
        f"./{path}",
        path.replace("/", "//"),
        path.replace("/", "%2f"),
        path.replace("/", "\\"),
        path.replace("-", "%2d"),
        path.replace("-", "\u2010"),
        path.replace("/", "\u2215"),
        f"{scene.intruder.id}/../{path}",
        f"{scene.intruder.id}/%2e%2e/{path}",
        f"{path}?versionId=1",
        f"{path}#x",
        f"{path}\0",
        f"{path} ",
        folder,
        folder.rstrip("/"),
        "",
        "*",
        "%",
        "_",
    )
    edits = [
        theirs,
        {**theirs, "owner": mine["owner"]},
        {**theirs, "id": mine["id"]},
        {**theirs, "owner": mine["owner"], "id": mine["id"], "name": mine["name"]},
        {**theirs, "bucket": "persistent-data"},
        {**theirs, "bucket": "agent-transfers/../agent-transfers"},
        {**theirs, "grants": [f"read:{scene.intruder.name}", "write:role:worker"]},
        {**theirs, "expires_at": None, "metadata": {"owner": mine["owner"]}},
        *({**mine, "path": one} for one in paths),
        *({**theirs, "path": one} for one in paths),
    ]
    for number, edited in enumerate(edits):
        yield Attack("transfer.download", [edited, f"{scene.spool}/stolen-{number}"], ends=denied)
        yield Attack("transfer.delete", [edited], ends=denied)
        yield Attack("transfer.share", [edited, [scene.intruder.name]], ends=denied)
        may = "%2e%2e" in edited["path"]  # a folder of one's own, if a strange one
        yield Attack("transfer.unshare", [edited, [scene.intruder.name]], ends=denied, done=may)
    for one in paths:
        place = {"bucket": theirs["bucket"], "path": one}
        yield Attack("transfer.share", [place, [scene.intruder.name]], ends=denied)
        yield Attack("transfer.share", [place, ["role:worker"]], {"access": "write"}, ends=denied)
    for bucket in ("storage", "argosy", "auth", ".", "..", "agent-transfers/x", "AGENT-TRANSFERS"):
        yield Attack("transfer.upload", [scene.good], {"bucket": bucket}, ends=denied)


def _anothers_ids(scene: Scene) -> Iterator[Attack]:
    """The id of another's transfer: the refusal must not become the victim's result."""
    refused = frozenset({"idempotency_conflict", "invalid_request"})
    victims = str(scene.theirs.id)
    for arguments in ([scene.good], ["/nowhere"], [], [1, 2, 3, 4, 5, 6, 7]):
        yield Attack("transfer.upload", arguments, task_id=victims, ends=refused)
    yield Attack("transfer.delete", [scene.own.document()], task_id=victims, ends=refused)
    yield Attack("transfer.share", [scene.own.document(), ["x"]], task_id=victims, ends=refused)
    for spelling in (victims.upper(), f"{{{victims}}}", f"urn:uuid:{victims}", UUID(victims).hex):
        yield Attack("transfer.upload", [scene.good], task_id=spelling, ends=refused)


# Who asks


def _tokens(scene: Scene) -> Iterator[Attack]:
    """The victim's name on a token that Auth has not made, or not for this."""
    refused = frozenset({"invalid_token", "not_signed_in", "access_denied"})
    for token in [*_forged(scene), *_unfit(scene), *_no_tokens()]:
        headers = {TOKEN_HEADER: token}
        yield Attack("transfer.upload", [scene.good], headers=headers, ends=refused)
    for headers in (
        {},
        {"Argosy_Token": _signed(scene)},
        {"argosy-token": _signed(scene)},
        {"authorization": f"Bearer {_signed(scene)}"},
        {TOKEN_HEADER: f"Bearer {_signed(scene)}"},
        {"acting_for": str(scene.victim.id), "sent_by": str(scene.victim.id)},
        {"argosy_acting_for": str(scene.victim.id)},
    ):
        yield Attack("transfer.upload", [scene.good], headers=headers, ends=refused)


def _signed(scene: Scene, *, key: Any = None, algorithm: str = "HS256", **changes: Any) -> str:
    header = changes.pop("header", None)
    return jwt.encode(scene.claims(**changes), key or scene.secret, algorithm, header)


def _by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes = b"") -> str:
    """What no library would sign."""
    parts = [jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims)]
    mark = hmac.digest(key, b".".join(parts), "sha256") if key else b""
    return b".".join([*parts, jwt.utils.base64url_encode(mark)]).decode()


def _forged(scene: Scene) -> Iterator[str]:
    """Signed by nobody, or by somebody else."""
    claims, good = scene.claims(), _signed(scene)
    for name in ("none", "None", "NONE", "nOnE", "", "HS256 ", "hs256"):
        yield _by_hand({"alg": name, "typ": "JWT"}, claims)
        yield _by_hand({"alg": name, "typ": "JWT"}, claims, scene.secret.encode())
    yield _signed(scene, key="the secret of some other project, 32 bytes")
    yield _signed(scene, algorithm="HS384")
    yield _signed(scene, algorithm="HS512")
    anon = scene.deployment.environment["SUPABASE_ANON_KEY"]
    yield _signed(scene, key=anon)
    elliptic, big = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    yield _signed(scene, key=elliptic, algorithm="ES256", header={"kid": "mine"})
    yield _signed(scene, key=big, algorithm="RS256", header={"kid": "mine"})
    yield _signed(scene, key=big, algorithm="PS256")
    public = elliptic.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    yield _by_hand({"alg": "HS256"}, claims, public)  # a public key, taken for HMAC's secret
    where = f"http://{scene.listener}/keys"
    yield _signed(scene, key="mine" * 8, header={"jku": where, "x5u": where, "kid": where})
    yield _signed(scene, key="mine" * 8, header={"jwk": {"kty": "oct", "k": "bWluZQ"}})
    yield _signed(scene, key="mine" * 8, header={"kid": "../../../../dev/null"})
    yield _signed(scene, key="mine" * 8, header={"kid": "' UNION SELECT 'mine' --"})
    yield _signed(scene, header={"crit": ["exp"], "b64": False})
    yield good[:-2]
    yield good[:-1] + ("A" if good[-1] != "A" else "B")
    yield ".".join([good.split(".")[0], _signed(scene, sub=str(uuid4())).split(".")[1], "x"])
    yield good + ".x"
    yield good.replace(".", "..", 1)


def _unfit(scene: Scene) -> Iterator[str]:
    """Signed by this project, and all the same no token of an agent for now."""
    now = int(time.time())
    for changes in (
        {"exp": ...}, {"exp": now - 86_400}, {"exp": 0}, {"exp": -1}, {"exp": "soon"},
        {"exp": None}, {"exp": 10**30}, {"exp": [now + 60]}, {"iat": now + 3600},
        {"nbf": now + 3600}, {"iat": "x"}, {"sub": ...}, {"sub": ""}, {"sub": "admin"},
        {"sub": str(scene.victim.id).upper()}, {"sub": f" {scene.victim.id}"},
        {"sub": f"{{{scene.victim.id}}}"}, {"sub": str(uuid4())},
        {"sub": "00000000-0000-0000-0000-000000000000"},
        {"role": "service_role"}, {"role": "anon"}, {"role": ...}, {"role": ["authenticated"]},
        {"aud": "others"}, {"aud": ...}, {"aud": []}, {"aud": {}},
    ):  # fmt: skip
        yield _signed(scene, **changes)
    yield scene.deployment.environment["SUPABASE_ANON_KEY"]
    yield scene.deployment.environment["SUPABASE_SERVICE_ROLE_KEY"]
    deep = "[" * 5000 + "]" * 5000
    yield _by_hand({"alg": "HS256"}, scene.claims()).replace("e30", deep)


def _no_tokens() -> Iterator[Any]:
    yield from ("x", ".", "..", "...", "a.b.c", "\0", "\r\n", "é" * 100, "e" * 100_000, "Bearer x")
    yield from (0, 1, True, 1.5, ["x"], [])


# The corpus


@contextmanager
def _listening() -> Iterator[tuple[str, list[Any]]]:
    """A server that notes who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        seen: list[Any] = []

        def listen() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                seen.append(address)
                connection.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


FAMILIES: tuple[Callable[[Scene], Iterator[Attack]], ...] = (
    _paths,
    _servers,
    _texts,
    _values,
    _numbers,
    _others,
    _anothers_ids,
    _tokens,
)


def _outside(deployment: Deployment) -> dict[str, int]:
    """What is beside the spool, and must stay as it is: names, and when they were written."""
    places = [deployment.data, Path("/tmp"), Path("/etc")]
    own = {deployment.spool, deployment.data / "logs"}
    return {
        str(path): path.lstat().st_ctime_ns
        for place in places
        for path in place.glob("*.json" if place == Path("/tmp") else "*")
        if path not in own and path.is_file()
    }


def _send(scene: Scene, attack: Attack, headers: dict[str, Any], send: Any) -> str:
    """As JSON that Python's own module writes: also what a Celery client would not send."""
    task_id = attack.task_id or str(uuid4())
    told = headers if attack.headers is None else attack.headers
    told = {name: value for name, value in told.items() if _fits(value)}
    text = body(attack.arguments, attack.named)
    send(message(text, task=attack.task, id=task_id, **told))
    return task_id


def _fits(value: Any) -> bool:
    """RabbitMQ takes no headers larger than a frame."""
    return len(str(value)) <= 110_000


def test_nothing_passes(deployment: Deployment, spool: Path) -> None:
    intruder, victim = new_agent(deployment), new_agent(deployment)
    good = deployment.make_file("good.bin", 10)
    secret = spool / "victims.bin"
    secret.write_bytes(MARK)
    own = FileReference.parse(Sender(intruder).upload(good).get(timeout=RESULT_SECONDS))
    theirs = FileReference.parse(Sender(victim).upload(secret).get(timeout=RESULT_SECONDS))
    secret.unlink()
    victims = deployment.objects(victim)
    headers = Sender(intruder).headers
    workers, audit, before = Workers(deployment), Audit(deployment), _outside(deployment)
    with _listening() as (listener, visitors), post(deployment) as send:
        scene = Scene(deployment, intruder, victim, own, theirs, str(good), listener)
        attacks = [attack for family in FAMILIES for attack in family(scene)]
        sent = [(_send(scene, attack, headers, send), attack) for attack in attacks]
        wrong = [found for one in sent if (found := _went_wrong(deployment, *one))]
    assert not wrong, "\n".join(wrong)
    assert visitors == []
    _every_refusal_is_in_the_audit(deployment, audit, sent)
    assert _outside(deployment) == before
    assert not [path for path in spool.rglob("*") if path.is_file() and MARK in path.read_bytes()]
    assert deployment.objects(victim) == victims
    _the_victim_noticed_nothing(deployment, victim, theirs)
    again = Sender(intruder).upload(good).get(timeout=RESULT_SECONDS)
    assert FileReference.parse(again).size == 10
    workers.are_unharmed()


def _went_wrong(deployment: Deployment, task_id: str, attack: Attack) -> str | None:
    """None when it ended as it may."""
    if attack.task_id:
        return None  # the result is the victim's: the audit tells
    try:
        answer = AsyncResult(task_id, app=deployment.app).get(timeout=RESULT_SECONDS)
    except Error as error:
        return None if error.code in attack.ends else _account(attack, error)
    return None if attack.done else _account(attack, answer)


def _account(attack: Attack, answer: Any) -> str:
    return f"{attack.task} {str(attack.arguments)[-300:]} {attack.named} -> {answer!r:.300}"


def _every_refusal_is_in_the_audit(
    deployment: Deployment, audit: Audit, sent: list[tuple[str, Attack]]
) -> None:
    """Once each, and nothing else: what was taken has a row of its own, and its events."""
    of_victim = Counter(task_id for task_id, attack in sent if attack.task_id)
    others = [task_id for task_id, attack in sent if not attack.task_id]
    taken = {str(row.id) for row in deployment.query("SELECT id FROM argosy.transfers")}
    taken |= {str(row.id) for row in deployment.query("SELECT id FROM argosy.acts")}
    expected = Counter(task_id for task_id in others if task_id not in taken) + of_victim

    def found() -> Counter[str]:
        """But for a deletion that was taken, and then refused by Storage: that may come late."""
        rows = Counter(row.request_id for row in audit.rows())
        return Counter({one: rows[one] for one in rows if one in of_victim or one not in taken})

    until(lambda: not expected - found(), what="all rows of the audit")
    assert found() - expected == Counter()
    assert all(row.reason and row.worker for row in audit.rows())
    failed = deployment.query(
        "SELECT t.id FROM argosy.transfers t WHERE t.state = 'failed' "
        "AND t.id::text = ANY(:sent) AND NOT EXISTS "
        "(SELECT FROM argosy.events e WHERE e.transfer_id = t.id AND e.outcome <> 'ok')",
        sent=[task_id for task_id, _ in sent],
    )
    assert failed == []


def _the_victim_noticed_nothing(
    deployment: Deployment, victim: AgentInTest, theirs: FileReference
) -> None:
    result = AsyncResult(str(theirs.id), app=deployment.app)
    assert FileReference.parse(result.get(timeout=RESULT_SECONDS)) == theirs
    grants = deployment.query(
        "SELECT path FROM argosy.grants WHERE starts_with(path, :folder)", folder=str(victim.id)
    )
    assert grants == []
    target = deployment.spool / "still-there.bin"
    Sender(victim).download(theirs, target).get(timeout=RESULT_SECONDS)
    assert target.read_bytes() == MARK
    target.unlink()
