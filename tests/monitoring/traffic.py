"""A little of everything that a fleet does, so that there is something to see."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from PIL import Image

from tasks import transfer
from tests.conftest import Sender
from tests.deployment import Deployment


def round_of_traffic(deployment: Deployment, sender: Sender) -> str:
    """Uploads of several sizes, a download, a failure and thumbnails; the id of one upload."""
    deployment.app.set_current()
    sizes = (1000, 200_000, 2_000_000, 120_000_000)
    sent = [sender.upload(deployment.make_file(uuid4().hex, size)) for size in sizes]
    picture = deployment.spool / f"{uuid4().hex}.png"
    Image.effect_noise((256, 256), 80).save(picture)
    shown = sender.upload(picture).get(timeout=60)
    transfer.thumbnail.apply_async((shown,), headers=sender.headers).get(timeout=60)
    sender.upload(deployment.spool / "not there").get(timeout=60, propagate=False)
    references: list[Any] = [result.get(timeout=120) for result in sent]
    for reference in references[:3]:
        sender.download(reference, deployment.spool / uuid4().hex).get(timeout=60)
    deployment.clear_spool()
    return str(sent[0].id)
