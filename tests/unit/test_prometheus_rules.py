"""Every alert has a page that says what to do, and every page an alert."""

from __future__ import annotations

from pathlib import Path

import yaml

HERE = Path(__file__).parents[2]


def _rules() -> list[dict[str, str]]:
    document = yaml.safe_load((HERE / "deploy" / "prometheus" / "rules" / "argosy.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_each_alert_has_a_runbook() -> None:
    named = {rule["annotations"]["runbook_url"] for rule in _rules()}
    there = {f"docs/runbooks/{path.name}" for path in (HERE / "docs" / "runbooks").glob("*.md")}
    assert named == there - {"docs/runbooks/index.md"}


def test_each_runbook_names_its_alert() -> None:
    for rule in _rules():
        page = (HERE / rule["annotations"]["runbook_url"]).read_text()
        assert f"`{rule['alert']}`" in page
        for heading in ("## What it means", "## What to look at", "## What to do"):
            assert heading in page, (rule["alert"], heading)


def test_each_alert_says_how_bad_it_is() -> None:
    assert {rule["labels"]["severity"] for rule in _rules()} == {"critical", "warning"}
    assert all(rule["annotations"]["summary"].endswith(".") for rule in _rules())
