"""Makes docs/images/dashboard-*.svg: what the dashboards show of a short run of a real fleet.

python -m tests.monitoring.pictures
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.deployment import until
from tests.monitoring.conftest import make_watched
from tests.monitoring.drawing import Drawn, Points, draw
from tests.monitoring.panels import dashboards, ready
from tests.monitoring.test_alerts import REASONS
from tests.monitoring.traffic import round_of_traffic
from tests.monitoring.watched import Watched

IMAGES = Path(__file__).parents[2] / "docs" / "images"
ROUNDS = 24
STEPS = 45
"""Points of a line."""


def panel_of(watched: Watched, panel: dict[str, Any], begin: float, end: float) -> Drawn:
    """What Prometheus has of a panel."""
    lines: dict[str, Points] = {}
    step = max(1, round((end - begin) / STEPS))
    for target in panel["targets"]:
        span = {"start": begin, "end": end, "step": step}
        found = watched.prometheus.ask("query_range", query=ready(target["expr"]), **span)
        for series in found["result"]:
            values = [(float(at), float(value)) for at, value in series["values"]]
            legend = legend_of(target["legendFormat"], series["metric"])
            lines[legend] = [one for one in values if math.isfinite(one[1])]
    return Drawn(panel["title"], panel["fieldConfig"]["defaults"]["unit"], lines)


def legend_of(form: str, labels: dict[str, str]) -> str:
    """The legend of a series, as short as it can be told."""
    told = re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), form)
    return re.sub(r"^(transfer|argosy)\.", "", told.strip()) or "none"


def main() -> None:
    """Run a fleet, and draw."""
    os.environ["ARGOSY_SESSION_DIR"] = tempfile.mkdtemp(prefix="argosy-sessions-")
    with tempfile.TemporaryDirectory(prefix="argosy-pictures-") as folder:
        watched = make_watched(Path(folder))
        run(watched)


def run(watched: Watched) -> None:
    """Have it carry, with Storage away for a while in the middle, and draw that."""
    try:
        watched.start()
        until(watched.all_up, 60, what="every target to be scraped")
        begin = time.time()
        for number in range(ROUNDS):
            round_of_traffic(watched.deployment, watched.sender)
            if number == ROUNDS // 2:
                with REASONS["ArgosyStorageAway"](watched):
                    pass
        write(watched, begin, time.time())
    finally:
        watched.stop()


def write(watched: Watched, begin: float, end: float) -> None:
    """One picture for each dashboard."""
    IMAGES.mkdir(exist_ok=True)
    for name, dashboard in dashboards().items():
        shown = [one for one in dashboard["panels"] if one["type"] != "table"]
        panels = [panel_of(watched, one, begin, end) for one in shown]
        (IMAGES / f"dashboard-{name}.svg").write_text(draw(dashboard["title"], panels))


if __name__ == "__main__":
    main()
