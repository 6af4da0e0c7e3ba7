"""Rules of Prometheus: promtool is content, each alert is tested and has its part of the runbook."""

import re
import subprocess

import yaml

PARTS = ["**Look at**", "**Do**"]  # of each section of the runbook, after what it means
SEVERITIES = {"critical", "warning"}


def rules_of(root):
    """All rules: (file, rule)."""
    for path in sorted((root / "deploy/prometheus/rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path, rule


def alerts_of(root):
    return {rule["alert"]: rule for _, rule in rules_of(root) if "alert" in rule}


def promtool(*arguments):
    """What promtool has against it; nothing if it is content."""
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode == 0:
        return []
    return [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]


def files_are_rules(root):
    at = root / "deploy/prometheus"
    configs = sorted(at.glob("*.yml"))
    if not configs or not list(at.glob("rules/*.yaml")):
        yield "deploy/prometheus: no configuration, or no rules"
    for config in configs:
        yield from promtool("check", "config", config)
    yield from promtool("check", "rules", *sorted(at.glob("rules/*.yaml")))


def rules_pass_their_tests(root):
    files = sorted((root / "deploy/prometheus/tests").glob("*.yaml"))
    yield from promtool("test", "rules", *files)
    fires, silent = set(), set()
    for file in files:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                (fires if case.get("exp_alerts") else silent).add(case["alertname"])
    for name in alerts_of(root):
        if name not in fires:
            yield f"{name} fires in no test"
        if name not in silent:
            yield f"{name} stays silent in no test"
    for name in (fires | silent) - set(alerts_of(root)):
        yield f"{name} is tested, and there is no such alert"


def anchor(heading):
    kept = (char for char in heading.strip("# ").lower() if char.isalnum() or char in " -_")
    return "".join("-" if char == " " else char for char in kept)


def sections(page):
    """The text under each heading of the page, by its anchor."""
    found, text, fenced = {}, [], False
    for line in page.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if line.startswith("#") and not fenced:
            text = found.setdefault(anchor(line), [])
        else:
            text.append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def alerts_have_a_runbook(root):
    page = (root / "docs/operations.md").read_text()
    runbook = sections(page)
    alerts = alerts_of(root)
    for name, rule in alerts.items():
        notes = rule.get("annotations", {})
        if not notes.get("summary"):
            yield f"{name} has no summary"
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"{name} has no severity of {sorted(SEVERITIES)}"
        link = notes.get("runbook_url", "")
        if link != f"docs/operations.md#{anchor(name)}":
            yield f"{name} does not lead to its section, but to {link!r}"
        elif (text := runbook.get(anchor(name))) is None:
            yield f"{name} has no section in docs/operations.md"
        else:
            at = [text.find(part) for part in PARTS]
            if not 40 < at[0] < at[1]:
                yield f"{name}: its section does not say what it means, then what to look at and to do"
    for heading in re.findall(r"^#+ (Carillon[A-Z]\w+)$", page, re.MULTILINE):
        if heading not in alerts:
            yield f"docs/operations.md has a section for {heading}, and there is no such alert"
