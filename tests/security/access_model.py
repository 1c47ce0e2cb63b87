"""Who may do what, in ten lines, and lives that compare them with the real thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol
from uuid import uuid4

from hypothesis import strategies as st

FLEET, OTHER = "model-fleet", "model-other"
ROLES = ("worker", "reader", "admin")
AGENTS = ("ann", "bob", "cid")
STRANGER = "nobody"
"""A user of Auth who is no agent."""

ODD = {"", ".", ".."}
"""No object of the fleet may have such a segment in its name."""


@dataclass
class Agent:
    """An agent's row."""

    role: str
    disabled: bool = False


@dataclass(frozen=True)
class Grant:
    """A grant's row; the grantee is an agent's id or a role."""

    bucket: str
    path: str
    grantee: str
    access: str


@dataclass
class Model:
    """The rules of access. `grants` says of each whether it lasts."""

    agents: dict[str, Agent] = field(default_factory=dict)
    grants: dict[Grant, bool] = field(default_factory=dict)
    fleet: set[str] = field(default_factory=lambda: {FLEET})

    def may(self, who: str, bucket: str, name: str, wanted: str) -> bool:
        agent = self.agents.get(who)
        if agent is None or agent.disabled or bucket not in self.fleet or ODD & {*name.split("/")}:
            return False
        if agent.role == "admin" or (agent.role == "reader" and wanted == "write"):
            return agent.role == "admin"
        grants = [g for g, lasts in self.grants.items() if lasts and g.access in (wanted, "write")]
        mine = [g for g in grants if g.bucket == bucket and g.grantee in (who, agent.role)]
        paths = [f"{who}/", *(g.path for g in mine)]
        return any(p in ("", name) or (p[-1] == "/" and name.startswith(p)) for p in paths)


class Reality(Protocol):
    """What the model is compared with."""

    def sql(self, query: str, *values: Any) -> None:
        """As the owner of the database."""

    def tries(self, who: str, bucket: str, name: str) -> dict[str, bool]:
        """Whether each thing that an agent can do worked; `read …` or `write …` is its name."""

    def decides(self, who: str, bucket: str, names: list[str]) -> dict[str, tuple[bool, bool]]:
        """What may be read and written of these, as far as it can be asked at once."""

    def lists(self, who: str, bucket: str, names: set[str]) -> set[str]:
        """Which of these an agent sees, when all of them are there."""

    def close(self) -> None:
        """Undo everything."""


PLAIN = ("a", "b", "bc", "b_", "b c", "(a)", "a.b", "...", ".a", "A", "a'b", "$1", "a&b")
"""Segments that share beginnings or look like patterns; all legal in Storage."""
STRANGE = (*PLAIN, "%", "b%", "\\", "a\\", "ä", "\n", "..\n", *ODD)
"""With those that Storage refuses: if one gets in, the rules hold all the same."""
OWNERS = (*AGENTS, STRANGER, "x")
"""Whose folder an object is in; `x` is nobody's."""
JOINTS = ("/", "/", "/", "", "x/")
"""Between an owner's id and the rest: mostly it is a folder, else it only begins like one."""
MOSTLY = ("worker", "worker", "reader", "reader", "admin")
"""Roles of agents: an admin may all, which shows little."""
ENDS = {"never": True, "1 hour": True, "0 seconds": False, "-1 second": False}
"""When a grant ends from now, and whether it lasts."""

Name = tuple[str, str, str, str]
"""Of an object: its bucket, its owner, a joint and the rest."""
Steps = list[tuple[tuple[Any, ...], tuple[Any, ...]]]
"""A grant and something else, in turn: a method of Life, and what it is called with."""


def names(segments: tuple[str, ...]) -> st.SearchStrategy[Name]:
    """Objects that something is done to: short names and deep ones."""
    short = st.lists(st.sampled_from(segments), min_size=1, max_size=3)
    deep = st.lists(st.sampled_from(segments[:3]), min_size=9, max_size=12)
    return st.tuples(
        st.sampled_from((FLEET, FLEET, FLEET, OTHER)),
        st.sampled_from(OWNERS),
        st.sampled_from(JOINTS),
        st.one_of(short, short, deep).map("/".join),
    )


def lives(segments: tuple[str, ...], least: int, most: int) -> st.SearchStrategy[Any]:
    """What the agents are, what objects there are, and what happens then."""
    which = st.integers(0, 100)
    agent = st.sampled_from(AGENTS)
    grants = st.tuples(
        st.just("grant"),
        *(which, which, st.sampled_from((*AGENTS, *AGENTS, *ROLES))),
        *(st.sampled_from(("read", "write")), st.sampled_from(list(ENDS))),
    )
    others = st.one_of(
        st.tuples(st.just("access"), which),
        st.tuples(st.just("revoke"), which),
        st.tuples(st.just("expire"), which),
        st.tuples(st.just("become"), agent, st.sampled_from(MOSTLY)),
        st.tuples(st.just("disable"), agent, st.sampled_from((True, False, False))),
        st.tuples(st.just("join"), st.booleans()),
        st.tuples(st.just("list_all"), st.sampled_from((FLEET, OTHER))),
    )
    return st.tuples(
        st.tuples(*(st.sampled_from(MOSTLY) for _ in AGENTS)),
        st.lists(names(segments), min_size=4, max_size=6),
        st.lists(st.tuples(grants, others), min_size=least, max_size=most),
    )


def paths_near(name: str) -> list[str]:
    """Paths that cover a name, and those that only look so."""
    parts = name.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    folders = [f"{path}/" for path in above]
    # Most of them cover it: each kind is to be drawn about as often.
    return ["", name, name, *folders[:1], *folders[-1:], *folders, f"{name}/", name[:-1], *above]


def names_near(path: str) -> list[str]:
    """Names that a path covers, and those that are one letter away from it."""
    base = path.rstrip("/")
    below = [f"{base}/a", f"{base}/b c/a", base + "/a" * 12]
    beside = [f"{base}x", f"{base}x/a", base[:-1], base.swapcase(), f"{base}.../a"]
    like = [base.replace("_", "x"), base.replace("%", "xy"), base.replace(".", "x")]
    led_astray = [f"{base}//a", f"{base}/./a", f"{base}/../a", f"{base}/"]
    every = [base, *below, *beside, *like, *(f"{name}/a" for name in like), *led_astray]
    return sorted({name for name in every if name})


class Life:
    """Agents, grants and objects to which things happen, in the model and in reality."""

    def __init__(self, reality: Reality, roles: tuple[str, ...], names_: list[Name]) -> None:
        self.reality, self.model = reality, Model()
        self.ids = {name: str(uuid4()) for name in (*AGENTS, STRANGER)}
        self.objects = [
            (bucket, self.ids.get(owner, owner) + joint + rest)
            for bucket, owner, joint, rest in names_
        ]
        for name, role in zip(AGENTS, roles, strict=True):
            self.model.agents[self.ids[name]] = Agent(role)
            query = "INSERT INTO argosy.agents (id, name, role) VALUES (%s, %s, %s)"
            reality.sql(query, self.ids[name], f"{name}-{self.ids[name][:8]}", role)

    # What happens

    def grant(self, which: int, path: int, grantee: str, access: str, ends: str) -> None:
        bucket, name = self._object(which)
        near = paths_near(name)
        grant = Grant(bucket, near[path % len(near)], self.ids.get(grantee, grantee), access)
        self.model.grants[grant] = ENDS[ends]
        role = grantee if grantee in ROLES else None
        self.reality.sql(
            "INSERT INTO argosy.grants (bucket, path, agent_id, role, access, granted_by,"
            " expires_at) VALUES (%s, %s, %s, %s, %s, gen_random_uuid(), now() + %s::interval)"
            " ON CONFLICT ON CONSTRAINT uq_grants_once DO UPDATE SET"
            " expires_at = excluded.expires_at",
            *(bucket, grant.path, None if role else grant.grantee, role, access),
            None if ends == "never" else ends,
        )
        self._look_around(grant.path)

    def revoke(self, which: int) -> None:
        if grant := self._some_grant(which):
            del self.model.grants[grant]
            self._change(grant, "DELETE FROM argosy.grants")

    def expire(self, which: int) -> None:
        if grant := self._some_grant(which):
            self.model.grants[grant] = False
            self._change(grant, "UPDATE argosy.grants SET expires_at = now()")

    def become(self, name: str, role: str) -> None:
        self.model.agents[self.ids[name]].role = role
        self.reality.sql("UPDATE argosy.agents SET role = %s WHERE id = %s", role, self.ids[name])
        self._look_around()

    def disable(self, name: str, disabled: bool) -> None:
        self.model.agents[self.ids[name]].disabled = disabled
        query = "UPDATE argosy.agents SET disabled_at = CASE WHEN %s THEN now() END WHERE id = %s"
        self.reality.sql(query, disabled, self.ids[name])
        self._look_around()

    def join(self, joins: bool) -> None:
        """The other bucket becomes one of the fleet's, or leaves it."""
        self.model.fleet = {FLEET, OTHER} if joins else {FLEET}
        query = "INSERT INTO argosy.buckets (name) VALUES (%s) ON CONFLICT DO NOTHING"
        self.reality.sql(query if joins else "DELETE FROM argosy.buckets WHERE name = %s", OTHER)
        self._look_around()

    def _object(self, which: int) -> tuple[str, str]:
        return self.objects[which % len(self.objects)]

    def _some_grant(self, which: int) -> Grant | None:
        grants = list(self.model.grants)
        return grants[which % len(grants)] if grants else None

    def _change(self, grant: Grant, query: str) -> None:
        self.reality.sql(
            f"{query} WHERE (bucket, path, coalesce(agent_id::text, role), access)"
            " = (%s, %s, %s, %s)",
            *(grant.bucket, grant.path, grant.grantee, grant.access),
        )
        self._look_around(grant.path)

    # Whether they agree

    def _look_around(self, *paths: str) -> None:
        """About these paths, or about those of all grants and objects."""
        paths = paths or (*(g.path for g in self.model.grants), *(name for _, name in self.objects))
        near = sorted({name for path in paths for name in names_near(path)})
        for who in self.ids.values():
            for bucket in (FLEET, OTHER):
                found = self.reality.decides(who, bucket, near)
                assert found == {name: self._expected(who, bucket, name) for name in found}

    def _expected(self, who: str, bucket: str, name: str) -> tuple[bool, bool]:
        read, write = (self.model.may(who, bucket, name, wanted) for wanted in ("read", "write"))
        return read, write

    def access(self, which: int) -> None:
        for who in self.ids.values():
            did = self.reality.tries(who, *self._object(which))
            read, write = self._expected(who, *self._object(which))
            assert did == {what: read if what.startswith("read") else write for what in did}

    def list_all(self, bucket: str) -> None:
        there = {name for where, name in self.objects if where == bucket}
        for who in self.ids.values():
            readable = {name for name in there if self.model.may(who, bucket, name, "read")}
            assert self.reality.lists(who, bucket, there) == readable


def live(reality: Reality, life: tuple[tuple[str, ...], list[Name], Steps]) -> None:
    """Let it all happen, and undo it."""
    roles, names_, steps = life
    try:
        lived = Life(reality, roles, names_)
        for step, *details in chain.from_iterable(steps):
            getattr(lived, step)(*details)
    finally:
        reality.close()
