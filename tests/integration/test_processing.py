"""What the fleet makes of a file's type: chains, once each, failures, and who may ask."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from argosy import FileReference, errors
from argosy.account import Account
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, until
from tests.integration.test_compressed_uploads import write_text


def write_picture(path: Path, size: tuple[int, int] = (300, 200), form: str = "JPEG") -> Path:
    picture = Image.linear_gradient("L").resize(size).convert("RGB")
    picture.save(path, form)
    return path


def stored(deployment: Deployment, agent: AgentInTest, bucket: str, path: str) -> bytes:
    return b"".join(Account(deployment.settings, agent.token).store().get(bucket, path))


def run(sender: Sender, signature: Any) -> FileReference:
    """Send as the agent, and wait for the reference."""
    sent = signature.apply_async(headers=sender.headers)
    return FileReference.parse(sent.get(timeout=RESULT_SECONDS))


def uploaded(sender: Sender, path: Path, **options: Any) -> FileReference:
    return FileReference.parse(sender.upload(path, **options).get(timeout=RESULT_SECONDS))


def test_a_chain_gives_the_reference_with_everything(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = write_picture(spool / "picture.bmp", (900, 600), "BMP")
    chain = (
        transfer.upload.s(str(source))
        | transfer.inspect.s()
        | transfer.thumbnail.s(sizes=[128, 512])
        | transfer.compress.s()
    )
    reference = run(sender, chain)
    assert reference.facts
    assert (reference.facts.kind, reference.facts.content_type) == ("image", "image/bmp")
    small, large, copy = sorted(reference.derivatives, key=lambda one: one.size or 0)[:3]
    assert (small.kind, small.width, small.height) == ("thumbnail", 128, 85)
    assert (large.kind, large.width, large.height) == ("thumbnail", 512, 341)
    for one in (small, large):
        data = stored(deployment, sender.agent, reference.bucket, one.path or "")
        assert hashlib.sha256(data).hexdigest() == one.sha256
        assert Image.open(io.BytesIO(data)).size == (one.width, one.height)
    assert reference.encoding == "zstd"
    assert reference.path == copy.path
    back = sender.download(reference, spool / "back.bmp").get(timeout=RESULT_SECONDS)
    assert Path(back).read_bytes() == source.read_bytes()
    assert len(deployment.objects(sender.agent)) == 4


def test_the_same_step_twice_is_made_once(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    reference = uploaded(sender, write_picture(spool / "picture.jpg"))
    first = run(sender, transfer.thumbnail.s(reference, sizes=[32]))
    again = run(sender, transfer.thumbnail.s(reference, sizes=[32]))
    assert first.derivatives == again.derivatives
    [row] = deployment.query(
        "SELECT attempts, state FROM argosy.derivatives WHERE transfer_id = :id", id=reference.id
    )
    assert (row.attempts, row.state) == (1, "made")


def test_the_same_message_twice_has_one_result(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    reference = uploaded(sender, write_picture(spool / "picture.jpg"))
    task_id = str(uuid4())
    sent = [
        transfer.thumbnail.s(reference, sizes=[32, 64]).apply_async(
            headers=sender.headers, task_id=task_id
        )
        for _ in range(3)
    ]
    results = [one.get(timeout=RESULT_SECONDS) for one in sent]
    assert results[0] == results[1] == results[2]


def test_process_auto_does_what_the_type_calls_for(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    picture = uploaded(sender, write_picture(spool / "no picture.bin"), process="auto")
    assert picture.facts
    assert picture.facts.content_type == "image/jpeg"
    assert {one.parameters["size"] for one in picture.derivatives} == {128, 512}
    text = uploaded(sender, write_text(spool / "words.txt", 200_000), process="auto")
    assert text.facts
    assert text.facts.kind == "text"
    assert text.encoding == "zstd"


def test_process_auto_of_a_large_file(deployment: Deployment, sender: Sender, spool: Path) -> None:
    """It is moved in parts: its result comes from the task that assembles it."""
    reference = uploaded(sender, write_text(spool / "words.txt", 110 * MB), process="auto")
    assert (reference.encoding, reference.size) == ("zstd", 110 * MB)
    assert reference.stored
    assert reference.stored.size < reference.size / 2


def test_what_fails_is_noted_and_the_file_stays(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = spool / "broken.jpg"
    source.write_bytes(write_picture(spool / "picture.jpg").read_bytes()[:3000])
    reference = uploaded(sender, source)
    sent = transfer.thumbnail.s(reference, sizes=[64]).apply_async(headers=sender.headers)
    with pytest.raises(errors.DamagedFile) as caught:
        sent.get(timeout=RESULT_SECONDS)
    assert caught.value.message.startswith("broken.jpg: ")
    assert caught.value.message.endswith(".")
    assert caught.value.transfer_id == str(reference.id)
    noted = run(sender, transfer.thumbnail.s(reference, sizes=[64], required=False))
    assert [(one.state, one.path) for one in noted.derivatives] == [("failed", None)]
    assert noted.derivatives[0].reason
    assert deployment.transfer(str(reference.id)).state == "completed"


def test_a_file_that_does_not_compress_stays_as_it_is(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = deployment.make_file("noise.txt", 300_000)
    reference = run(sender, transfer.upload.s(str(source)) | transfer.compress.s())
    assert reference.encoding is None
    [skipped] = reference.derivatives
    assert skipped.state == "skipped"
    assert "must save" in (skipped.reason or "")
    assert deployment.objects(sender.agent) == [reference.path]


def test_every_step_is_in_the_provenance(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    reference = uploaded(sender, write_picture(spool / "picture.jpg"))
    made = run(sender, transfer.inspect.s(reference) | transfer.thumbnail.s(sizes=[16]))
    rows = deployment.query(
        "SELECT * FROM argosy.provenance WHERE transfer_id = :id ORDER BY id", id=reference.id
    )
    assert [row.step for row in rows] == ["inspect", "thumbnail"]
    assert {row.source_sha256 for row in rows} == {reference.sha256}
    assert rows[1].output_sha256 == made.derivatives[0].sha256
    assert rows[1].parameters == {
        **{"size": 16, "sizes": [16]},
        **{"format": "webp", "quality": 80},
    }
    assert rows[1].code["pillow"]


@pytest.mark.parametrize("name", ["größe 💥 %2F.log", "..", "a\tb?*.txt", "x" * 200 + ".log"])
def test_a_file_of_any_name(deployment: Deployment, sender: Sender, spool: Path, name: str) -> None:
    source = write_text(spool / "words.txt", 300_000)
    reference = uploaded(sender, source, name=name, process="auto")
    assert (reference.name, reference.encoding) == (name, "zstd")
    back = sender.download(reference, spool / "back").get(timeout=RESULT_SECONDS)
    assert Path(back).read_bytes() == source.read_bytes()
    run(sender, transfer.inspect.s(reference))


class TestWhoMayAsk:
    def test_a_stranger_learns_nothing(
        self, deployment: Deployment, sender: Sender, spool: Path
    ) -> None:
        reference = uploaded(sender, write_picture(spool / "picture.jpg"))
        stranger = Sender(deployment.add_agent())
        for step in (transfer.inspect, transfer.thumbnail, transfer.compress, transfer.process):
            sent = step.s(reference).apply_async(headers=stranger.headers)
            with pytest.raises(errors.ObjectNotFound):
                sent.get(timeout=RESULT_SECONDS)
        assert not deployment.query(
            "SELECT 1 FROM argosy.derivatives WHERE transfer_id = :id", id=reference.id
        )

    def test_a_reader_may_inspect_and_store_nothing(
        self, deployment: Deployment, sender: Sender, spool: Path
    ) -> None:
        other = deployment.add_agent()
        reference = uploaded(sender, write_picture(spool / "picture.jpg"), share_with=[other.name])
        reader = Sender(other)
        assert run(reader, transfer.inspect.s(reference)).facts
        sent = transfer.thumbnail.s(reference).apply_async(headers=reader.headers)
        with pytest.raises(errors.AccessDenied, match="copy the file first"):
            sent.get(timeout=RESULT_SECONDS)

    def test_a_chain_goes_on_as_whoever_asked(
        self, deployment: Deployment, sender: Sender, spool: Path
    ) -> None:
        """Not as the file's owner, whose name the transfer has."""
        other = deployment.add_agent()
        reference = uploaded(sender, write_picture(spool / "picture.jpg"), share_with=[other.name])
        reader = Sender(other)
        chain = transfer.inspect.s(reference) | transfer.delete.s()
        sent = chain.apply_async(headers=reader.headers)
        with pytest.raises(errors.AccessDenied):
            sent.get(timeout=RESULT_SECONDS)
        assert deployment.objects(sender.agent) == [reference.path]

    def test_a_reference_that_says_something_else_is_refused(
        self, deployment: Deployment, sender: Sender, spool: Path
    ) -> None:
        one = uploaded(sender, write_picture(spool / "one.jpg"))
        two = uploaded(sender, write_picture(spool / "two.jpg"))
        mixed = {**one.document(), "path": two.path}
        sent = transfer.inspect.s(mixed).apply_async(headers=sender.headers)
        with pytest.raises(errors.InvalidReference):
            sent.get(timeout=RESULT_SECONDS)


def test_the_facts_are_plain_json_in_the_row(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    reference = uploaded(sender, write_picture(spool / "picture.jpg"))
    made = run(sender, transfer.inspect.s(reference))
    [row] = deployment.query(
        "SELECT detail FROM argosy.derivatives WHERE transfer_id = :id", id=reference.id
    )
    assert made.facts
    assert row.detail == json.loads(made.facts.model_dump_json(exclude_none=True))


def test_nothing_stays_of_a_file_that_is_deleted_while_it_is_compressed(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    reference = uploaded(sender, write_text(spool / "words.txt", 150 * MB))
    sent = transfer.compress.s(reference).apply_async(headers=sender.headers)
    begun = "SELECT 1 FROM argosy.derivatives WHERE lease_until > now() AND transfer_id = :id"
    until(lambda: deployment.query(begun, id=reference.id), what="a copy in the making")
    transfer.delete.s(reference).apply_async(headers=sender.headers).get(timeout=RESULT_SECONDS)
    with pytest.raises(errors.ObjectNotFound):
        sent.get(timeout=RESULT_SECONDS)
    until(lambda: not deployment.objects(sender.agent), what="the end of all objects")
    assert not deployment.unfinished_uploads(sender.agent)
