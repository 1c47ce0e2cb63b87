"""The command line without a deployment: its table, its words, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Semaphore
from uuid import UUID

import click
import pytest
from click.testing import CliRunner

from argosy import errors
from argosy.errors import BY_CODE, ChecksumMismatch, InvalidReference
from argosy.info import Status
from argosy.settings import SettingsError
from commands import mistakes, refs, words
from commands.board import Bars, Lines
from commands.exits import MEANINGS, Exit, exit_of, exit_of_all
from commands.kinds import Duration, Moment, Pair
from commands.main import argosy
from commands.output import columns, seconds, shown
from commands.table import ENTRIES, Entry
from commands.together import together
from commands.views import ENDED
from commands.wanted import KINDS, STATES
from models import ENDED as ENDED_BY_THE_MACHINE
from models import Kind, State
from tests.deployment import ARGOSY

ROOT = Path(__file__).parents[2]
HEAVY = ("argosy", "celery", "kombu", "pydantic", "sqlalchemy", "rich", "models", "worker", "local")
AGENTS_OWN = [
    name for name, entry in ENTRIES.items() if entry.section in ("Files", "Transfers of the fleet")
]
ID = "9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e"
LOADED = "import json, sys; {}; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command by its whole name, those of groups too."""
    for name, entry in ENTRIES.items():
        command = entry.load()
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())


# The table


@pytest.mark.parametrize("name", ENTRIES)
def test_the_table_is_true(name: str) -> None:
    command = ENTRIES[name].load()
    assert command.name == name
    assert command.get_short_help_str(200) == ENTRIES[name].help


def test_a_command_whose_packages_are_not_installed() -> None:
    with pytest.raises(click.UsageError, match=r"argosy-fleet\[local\]"):
        Entry("local.not_installed:up", "", "").load()
    with pytest.raises(ModuleNotFoundError):  # ours is a mistake of ours
        Entry("commands.not_there:up", "", "").load()


def modules_after(statement: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(statement)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def test_the_help_imports_no_command_and_is_quick() -> None:
    statement = "from commands.main import run; run(['--help'])"
    assert not set(HEAVY) & set(modules_after(statement))
    with subprocess.Popen(
        [sys.executable, "-c", statement], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as child:
        own = os.wait4(child.pid, 0)[2]  # of all children there may be others that end just now
    assert own.ru_utime < 0.5


def test_what_agents_use_imports_nothing_of_the_fleet() -> None:
    modules = {ENTRIES[name].where.partition(":")[0] for name in AGENTS_OWN}
    loaded = modules_after(f"import argosy.client, {', '.join(sorted(modules))}")
    assert not {"sqlalchemy", "models", "tasks", "worker", "local"} & set(loaded)


def test_each_help_explains() -> None:
    for name, command in commands():
        told = command.help or ""
        assert "." in told, name
        assert isinstance(command, click.Group) or "Example" in told, name
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help or option.hidden, name


def test_what_prints_has_json() -> None:
    silent = {"worker", "beat", "flower", "metrics", "gateway", "up", "demo", "completion"}
    for name, command in commands():
        if isinstance(command, click.Group):
            continue
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) == (name not in silent), name


def test_the_page_has_every_command_and_option() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    for name, command in commands():
        _, found, rest = page.partition(f"### `argosy {name}`\n")
        assert found, name
        section = rest.partition("\n### ")[0]
        for option in command.params:
            hidden = isinstance(option, click.Option) and option.hidden
            assert hidden or all(one in section for one in option.opts if one[0] == "-"), name
    for code, meaning in MEANINGS.items():
        assert f"| `{code.value}` | {meaning} |" in page


def test_the_help_lists_every_command_and_exit_code() -> None:
    told = CliRunner().invoke(argosy, ["--help"]).output
    assert all(f"\n  {name} " in told for name in ENTRIES)
    assert all(f"\n    {code.value} " in told for code in Exit)


def test_an_unknown_command_gets_a_hint() -> None:
    result = CliRunner().invoke(argosy, ["uplaod"])
    assert (result.exit_code, "uplaod" in result.output) == (Exit.USAGE, True)


# Exit codes


EXPECTED = {
    Exit.TEMPORARY: "storage_unavailable transit_corruption deadline_exceeded fleet_unavailable "
    "internal_error",
    Exit.NOT_THERE: "transfer_not_found source_missing invalid_token access_denied "
    "bucket_not_found object_not_found",
    Exit.USAGE: "request_error invalid_request idempotency_conflict invalid_reference "
    "invalid_message not_signed_in",
}


@pytest.mark.parametrize("code", BY_CODE)
def test_each_error_has_an_exit_code(code: str) -> None:
    [wanted] = [e for e, codes in EXPECTED.items() if code in codes.split()] or [Exit.FAILED]
    assert exit_of(BY_CODE[code]("why")) == wanted


def test_several_ends() -> None:
    assert exit_of_all([]) == exit_of_all([0, 0]) == Exit.DONE
    assert exit_of_all([0, 75, 75]) == Exit.TEMPORARY
    assert exit_of_all([75, 3, 1]) == Exit.NOT_THERE


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (ChecksumMismatch("report.bin is not itself"), 1, "report.bin"),
        (SettingsError("RESULT_URL is not set"), 2, "RESULT_URL"),
        (click.UsageError("no such option"), 2, "no such option"),
        (PermissionError(13, "Permission denied", "/locked"), 1, "/locked: Permission denied."),
    ],
)
def test_a_mistake_is_a_sentence(error: Exception, code: int, word: str) -> None:
    mistake = mistakes.explain(error)
    assert mistake
    assert mistake.exit_code == code
    assert word in mistake.message


@pytest.mark.parametrize(
    ("message", "about", "told"),
    [
        ("nofile.bin: there is none.", "nofile.bin", "nofile.bin: there is none. [error]"),
        (".: it is a folder.", ".", ".: it is a folder. [error]"),
        (
            "Storage has no bucket/report.bin.",
            "bucket/report.bin",
            "Storage has no bucket/report.b",
        ),
        ("It is not there.", "report.bin", "report.bin: It is not there. [error]"),
        ("It is not there.", ".", ".: It is not there. [error]"),
        ("It is not there.", "is", "is: It is not there. [error]"),
    ],
)
def test_what_a_mistake_is_about_is_named_once(
    capsys: pytest.CaptureFixture[str], message: str, about: str, told: str
) -> None:
    mistake = mistakes.explain(errors.Error(message))
    assert mistake
    mistake.tell(as_json=False, about=about)
    assert capsys.readouterr().err.startswith(told)


def test_what_is_nobodys_mistake_is_not_hidden() -> None:
    assert mistakes.explain(ZeroDivisionError("division by zero")) is None


def test_a_mistake_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    mistake = mistakes.explain(errors.StorageUnavailable("later", ID))
    assert mistake
    mistake.tell(as_json=True, about="report.bin")
    told = json.loads(capsys.readouterr().err)["error"]
    assert told == {
        "code": "storage_unavailable",
        "message": "later",
        "retryable": True,
        "transfer": ID,
        "about": "report.bin",
    }


# Arguments


@pytest.mark.parametrize(
    ("said", "length"),
    [("90", 90), ("30s", 30), ("1.5m", 90), ("1h", 3600), ("7d", 604800), ("2w", 1209600)],
)
def test_lengths_of_time(said: str, length: float) -> None:
    assert Duration().convert(said, None, None) == length


@pytest.mark.parametrize("said", ["", "0", "-1", "soon", "1y", "nan", "1h30m", "٣d" * 2])
def test_no_lengths_of_time(said: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(said, None, None)


def test_moments() -> None:
    convert = Moment().convert
    assert convert("2026-11-28", None, None) == datetime(2026, 11, 28, tzinfo=UTC)
    assert convert("2026-11-28T09:30+01:00", None, None) == datetime(
        2026, 11, 28, 8, 30, tzinfo=UTC
    )
    before = datetime.now(UTC) - timedelta(hours=12)
    assert before <= convert("12h", None, None) <= before + timedelta(minutes=1)
    for said in ("", "soon", "2026-13-01", "1y", "9" * 20 + "w"):
        with pytest.raises(click.BadParameter):
            convert(said, None, None)


def test_states_and_kinds_are_the_machines() -> None:
    assert set(STATES) == set(State)
    assert set(KINDS) == set(Kind)


def test_pairs() -> None:
    assert Pair().convert("a=b=c", None, None) == ("a", "b=c")
    for said in ("a", "=b", ""):
        with pytest.raises(click.BadParameter):
            Pair().convert(said, None, None)


REFERENCE = {
    "schema": "argosy.file/v1",
    "id": ID,
    "bucket": "agent-transfers",
    "path": f"{ID}/{ID}/report.bin",
    "name": "report.bin",
    "size": 3,
    "content_type": "text/plain",
    "sha256": "0" * 64,
    "owner": ID,
    "created_at": "2026-01-01T00:00:00Z",
    "chunk_size": 3,
    "chunk_count": 1,
}


@pytest.mark.parametrize("form", ["one", "lines", "list", "printed"])
def test_references_in_a_file(form: str, tmp_path: Path) -> None:
    once = json.dumps(REFERENCE)
    texts = {
        "one": once,
        "lines": f"{once}\n{once}\n",
        "list": f"[{once}, {once}]",
        "printed": json.dumps(REFERENCE, indent=2),
    }
    file = tmp_path / "reference.json"
    file.write_text(texts[form])
    found = list(refs.all_of(None, str(file)))  # type: ignore[arg-type]  no transfer is named
    assert {refs.place(one) for one in found} == {f"agent-transfers/{ID}/{ID}/report.bin"}
    assert len(found) == (2 if form in ("lines", "list") else 1)
    if len(found) == 2:
        with pytest.raises(click.UsageError, match="2 references"):
            refs.one(None, str(file))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{", b"nothing", b"{}", b"[1]", b"[" * 100_000, b"3 {"]
)
def test_no_reference_in_a_file(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "reference.json"
    file.write_bytes(content)
    with pytest.raises(InvalidReference):
        list(refs.all_of(None, str(file)))  # type: ignore[arg-type]


def test_a_file_that_is_too_long_for_a_reference(tmp_path: Path) -> None:
    file = tmp_path / "huge.json"
    with file.open("wb") as huge:
        huge.truncate(refs.MOST_BYTES + 1)
    with pytest.raises(InvalidReference, match="longer than"):
        list(refs.all_of(None, str(file)))  # type: ignore[arg-type]


@pytest.mark.parametrize("ref", ["", "report.bin", "/report.bin", "bucket/", "a\0b", "x" * 5000])
def test_no_place(ref: str) -> None:
    with pytest.raises(InvalidReference):
        refs.one(None, ref)  # type: ignore[arg-type]


# Words


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("Bericht für März 日本 😀", "Bericht für März 日本 😀"),
        ("क्\u200dष", "क्\u200dष"),
        ("\x1b[31mred\x07\n\x9b", r"\x1b[31mred\x07\n\x9b"),
        ("exe\u202egpj.txt", r"exe\u202egpj.txt"),
        ("\udcff", r"\udcff"),
        ("two\u2028lines\ufeff", r"two\u2028lines\ufeff"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, visible: str) -> None:
    assert shown(text) == visible


def test_lengths_for_people() -> None:
    assert [seconds(n) for n in (0, 59.6, 90, 3600, 90061)] == ["0s", "1m", "1m 30s", "1h", "1d 1h"]


def test_columns_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    columns(("name", "size"), [("a\tb" * 100, "1"), ("c", "2")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == r"a\tb" * 100 + "  1"
    assert lines[2].split() == ["c", "2"]


def test_a_transfer_in_words() -> None:
    status = Status(
        id=UUID(ID),
        kind="upload",
        state="moving",
        name="report.bin",
        bucket="b",
        path="p",
        agent="weather",
        size=100_000_000,
        bytes_done=45_000_000,
        rate=1_000_000,
        eta_seconds=55,
        created_at="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
        attempts=2,
        parts={"stored": 3, "moving": 1, "total": 6, "waiting": 2},  # type: ignore[arg-type]
        waits=("window: 1 of 8", "chunk 4 is held by w1"),
        error={"code": "disk_full", "message": "No room."},  # type: ignore[arg-type]
    )
    told = "\n".join(words.account(status))
    for said in (
        "report.bin: upload, moving",
        "45.0 MB of 100.0 MB (45 %), 1.0 MB/s, about 55s left",
        "3 stored, 1 moving, 2 waiting, of 6",
        "window: 1 of 8\n             chunk 4 is held by w1",
        "No room. [disk_full]",
        "attempts   2",
    ):
        assert said in told
    assert words.line(status) == f"{ID}  moving  45 %  report.bin  window: 1 of 8"


@pytest.mark.parametrize(("why", "is_told"), [("expired", True), ("deleted", False)])
def test_what_is_deleted_before_its_time_has_not_expired(*, why: str, is_told: bool) -> None:
    status = Status(
        id=UUID(ID),
        kind="upload",
        state="expired",
        name="report.bin",
        bucket="b",
        path="p",
        created_at="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
        expires_at="2026-12-28T00:00:00Z",  # type: ignore[arg-type]
        tombstone={"at": "2026-01-02T00:00:00Z", "why": why, "by": "weather"},  # type: ignore[arg-type]
    )
    told = "\n".join(words.account(status))
    assert ("2026-12-28" in told) is is_told
    assert "gone       2026-01-02" in told


def test_the_states_in_which_a_transfer_stays() -> None:
    assert {str(state) for state in ENDED_BY_THE_MACHINE} == ENDED


# Progress and several at once


def test_the_bar_of_all_counts_what_arrives_and_forgets_what_fails() -> None:
    bars = Bars(2, 300)
    one, two = bars.follow("a [red]\x1b", 100), bars.follow("b", 200)
    one.on_queued("1", "a", 100)
    two.on_queued("2", "b", 200)
    two.on_progress(50, 200, 1.0, 1.0)
    one.on_progress(100, 100, 1.0, 0.0)
    one.on_done(None)
    [whole, left] = bars._progress.tasks
    assert (whole.completed, whole.total, left.description) == (150, 300, "b")
    two.on_error(errors.Error("why"))
    [whole] = bars._progress.tasks
    assert (whole.completed, whole.total) == (100, 100)


def test_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follower = Lines().follow("report.bin", 2_000_000)
    follower.on_progress(1, 2_000_000, 1.0, 1.0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("commands.board.LINE_SECONDS", 0.0)
    follower.on_progress(1_000_000, 2_000_000, 500_000, 2.0)
    assert capsys.readouterr().err == "report.bin: 1.0 MB of 2.0 MB, 500.0 kB/s, 2 s left\n"


def test_several_come_in_order_and_fail_alone() -> None:
    with together(lambda n: 6 // n, [3, 0, 1], 3) as ended:
        found = [(n, future.exception() or future.result()) for n, future in ended]
    assert [n for n, _ in found] == [3, 0, 1]
    assert (found[0][1], type(found[1][1]), found[2][1]) == (2, ZeroDivisionError, 6)


@pytest.mark.parametrize("many", [2, 5])
def test_leaving_calls_off_what_is_on_its_way(many: int) -> None:
    from argosy.deadline import Deadline
    from argosy.errors import TransferCancelled

    ends, begun = [], Semaphore(0)

    def work(_: int) -> None:
        begun.release()
        try:
            Deadline(60).wait(60)
        except TransferCancelled as error:
            ends.append(error)

    with pytest.raises(KeyboardInterrupt), together(work, range(many), 2):
        begun.acquire()
        begun.acquire()
        raise KeyboardInterrupt
    assert len(ends) == 2  # those that had begun; the others never do


# The program


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment}
    return subprocess.run(
        [ARGOSY, *arguments], env=bare, capture_output=True, text=True, check=False, timeout=120
    )


def test_missing_settings() -> None:
    done = run("ls")
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "SUPABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_agent_that_has_not_said_who_it_is() -> None:
    done = run(
        "ls",
        SUPABASE_URL="http://localhost:1",
        SUPABASE_ANON_KEY="anon",
        BROKER_URL="amqp://localhost:1",
        RESULT_URL="redis://localhost:1",
    )
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "ARGOSY_AGENT_KEY as `argosy agents add` printed them" in done.stderr
    assert "argosy.login" not in done.stderr


def test_missing_settings_for_programs_and_for_developers() -> None:
    done = run("ls", "--json", ARGOSY_DEBUG="1")
    assert done.returncode == Exit.USAGE
    *trace, last = done.stderr.splitlines()
    assert "Traceback" in trace[0]
    assert "SUPABASE_URL" in json.loads(last)["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["upload"], "Missing argument"),
        (["upload", "-"], "--name"),
        (["upload", "a", "b", "--name", "c"], "--name"),
        (["upload", "a", "--metadata", "b"], "name=value"),
        (["download", "r.json", "-", "--json"], "standard output"),
        (["share", "bucket/file"], "--with"),
        (["share", "bucket/file", "--with", "x", "--for", "ever"], "length of time"),
        (["send", "weather"], "BODY"),
        (["status", "nonsense"], "UUID"),
        (["reconcile", "--persistent"], "--apply"),
        (["reconcile", "--apply", "--dry-run"], "--dry-run"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_wrong_usage(arguments: list[str], word: str) -> None:
    result = CliRunner().invoke(argosy, arguments)
    assert (result.exit_code, word in result.output) == (Exit.USAGE, True), result.output


def test_a_reader_that_has_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [ARGOSY, "--help"], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.UNREAD, b"")


def test_completion_in_bash(tmp_path: Path) -> None:
    script = """
        eval "$(argosy completion bash)"
        complete -p argosy
        complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _argosy_completion argosy; echo "${COMPREPLY[@]}"; }
        complete_words argosy up
        complete_words argosy upload --sh
        complete_words argosy agents ro
    """
    path = f"{Path(ARGOSY).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-ec", script],
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    registered, *found = done.stdout.splitlines()
    assert registered.endswith("_argosy_completion argosy")
    assert [set(line.split()) for line in found] == [
        {"upload", "up"},
        {"--share-with"},
        {"rotate-key"},
    ]


@pytest.mark.parametrize(("shell", "word"), [("zsh", "#compdef argosy"), ("fish", "complete ")])
def test_completion_of_other_shells(shell: str, word: str) -> None:
    told = CliRunner().invoke(argosy, ["completion", shell]).output
    assert word in told
    assert f"_ARGOSY_COMPLETE={shell}_complete" in told
