#!/usr/bin/env python3
"""Checks what watches a cluster: rules, their tests, runbook, and dashboard (`make deploy-check`).

Whether rules and expressions are right is asked of promtool. Beside that: each alert has a
section in the runbook, and each section an alert; each has a test in which it fires and one in
which it stays silent; every metric, label and value that is asked for is one that
docs/operations.md tells of, which a test holds against what processes export. Copies in
deploy/k8s say the same. What is wrong is printed, one line each.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from expressions import asked, values

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = [
    "Is it well?",
    "Who is connected?",
    "What flows?",
    "How late?",
    "What is lost?",
    "What is near its limit?",
]
PARTS = ["**Look at**", "**Do**"]  # of each section of the runbook, after what it means
SEVERITIES = {"critical", "warning"}

# What whoever scrapes adds.
OF_THE_TARGET = {"instance", "job", "namespace"}

# Not ours: of Prometheus itself, and of redis_exporter as far as it is asked for.
OTHERS = {
    "ALERTS": {"alertname", "alertstate", "severity"},
    "up": set(),
    "redis_up": set(),
    "redis_memory_used_bytes": set(),
    "redis_memory_max_bytes": set(),
    "redis_connected_slave_lag_seconds": {"slave_ip", "slave_port", "slave_state"},
    "redis_aof_last_write_status": set(),
    "redis_aof_last_bgrewrite_status": set(),
    "redis_commands_processed_total": set(),
}


class Metric:
    """What is known of one: its labels, and the values these may have, if that is known."""

    def __init__(self, labels, told=None):
        self.labels = set(labels)
        self.told = told


def spans(cell):
    return cell.split("`")[1::2]


def told(page):
    """The metrics in the tables of the page for operators, each part of a histogram included."""
    known = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 7 or cells[2] not in ("gauge", "counter", "histogram"):
            continue
        metric = Metric(spans(cells[3]), spans(cells[4]) + spans(cells[5]))
        for name in spans(cells[1]):
            if cells[2] == "histogram":
                for end in ("_sum", "_count", "_bucket"):
                    known[name + end] = metric
                known[name + "_bucket"] = Metric(metric.labels | {"le"}, metric.told)
            else:
                known[name] = metric
    return known


def rules_of(root):
    """All rules: (file, rule)."""
    for path in sorted((root / "deploy/prometheus/rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path, rule


def alerts_of(root):
    return {rule["alert"]: rule for _, rule in rules_of(root) if "alert" in rule}


def dashboards_of(root):
    for path in sorted((root / "deploy/grafana/dashboards").glob("*.json")):
        yield path, json.loads(path.read_text())


def settled(expression):
    """With what Grafana would put in."""
    for name, value in (("$__rate_interval", "5m"), ("$__range", "1h"), ("$namespace", ".*")):
        expression = expression.replace(name, value)
    return expression


def queries_of(dashboard):
    """All queries of a dashboard: (where, expression)."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} ({target['refId']})", settled(target["expr"])
    for annotation in dashboard.get("annotations", {}).get("list", []):
        if "expr" in annotation:
            yield annotation["name"], settled(annotation["expr"])


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


def unknown(where, expression, known):
    """What an expression asks for that nobody exports."""
    metrics, grouped = asked(expression)
    labels = set(OF_THE_TARGET)
    for metric in metrics:
        of = known.get(metric.name)
        if of is None:
            yield f"{where}: nobody exports {metric.name}"
            continue
        labels |= of.labels
        for label, (operator, value) in metric.labels.items():
            if label not in of.labels | OF_THE_TARGET:
                yield f"{where}: {metric.name} has no label {label}"
            elif of.told is not None and label in of.labels:
                for wanted in values(operator, value):
                    if wanted not in of.told:
                        yield f"{where}: {label} of {metric.name} is never {wanted}"
    for label in grouped - labels:
        yield f"{where}: nothing in it has a label {label}"


def known_metrics(root):
    known = told((root / "docs/operations.md").read_text())
    known.update((name, Metric(labels)) for name, labels in OTHERS.items())
    # `role` is told of as a label only.
    if "carillon_build_info" in known:
        known["carillon_build_info"].told = None
    for _, rule in rules_of(root):
        if "record" in rule:
            grouped = asked(rule["expr"])[1]
            known[rule["record"]] = Metric(grouped)
    return known


def expressions_of(root):
    """All expressions: (where, expression)."""
    for path, rule in rules_of(root):
        yield f"{path.name}: {rule.get('alert') or rule['record']}", rule["expr"]
    for path, dashboard in dashboards_of(root):
        for where, expression in queries_of(dashboard):
            yield f"{path.name}: {where}", expression


def expressions_ask_for_what_is_there(root):
    known = known_metrics(root)
    for where, expression in expressions_of(root):
        yield from unknown(where, expression, known)


def queries_are_promql(root):
    """Each query of a dashboard, as if it were a recording rule."""
    for path, dashboard in dashboards_of(root):
        rules = [
            {"record": f"query:{number}", "expr": expression}
            for number, (_, expression) in enumerate(queries_of(dashboard))
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "queries", "rules": rules}]}, file)
            file.flush()
            if promtool("check", "rules", file.name):
                yield from (f"{path.name}: {line}" for line in which_are_none(dashboard))


def which_are_none(dashboard):
    for where, expression in queries_of(dashboard):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            rules = [{"record": "query", "expr": expression}]
            json.dump({"groups": [{"name": "one", "rules": rules}]}, file)
            file.flush()
            if complaints := promtool("check", "rules", file.name):
                yield f"{where}: {complaints[-1]}"


def dashboards_can_be_read(root):
    found = list(dashboards_of(root))
    if not found:
        yield "deploy/grafana/dashboards: there is none"
    for path, dashboard in found:
        panels = dashboard["panels"]
        rows = [panel["title"] for panel in panels if panel["type"] == "row"]
        if rows != QUESTIONS:
            yield f"{path.name}: its rows are {rows}"
        numbers = [panel["id"] for panel in panels]
        if len(set(numbers)) != len(numbers):
            yield f"{path.name}: two panels have one id"
        yield from (f"{path.name}: {fault}" for fault in faults_of_places(panels))
        for panel in panels:
            if panel["type"] == "row":
                continue
            where = f"{path.name}: {panel['title']}"
            if not panel.get("description") or not panel.get("targets"):
                yield f"{where} has no description, or asks for nothing"
            if panel["type"] != "state-timeline" and not panel["fieldConfig"]["defaults"].get("unit"):
                yield f"{where} has no unit"
            for target in panel.get("targets", []):
                if target["datasource"]["uid"] != "${datasource}":
                    yield f"{where} asks one data source, whatever was chosen"


def faults_of_places(panels):
    taken = {}
    last = -1
    for panel in panels:
        at = panel["gridPos"]
        if at["y"] < last or at["x"] + at["w"] > 24:
            yield f"{panel['title']} is out of its place"
        last = at["y"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                other = taken.setdefault((x, y), panel)
                if other is not panel:
                    yield f"{panel['title']} lies on {other['title']}"
                    return


def grafana_is_provisioned(root):
    at = root / "deploy/grafana/provisioning"
    sources = [
        source
        for path in (at / "datasources").glob("*.yaml")
        for source in yaml.safe_load(path.read_text())["datasources"]
    ]
    if [source["type"] for source in sources] != ["prometheus"] or not sources[0].get("isDefault"):
        yield "provisioning: there is not one data source, a Prometheus"
    providers = [
        provider
        for path in (at / "dashboards").glob("*.yaml")
        for provider in yaml.safe_load(path.read_text())["providers"]
    ]
    if not providers or not all(provider["options"].get("path") for provider in providers):
        yield "provisioning: nothing says where dashboards are"


def copies_say_the_same(root):
    """Those in deploy/k8s, which cannot name files outside of it."""
    ours = [
        group
        for path in sorted((root / "deploy/prometheus/rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    boards = {dashboard["title"]: dashboard for _, dashboard in dashboards_of(root)}
    for path in sorted((root / "deploy/k8s").rglob("*")):
        where = path.relative_to(root)
        if path.suffix == ".json" and path.is_file():
            copy = json.loads(path.read_text())
            if isinstance(copy, dict) and copy.get("title") in boards:
                if copy != boards[copy["title"]]:
                    yield f"{where} is not as deploy/grafana/dashboards has it"
        elif path.suffix in (".yaml", ".yml") and "kind: PrometheusRule" in path.read_text():
            for document in yaml.safe_load_all(path.read_text()):
                if document and document.get("kind") == "PrometheusRule":
                    groups = sorted(document["spec"]["groups"], key=lambda group: group["name"])
                    if groups != sorted(ours, key=lambda group: group["name"]):
                        yield f"{where} has other rules than deploy/prometheus/rules"


CHECKS = [
    files_are_rules,
    rules_pass_their_tests,
    alerts_have_a_runbook,
    expressions_ask_for_what_is_there,
    queries_are_promql,
    dashboards_can_be_read,
    grafana_is_provisioned,
    copies_say_the_same,
]


def faults(root):
    for check in CHECKS:
        yield from check(root)


def main():
    if not shutil.which("promtool"):
        sys.exit("watch: promtool is missing; it comes with Prometheus (deploy/local/need.sh prometheus)")
    found = list(faults(ROOT))
    for fault in found:
        print(f"watch: {fault}")
    if found:
        sys.exit(1)
    queries = sum(1 for _ in expressions_of(ROOT))
    print(f"watch: {len(alerts_of(ROOT))} alerts and {queries} expressions are as they should be")


if __name__ == "__main__":
    main()
