"""Dashboards of Grafana: their queries are PromQL, and people can read them."""

import json
import tempfile

import yaml

from rules import promtool

QUESTIONS = [
    "Is it well?",
    "Who is connected?",
    "What flows?",
    "How late?",
    "What is lost?",
    "What is near its limit?",
]


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
