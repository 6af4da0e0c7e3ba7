#!/usr/bin/env python3
"""Checks what watches a cluster: rules, their tests, runbook, and dashboard (`make deploy-check`).

Whether rules and expressions are right is asked of promtool. Beside that: each alert has a
section in the runbook, and each section an alert; each has a test in which it fires and one in
which it stays silent; every metric, label and value that is asked for is one that
docs/operations.md tells of, which a test holds against what processes export. Copies in
deploy/k8s say the same. What is wrong is printed, one line each.
"""

import json
import shutil
import sys
from pathlib import Path

import yaml

import dashboards
import rules
from dashboards import dashboards_of, queries_of
from exported import OTHERS, Metric, told, unknown
from expressions import asked
from rules import alerts_of, rules_of

ROOT = Path(__file__).resolve().parents[2]


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
    rules.files_are_rules,
    rules.rules_pass_their_tests,
    rules.alerts_have_a_runbook,
    expressions_ask_for_what_is_there,
    dashboards.queries_are_promql,
    dashboards.dashboards_can_be_read,
    dashboards.grafana_is_provisioned,
    copies_say_the_same,
]


def faults(root):
    for check in CHECKS:
        yield from check(root)


def main():
    if not shutil.which("promtool"):
        sys.exit("watch: promtool is missing; Debian has it in the package prometheus")
    found = list(faults(ROOT))
    for fault in found:
        print(f"watch: {fault}")
    if found:
        sys.exit(1)
    queries = sum(1 for _ in expressions_of(ROOT))
    print(f"watch: {len(alerts_of(ROOT))} alerts and {queries} expressions are as they should be")


if __name__ == "__main__":
    main()
