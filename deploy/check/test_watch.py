"""Each check of watch.py finds what it is for: every kind of file is broken on purpose.

A case edits one file of a copy of the repository, and says which check must say something,
and what. `python3 -m unittest` in this folder runs them.
"""

import json
import shutil
import tempfile
import unittest
from pathlib import Path

import yaml

import exported
import live
import watch
from expressions import asked, values

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/operations.md"
ALERTS = "deploy/prometheus/rules/alerts.yaml"
RECORDING = "deploy/prometheus/rules/recording.yaml"
CONFIG = "deploy/prometheus/prometheus.yml"
LINKS = "deploy/prometheus/tests/links.yaml"
BOARD = "deploy/grafana/dashboards/carillon.json"
SOURCE = "deploy/grafana/provisioning/datasources/prometheus.yaml"
PROVIDER = "deploy/grafana/provisioning/dashboards/carillon.yaml"

CHECKS = {check.__name__: check for check in watch.CHECKS}

# Check, file, what stands there, what stands there instead, what is then said.
BROKEN = [
    ("files_are_rules", CONFIG, "scrape_interval: 15s", "scrape_interval: soon", "not a valid duration"),
    ("files_are_rules", CONFIG, "static_configs:", "static_config:", "static_config"),
    ("files_are_rules", ALERTS, "carillon_gateway_misskey_bus_up == 0", "carillon_gateway_misskey_bus_up == (", "parse"),
    ("files_are_rules", ALERTS, "severity: critical", "severity: {}", "unmarshal"),
    ("rules_pass_their_tests", ALERTS, "for: 30s", "for: 30m", "FAILED"),
    ("rules_pass_their_tests", ALERTS, "carillon_gateway_misskey_bus_up == 0", "carillon_gateway_misskey_bus_up == 1", "FAILED"),
    ("rules_pass_their_tests", RECORDING, "0.99", "0.5", "FAILED"),
    ("rules_pass_their_tests", ALERTS, "alert: CarillonLinkDown\n", "alert: CarillonLinkAway\n", "CarillonLinkAway fires in no test"),
    ("rules_pass_their_tests", LINKS, "alertname: CarillonMisskeyBusDown\n      - eval", "alertname: CarillonLinkDown\n      - eval", "CarillonMisskeyBusDown stays silent in no test"),
    ("rules_pass_their_tests", LINKS, "alertname: CarillonMisskeyBusDown\n      - eval", "alertname: CarillonBusAway\n      - eval", "CarillonBusAway is tested, and there is no such alert"),
    ("alerts_have_a_runbook", PAGE, "### CarillonLinkDown\n", "### The link is down\n", "CarillonLinkDown has no section"),
    ("alerts_have_a_runbook", PAGE, "### CarillonLinkDown\n", "### CarillonOdd\n", "a section for CarillonOdd, and there is no such alert"),
    ("alerts_have_a_runbook", PAGE, "* **Do** bring Redis back", "* Bring Redis back", "CarillonLinkDownEverywhere: its section does not say"),
    ("alerts_have_a_runbook", ALERTS, "#carillonlinkdown\n", "#carillonlink\n", "CarillonLinkDown does not lead to its section"),
    ("alerts_have_a_runbook", ALERTS, "summary: No gateway hears Redis.", "about: No gateway hears Redis.", "CarillonLinkDownEverywhere has no summary"),
    ("alerts_have_a_runbook", ALERTS, "severity: warning", "severity: mild", "no severity"),
    ("expressions_ask_for_what_is_there", ALERTS, "carillon_gateway_misskey_bus_up == 0", "carillon_gateway_bus_up == 0", "nobody exports carillon_gateway_bus_up"),
    ("expressions_ask_for_what_is_there", ALERTS, 'outcome!="recovered"', 'outcome!="found"', "outcome of carillon_gateway_gap_total is never found"),
    ("expressions_ask_for_what_is_there", ALERTS, 'outcome!="recovered"', 'result!="recovered"', "carillon_gateway_gap_total has no label result"),
    ("expressions_ask_for_what_is_there", ALERTS, "sum by (namespace, why)", "sum by (namespace, reason)", "nothing in it has a label reason"),
    ("expressions_ask_for_what_is_there", ALERTS, "namespace:carillon_gateway_headroom:ratio <", "namespace:carillon_gateway_headroom:share <", "nobody exports namespace:carillon_gateway_headroom:share"),
    ("expressions_ask_for_what_is_there", BOARD, "carillon_gateway_viewers", "carillon_gateway_visitors", "nobody exports carillon_gateway_visitors"),
    ("expressions_ask_for_what_is_there", BOARD, "carillon_gateway_fanout_size_sum", "carillon_gateway_fanout_size", "nobody exports carillon_gateway_fanout_size"),
    ("expressions_ask_for_what_is_there", PAGE, "| `carillon_gateway_relays` |", "| `carillon_gateway_ferries` |", "nobody exports carillon_gateway_relays"),
    ("queries_are_promql", BOARD, "sum by (dialect) (carillon_gateway_connections", "sum by (dialect) carillon_gateway_connections", "Sockets by dialect (A)"),
    ("dashboards_can_be_read", BOARD, "How late?", "How slow?", "its rows are"),
    ("dashboards_can_be_read", BOARD, '"unit": "percentunit"', '"unit": ""', "has no unit"),
    ("dashboards_can_be_read", BOARD, '"description": "Open sockets."', '"description": ""', "has no description"),
    ("dashboards_can_be_read", BOARD, '"id": 3,', '"id": 2,', "two panels have one id"),
    ("dashboards_can_be_read", BOARD, '"x": 3,', '"x": 2,', "lies on"),
    ("dashboards_can_be_read", BOARD, '"x": 16,', '"x": 18,', "out of its place"),
    ("grafana_is_provisioned", SOURCE, "type: prometheus", "type: loki", "not one data source"),
    ("grafana_is_provisioned", PROVIDER, "path: /", "paths: /", "nothing says where dashboards are"),
]  # fmt: skip


class Copies(unittest.TestCase):
    """What this is about, copied where it may be broken."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for part in ("deploy/prometheus", "deploy/grafana"):
            shutil.copytree(ROOT / part, self.root / part)
        (self.root / "docs").mkdir()
        shutil.copy(ROOT / PAGE, self.root / PAGE)

    def said(self, check):
        return "\n".join(check(self.root))


class EveryCheckFindsWhatItIsFor(Copies):
    def test_what_is_here_is_as_it_should_be(self):
        self.assertEqual(list(watch.faults(ROOT)), [])

    def test_what_is_broken_on_purpose_is_found(self):
        for check, file, there, instead, said in BROKEN:
            with self.subTest(check=check, instead=instead):
                path = self.root / file
                whole = path.read_text()
                self.assertIn(there, whole)
                path.write_text(whole.replace(there, instead, 1))
                self.assertIn(said, self.said(CHECKS[check]))
                path.write_text(whole)

    def test_every_check_is_broken_once(self):
        copies = "copies_say_the_same"
        self.assertEqual(CHECKS.keys() - {copies}, {check for check, *_ in BROKEN})

    def test_a_copy_that_lags_behind_is_found(self):
        folder = self.root / "deploy/k8s"
        folder.mkdir(parents=True)
        groups = [
            group
            for file in (ALERTS, RECORDING)
            for group in yaml.safe_load((self.root / file).read_text())["groups"]
        ]
        rule = {"kind": "PrometheusRule", "spec": {"groups": groups}}
        (folder / "rule.yaml").write_text(yaml.safe_dump(rule))
        board = json.loads((self.root / BOARD).read_text())
        (folder / "board.json").write_text(json.dumps(board))
        self.assertEqual(self.said(watch.copies_say_the_same), "")
        groups[0]["rules"].pop()
        (folder / "rule.yaml").write_text(yaml.safe_dump(rule))
        self.assertIn("rule.yaml has other rules", self.said(watch.copies_say_the_same))
        board["panels"].pop()
        (folder / "board.json").write_text(json.dumps(board))
        self.assertIn("board.json is not as", self.said(watch.copies_say_the_same))


class ExpressionsAreRead(unittest.TestCase):
    def names(self, expression):
        return [metric.name for metric in asked(expression)[0]]

    def test_functions_groups_and_durations_are_no_metrics(self):
        expression = (
            "sum by (le, kind) (rate(a_bucket[5m] offset 2m)) / on (job) group_left (role) b > bool 0.5"
        )
        self.assertEqual(self.names(expression), ["a_bucket", "b"])
        self.assertEqual(asked(expression)[1], {"le", "kind", "job", "role"})

    def test_a_group_may_stand_after_what_is_grouped(self):
        self.assertEqual(self.names("max(a) by (x) unless on () absent(b:c)"), ["a", "b:c"])

    def test_matchers_are_told_with_their_values(self):
        ((metric,), _) = asked('increase(a{x="1, 2}", y=~"p|q"}[10m]) > 0')
        self.assertEqual(metric.labels, {"x": ("=", "1, 2}"), "y": ("=~", "p|q")})
        self.assertEqual(values("=~", "p|q"), ["p", "q"])
        self.assertEqual(values("=~", ".*p.*"), [])


class MetricsAreRead(unittest.TestCase):
    def test_labels_and_values_are_those_of_all_processes(self):
        known = live.exported(['# HELP a Of a.\na{x="1",y="p q"} 2\n', 'a{x="2"} 0\nb 1\n'])
        self.assertEqual(known["a"].labels, {"x", "y"})
        self.assertEqual(known["a"].told, {"1", "2", "p q"})
        self.assertEqual(known["b"].labels, set())

    def test_what_is_asked_for_beyond_them_is_found(self):
        known = live.exported(['carillon_x_total{outcome="ok"} 1\n'])
        wrong = list(exported.unknown("here", 'rate(carillon_x_total{outcome="odd"}[1m]) / c', known))
        self.assertEqual(wrong, ["here: outcome of carillon_x_total is never odd", "here: nobody exports c"])


if __name__ == "__main__":
    unittest.main()
