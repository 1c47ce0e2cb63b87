"""Writes the pages of this folder that are made from the code; `--check` only compares.

python docs/generate.py            (make docs)
python docs/generate.py --check
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import command_line
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from argosy.envelope import Envelope
from argosy.errors import BY_CODE, Error
from argosy.gateway_settings import GatewaySettings
from argosy.reference import FileReference
from argosy.settings import MIB, AgentSettings, FleetSettings, environment_name
from models import ENDED, TRANSITIONS, State
from tasks import measures
from worker import beat_metrics
from worker.looks import LOOKS
from worker.totals import COUNTERS, GAUGES, HISTOGRAMS

HERE = Path(__file__).resolve().parent
NOTE = "<!-- Made from the code by docs/generate.py: run `make docs` instead of editing. -->"

CLAIMS = {
    State.QUEUED: "whole transfer",
    State.MOVING: "each chunk",
    State.ASSEMBLING: "whole transfer",
    State.COMPLETED: "a sweep's, once its time is over",
}

STATE_MEANINGS = {
    State.QUEUED: "Asked for; the row exists.",
    State.PLANNED: "Size and parts are known; passed through on the way to `moving`.",
    State.MOVING: "Chunks are being carried; each has a lease of its own.",
    State.ASSEMBLING: "Every byte has been carried; it is put together and verified.",
    State.COMPLETED: "There, whole and verified. What an agent has stored itself begins here.",
    State.PAUSED: "Held on request: parts on their way arrive, no other begins.",
    State.FAILED: "Ended by an error, which is in the row; `cleanup` removes what is left.",
    State.CANCELLED: "Ended on request; cleaned up like a failure.",
    State.EXPIRED: "Completed, and gone from Storage since: its time ended, or it was deleted.",
}


def _page(title: str, *paragraphs: str) -> str:
    return "\n\n".join((f"# {title}", NOTE, *paragraphs)) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rule = tuple("---" for _ in head)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


# Settings


def settings_page() -> str:
    """Every setting as a table."""
    rows = ((*_setting(name, FleetSettings), _reader(name)) for name in FleetSettings.model_fields)
    gateways = (_setting(name, GatewaySettings) for name in GatewaySettings.model_fields)
    return _page(
        "Settings",
        "Settings are environment variables; `argosy/settings.py` and the `*_settings.py` beside "
        "it are their one home. An agent reads only those for *agents*; workers, beat and the "
        "commands of the operator read all. "
        "A missing or malformed one is named when the process starts.",
        _table(("name", "type", "default", "meaning", "for"), rows),
        "## The gateway",
        "Only `argosy gateway` reads these; [the gateway](gateway.md) needs no other setting.",
        _table(("name", "type", "default", "meaning"), gateways),
        "## Another Supabase project",
        "The same code runs against a real project: set `SUPABASE_URL`, `SUPABASE_ANON_KEY`, "
        "`SUPABASE_SERVICE_ROLE_KEY`, `SUPABASE_JWT_SECRET` (or `SUPABASE_JWT_SIGNING_KEY`), "
        "`SUPABASE_PROJECT_REF`, `DATABASE_URL`, `BROKER_URL`, `RESULT_URL` and `ARGOSY_SPOOL`; "
        "run `argosy bootstrap` once, then `argosy worker` and `argosy beat`.",
        "With the same variables (but for `ARGOSY_SPOOL`) `make test-remote` runs the integration "
        "tests against that project. They create agents, objects and rows: use a project, a "
        "broker and a result store that hold nothing else.",
    )


def _setting(name: str, kind: type[BaseSettings]) -> tuple[str, ...]:
    field = kind.model_fields[name]
    meaning = str(field.description).replace("|", "\\|")
    return f"`{environment_name(name, kind)}`", _type(field), _default(field), meaning


def _reader(name: str) -> str:
    if name in ("agent", "agent_key", "session_dir"):
        return "agents"
    if name == "spool":
        return "fleet; agents that have it"
    return "agents, fleet" if name in AgentSettings.model_fields else "fleet"


def _type(field: FieldInfo) -> str:
    limits = " ".join(_limit(rule) for rule in field.metadata if _limit(rule))
    return f"{_kind(field)} {limits}".strip()


def _kind(field: FieldInfo) -> str:
    annotation, rules = field.annotation, list(field.metadata)
    if get_origin(annotation) in (Union, UnionType):
        [annotation] = [one for one in get_args(annotation) if one is not NoneType]
    if get_origin(annotation) is Annotated:
        annotation, *rules = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(f"`{word}`" for word in get_args(annotation))
    if said := [rule for rule in rules if isinstance(rule, str)]:
        return said[0]
    if get_origin(annotation) is tuple:
        return "folders" if get_args(annotation)[0] is Path else "list"
    if get_origin(annotation) is dict:
        return "JSON"
    if annotation is str and any(type(rule).__name__ == "AfterValidator" for rule in rules):
        return "URL"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    names |= {SecretStr: "secret", Path: "path"}
    return names[annotation]


def _limit(rule: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = ((sign, getattr(rule, name, None)) for name, sign in signs.items())
    return ", ".join(f"{sign} {value:,}" for sign, value in found if value is not None)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "*needed*"
    if field.default in (None, (), {}):
        return "none"
    if isinstance(field.default, dict | tuple):
        return f"`{json.dumps(field.default)}`"
    return f"`{field.default}`{_in_mib(field.default)}"


def _in_mib(value: Any) -> str:
    whole = isinstance(value, int) and value >= MIB and value % MIB == 0
    return f" ({value // MIB:,} MiB)" if whole else ""


# States


def states_page() -> str:
    """The state machine of a transfer, drawn and as a table."""
    return _page(
        "States of a transfer",
        "Every change of state goes along these arrows, by one guarded `UPDATE` that reports "
        "whether it won; a plan goes along two at once, from `queued` to `moving`, and the audit "
        "has both. The machine is data: `TRANSITIONS` in `models/transfer.py`.",
        "```mermaid\n" + "\n".join(_diagram()) + "\n```",
        _table(("state", "meaning", "next", "claim"), (_state(state) for state in State)),
        "*Whole transfer*: one worker holds the transfer by its lease. *Each chunk*: workers hold "
        "single chunks. The lease ends with its worker; whatever has no live lease is sent again.",
    )


def _diagram() -> Iterable[str]:
    yield "stateDiagram-v2"
    yield f"    [*] --> {State.QUEUED}"
    yield f"    [*] --> {State.COMPLETED}: registered"
    for state, following in TRANSITIONS.items():
        yield from (f"    {state} --> {after}" for after in State if after in following)
    yield from (f"    {state} --> [*]" for state in State if not TRANSITIONS[state])


def _state(state: State) -> tuple[str, ...]:
    following = ", ".join(f"`{after}`" for after in State if after in TRANSITIONS[state])
    ended = " *(ended)*" if state in ENDED else ""
    return (
        f"`{state}`{ended}",
        STATE_MEANINGS[state],
        following or "nothing",
        CLAIMS.get(state, "none"),
    )


# Errors


def errors_page() -> str:
    """Every error with its code."""
    return _page(
        "Errors",
        "A task fails with one of these. `code` stands in the row (`argosy.transfers.error_code`) "
        "and never changes its meaning; the message names the file and says what to do. "
        "*Retryable* means that the same request may succeed later: the fleet has already tried "
        "for as long as its settings say. A class in *italics* is a family and is not raised.",
        _table(("code", "class", "retryable", "meaning"), map(_error, BY_CODE.values())),
        "With this package `result.get()` raises these classes. Without it Celery makes up a class "
        "of the same name, whose first argument is the message.",
    )


def _error(kind: type[Error]) -> tuple[str, ...]:
    name = f"*{kind.__name__}*" if kind.__subclasses__() else f"`{kind.__name__}`"
    meaning = (inspect.getdoc(kind) or "").partition("\n")[0]
    return f"`{kind.code}`", name, "yes" if kind.retryable else "no", meaning


# Metrics


def metrics_page() -> str:
    """Every metric of the fleet's own, with where it comes from."""
    return _page(
        "Metrics",
        "Three kinds of process are scraped; [monitoring](monitoring.md) says how. Where a name "
        "ends with `_total` it only grows; a *histogram* has `_bucket`, `_sum` and `_count`.",
        "## The books",
        "`argosy metrics` asks the database at each scrape. **Exact**: sums of the audit, which "
        "is written in the transaction that changes the row. They are what was moved, whoever was "
        "killed, and go on where they were when anything starts anew.",
        _table(METRIC_HEAD, sorted(_books())),
        "## Workers",
        "Each worker tells of all its processes together, those included that have ended; the "
        "counts begin at 0 with the worker. What was done twice counts twice.",
        _table(METRIC_HEAD, sorted(_counted(measures.registry))),
        "## Beat",
        _table(METRIC_HEAD, sorted(_counted(beat_metrics.registry))),
    )


METRIC_HEAD = ("metric", "labels", "kind", "meaning")


def _books() -> Iterable[tuple[str, ...]]:
    for name, total in COUNTERS.items():
        yield _metric(f"argosy_{name}_total", total.labels, "exact", total.help)
    for name, total in GAUGES.items():
        yield _metric(f"argosy_{name}", total.labels, "exact, gauge", total.help)
    for name, (total, _) in HISTOGRAMS.items():
        yield _metric(f"argosy_{name}", total.labels, "exact, histogram", total.help)
    for name, (help_, labels) in LOOKS.items():
        yield _metric(f"argosy_{name}", labels, "gauge", help_)


def _counted(registry: CollectorRegistry) -> Iterable[tuple[str, ...]]:
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = getattr(registry._names_to_collectors[name], "_labelnames", ())
        yield _metric(name, labels, family.type, family.documentation)


def _metric(name: str, labels: Iterable[str], kind: str, meaning: str) -> tuple[str, ...]:
    listed = ", ".join(f"`{label}`" for label in labels)
    return f"`{name}`", listed or "none", kind, meaning


# Schemas


def _json_schema(kind: type[BaseModel], name: str, title: str) -> str:
    """The JSON Schema of a document that programs without this library read and write."""
    made = kind.model_json_schema(by_alias=True)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:argosy:{name}",
        "title": title,
    }
    for one in (made, *made.get("$defs", {}).values()):
        if "schema" in one["properties"] and "schema" not in one["required"]:
            one["required"].insert(0, "schema")  # by it a reference is told from other objects
    return json.dumps({**head, **made, "title": title}, indent=2, ensure_ascii=False) + "\n"


def pages() -> dict[str, str]:
    """The generated pages by file name."""
    return {
        "settings.md": settings_page(),
        "states.md": states_page(),
        "errors.md": errors_page(),
        "operations/metrics.md": metrics_page(),
        "command-line.md": _page("The command line", *command_line.sections()),
        "reference.schema.json": _json_schema(FileReference, "file:v1", "A file reference"),
        "message.schema.json": _json_schema(Envelope, "message:v1", "A message between agents"),
    }


def stale() -> list[str]:
    """Names of the pages that differ from the code."""
    return [name for name, text in pages().items() if _read(HERE / name) != text]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> None:
    """Write the pages, or say which are stale."""
    if "--check" in sys.argv[1:]:
        sys.exit(f"Stale, run `make docs`: {', '.join(stale())}" if stale() else 0)
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
