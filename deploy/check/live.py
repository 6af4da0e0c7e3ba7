#!/usr/bin/env python3
"""A real Prometheus watches a small real cluster: does what is asked for exist, and give an answer?

    live.py --binaries target/debug [--seconds 40] [--folder target/watch]

Starts Redis, gateways, api and worker (a few sockets of each protocol, pushes, some faults) and
Prometheus with deploy/prometheus/local.yml on ports of their own, and stops them again. Checked
are the metrics as promtool reads them, how many series each process has, that every metric, label
and value in rules and dashboard is exported, and that every expression evaluates. What the
dashboard would have shown is left in the folder as record.json, for draw.py.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from cluster import ROOT, SOCKETS, Users, run, small_cluster
from dashboards import dashboards_of, settled
from exported import OTHERS, Metric, unknown
from expressions import asked
from rules import rules_of
from watch import expressions_of

MOST_SERIES = 300  # of each process
# This Redis has no replica, and nobody here speaks TLS.
NOT_HERE = {"redis_connected_slave_lag_seconds", "carillon_tls_not_after_seconds"}
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})? ")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def exported(texts):
    """The metrics of these texts, with the labels and the values that they have."""
    known = {}
    for line in "\n".join(texts).splitlines():
        if found := SERIES.match(line):
            metric = known.setdefault(found[1], Metric((), set()))
            for label, value in LABEL.findall(found[2] or ""):
                metric.labels.add(label)
                metric.told.add(value)
    return known


def get(port, path, **query):
    url = f"http://127.0.0.1:{port}{path}"
    if query:
        url += "?" + urllib.parse.urlencode(query)
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


class Prometheus:
    """One that scrapes every second what local.yml names, wherever it listens."""

    def __init__(self, folder, cluster, redis_exporter):
        config = yaml.safe_load((ROOT / "deploy/prometheus/local.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(ROOT / "deploy/prometheus/rules/*.yaml")]
        targets = [f"127.0.0.1:{process.port['admin']}" for process in cluster.carillon]
        scraped = {job["job_name"]: job["static_configs"][0] for job in config["scrape_configs"]}
        scraped["carillon"]["targets"] = targets
        scraped["redis"]["targets"] = [f"127.0.0.1:{redis_exporter}"] if redis_exporter else []
        file = folder / "prometheus.yml"
        file.write_text(json.dumps(config))
        shutil.rmtree(folder / "tsdb", ignore_errors=True)
        self.port = run.Ports().take(9090, "prometheus")
        with open(folder / "prometheus.log", "wb") as log:
            self.child = subprocess.Popen(
                [
                    "prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder}/tsdb",
                    f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, path, **query):
        try:
            return json.loads(get(self.port, "/api/v1/" + path, **query))
        except urllib.error.HTTPError as refused:
            return json.loads(refused.read())

    def ready(self):
        try:
            return get(self.port, "/-/ready") != ""
        except OSError:
            return False


def wait(what, holds, seconds=30):
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            sys.exit(f"live: {what} did not happen within {seconds} s")
        time.sleep(0.1)


def live(cluster, seconds):
    """What happens while Prometheus looks on."""
    users = Users(cluster)
    users.arrive()
    acts = {
        0.2: lambda: users.read_nothing(),
        0.35: lambda: users.leave(SOCKETS),
        0.45: lambda: lose_redis(cluster, users),
        0.6: lambda: users.arrive(SOCKETS // 3),
        0.75: lambda: replace(cluster, cluster.gateways[1]),
        0.85: lambda: users.arrive(SOCKETS // 3),
    }
    started, kept, turn, failed = time.monotonic(), [], 0, 0
    while (passed := (time.monotonic() - started) / seconds) < 1:
        for due in [due for due in acts if due <= passed]:
            kept.append(acts.pop(due)())
        try:
            users.be_busy()
            if turn % 5 == 0:
                users.be_wrong()
        except (OSError, KeyError, TypeError, SystemExit):
            failed += 1
        turn += 1
        time.sleep(0.7)
    # Some do while Redis or a gateway is away.
    if failed > turn / 4:
        sys.exit(f"live: of {turn} turns {failed} failed")


def lose_redis(cluster, users):
    cluster.redis.child.kill()
    cluster.redis.child.wait()
    time.sleep(2)
    cluster.start(cluster.redis)
    wait("ready again", lambda: all(process.ready() for process in cluster.carillon))
    users.connect()


def replace(cluster, process):
    process.child.terminate()
    process.child.wait()
    cluster.start(process)


def faults(cluster, prometheus):
    """What is wrong, after it has looked on."""
    texts = []
    for process in cluster.carillon:
        text = get(process.port["admin"], "/metrics")
        texts.append(text)
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        yield from (f"{process.name}: {line}" for line in done.stderr.splitlines())
        series = sum(1 for line in text.splitlines() if line and line[0] != "#")
        print(f"live: {process.name} has {series} series")
        if series >= MOST_SERIES:
            yield f"{process.name} has {series} series"

    known = exported(texts)
    known.update((name, Metric(labels)) for name, labels in OTHERS.items())
    for _, rule in rules_of(ROOT):
        if "record" in rule:
            known[rule["record"]] = Metric(asked(rule["expr"])[1])
    known.update((name, Metric(())) for name in NOT_HERE - known.keys())
    for where, expression in expressions_of(ROOT):
        yield from unknown(where, expression, known)

    for group in prometheus.ask("rules")["data"]["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok":
                yield f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}"
    for where, expression in expressions_of(ROOT):
        answer = prometheus.ask("query", query=expression)
        if answer["status"] != "success":
            yield f"{where}: {answer['error']}"


def without_data(prometheus, redis_exporter):
    """What alerts and other rules ask for that nothing was ever scraped of, label by label."""
    for path, rule in rules_of(ROOT):
        for metric in asked(rule["expr"])[0]:
            name = metric.name
            if name in NOT_HERE or name.startswith("redis_") and not redis_exporter:
                continue
            matchers = ",".join(f'{label}{sign}"{value}"' for label, (sign, value) in metric.labels.items())
            query = f"count_over_time({name}{{{matchers}}}[1h])"
            if not prometheus.ask("query", query=query)["data"]["result"]:
                yield f"{path.name}: {rule.get('alert') or rule['record']}: there is no {name}{{{matchers}}}"


def may_be_empty(expression, redis_exporter):
    """What shows only what happens, and what cannot be had here."""
    first = asked(expression)[0][0].name
    away = first.startswith("redis_") and not redis_exporter
    return away or first == "ALERTS" or expression.endswith("> 0")


def record(prometheus, started, redis_exporter):
    """What each panel would have shown; and which ask for something that never was."""
    empty, panels = [], []
    ended = time.time()
    step = max(1, round((ended - started) / 240))
    for path, dashboard in dashboards_of(ROOT):
        for panel in dashboard["panels"]:
            drawn = []
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "15s")
                expression = settled(expression.replace("$__range", f"{int(ended - started)}s"))
                answer = prometheus.ask("query_range", query=expression, start=started, end=ended, step=step)
                result = answer["data"]["result"] if answer["status"] == "success" else []
                drawn.append({"legend": target["legendFormat"], "result": result})
                if not result and not may_be_empty(expression, redis_exporter):
                    empty.append(f"{panel['title']} ({target['refId']}) shows nothing")
            panels.append({"panel": panel, "drawn": drawn})
    return {"step": step, "panels": panels}, empty


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binaries", default=ROOT / "target/debug", type=Path)
    options.add_argument("--folder", default=ROOT / "target/watch", type=Path)
    options.add_argument("--seconds", default=40, type=int)
    given = options.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("live: asked to stop"))
    given.folder.mkdir(parents=True, exist_ok=True)
    # From nothing: what an earlier run left would tell of messages that are long due.
    shutil.rmtree(given.folder / "cluster", ignore_errors=True)
    cluster = small_cluster(given.folder / "cluster", given.binaries)
    started, children = time.time(), []
    try:
        cluster.start_all()
        exporter = None
        if shutil.which("prometheus-redis-exporter"):
            exporter = run.Ports().take(9121, "redis exporter")
            command = [
                "prometheus-redis-exporter", "-redis.addr", cluster.redis.url("redis"),
                "-web.listen-address", f"127.0.0.1:{exporter}",
            ]  # fmt: skip
            quiet = subprocess.DEVNULL
            children.append(subprocess.Popen(command, stdout=quiet, stderr=quiet))
        prometheus = Prometheus(given.folder, cluster, exporter)
        children.append(prometheus.child)
        wait("prometheus", prometheus.ready)
        live(cluster, given.seconds)
        found = list(faults(cluster, prometheus))
        found += without_data(prometheus, exporter)
        drawn, empty = record(prometheus, started, exporter)
        found += empty
        (given.folder / "record.json").write_text(json.dumps(drawn))
        for process in cluster.carillon:
            text = get(process.port["admin"], "/metrics")
            (given.folder / f"{process.name}.metrics").write_text(text)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait()
        cluster.stop()
    for fault in found:
        print(f"live: {fault}")
    if found:
        sys.exit(1)
    print("live: every expression has been answered from a running cluster")


if __name__ == "__main__":
    main()
