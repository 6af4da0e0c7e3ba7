#!/usr/bin/env python3
"""Renders the overlays of deploy/k8s, and writes or compares what is committed of them.

`make deploy-render` writes deploy/k8s/rendered and the PrometheusRule that is made of
deploy/prometheus/rules; `make deploy-check` compares. All kubectl from 1.27 on render
the same. What is rendered is committed so that a change can be read as what it does.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
OLDEST = (1, 27)
RULE = "deploy/k8s/components/monitoring/prometheus-rule.yaml"


class NoKubectl(Exception):
    """There is none, or only old ones."""


def overlays(root):
    return sorted(path.parent for path in root.glob("deploy/k8s/overlays/*/kustomization.yaml"))


def rendered(root, overlay):
    return root / "deploy/k8s/rendered" / f"{overlay.name}.yaml"


def version_of(kubectl):
    """Such as (1, 32); nothing if it cannot be asked."""
    try:
        command = [kubectl, "version", "--client", "-o", "json"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        told = json.loads(answer.stdout)["clientVersion"]
        return int(told["major"]), int(re.match(r"\d+", told["minor"]).group())
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, AttributeError):
        return None


def kubectl():
    """The machine's own if it is new enough, else that of the registry."""
    beside = Path(sys.executable).parent / "kubectl"
    for found in (os.environ.get("KUBECTL"), shutil.which("kubectl"), str(beside)):
        if found and (version_of(found) or (0,)) >= OLDEST:
            return found
    raise NoKubectl


def render(overlay, tool):
    """What would be applied, and nothing; or nothing, and what is wrong."""
    answer = subprocess.run([tool, "kustomize", str(overlay)], capture_output=True, text=True)
    if answer.returncode != 0:
        return None, answer.stderr.strip()
    header = f"# Written by `make deploy-render` from deploy/k8s/overlays/{overlay.name}.\n"
    return header + answer.stdout, None


def rule(root):
    """The PrometheusRule of what Prometheus reads as files elsewhere."""
    groups = []
    for path in sorted(root.glob("deploy/prometheus/rules/*.yaml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "carillon"},
        "spec": {"groups": groups},
    }
    header = "# Written by `make deploy-render` from deploy/prometheus/rules.\n"
    return header + yaml.safe_dump(resource, sort_keys=False, width=1000)


def faults(root):
    if (root / RULE).read_text() != rule(root):
        yield f"{RULE} is not as deploy/prometheus/rules has it: run `make deploy-render`"
    try:
        tool = kubectl()
    except NoKubectl:
        print("deploy: no kubectl of 1.27 or newer: what is committed is not compared", file=sys.stderr)
        return
    for overlay in overlays(root):
        text, wrong = render(overlay, tool)
        file = rendered(root, overlay)
        if wrong:
            yield f"overlays/{overlay.name} cannot be rendered: {wrong}"
        elif not file.exists() or file.read_text() != text:
            yield f"rendered/{file.name} is not what the overlay says: run `make deploy-render`"


def main():
    (ROOT / RULE).write_text(rule(ROOT))
    tool = kubectl()
    for overlay in overlays(ROOT):
        text, wrong = render(overlay, tool)
        if wrong:
            sys.exit(f"overlays/{overlay.name} cannot be rendered: {wrong}")
        file = rendered(ROOT, overlay)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        print(f"deploy: {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
