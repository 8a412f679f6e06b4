"""Each alert has a runbook, and the commands in it exist."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = "docs/how-to/respond-to-alerts.md"
TEXT = (ROOT / PAGE).read_text()
PROMETHEUS = ROOT / "deploy" / "prometheus"


def rules() -> dict[str, str]:
    """Return the runbook of each alert, by name."""
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    return {rule["alert"]: rule["annotations"]["runbook"] for rule in found}


def test_each_alert_names_its_own_section_of_the_runbook() -> None:
    assert rules() == {name: f"{PAGE}#{name.lower()}" for name in rules()}
    assert sorted(re.findall(r"(?m)^## (\w+)$", TEXT)) == sorted(rules())


def test_each_section_says_what_to_check_and_what_to_do() -> None:
    sections = re.split(r"(?m)^## \w+$", TEXT)[1:]
    for section in sections:
        assert re.fullmatch(
            r"\n\n[^*].+\n\n\* \*\*Look:\*\* .+\n\* \*\*Do:\*\* .+\n+", section, re.S
        )


def test_each_alert_is_raised_in_a_test() -> None:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text())["tests"]
    raised = {test["alertname"] for test in group["alert_rule_test"] if test["exp_alerts"]}
    assert raised == set(rules())


@pytest.mark.parametrize("page", [PAGE, "docs/how-to/replace-a-failed-node.md"])
def test_commands_of_the_page_exist(page: str) -> None:
    reference = (ROOT / "docs/reference/cli.md").read_text()
    commands = set(re.findall(r"(?m)^####? (.+)$", reference))
    groups = {command.split()[0] for command in commands if " " in command}
    lines = re.findall(r"`provisionerctl ([^`]+)`", (ROOT / page).read_text())
    assert lines
    for line in lines:
        first, *rest = line.split()
        wanted = f"{first} {rest[0]}" if first in groups and rest else first
        assert wanted in commands, line
