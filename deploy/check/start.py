#!/usr/bin/env python3
"""Starts the programs with the settings of each overlay, and of compose.yaml.

    python3 deploy/check/start.py target/debug

A program that cannot use its settings says so and exits before it listens, so one that
says `listening` has taken all of them. It listens on ports of its own here, its secrets
are made up, and where its Redis should be is nobody.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import image
import manifests
import render

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "redis://127.0.0.1:9"
KEYS = "test:" + "A" * 43 + "="
WITHIN = 20  # seconds


def deployed(root):
    """What runs where: a name for people, the role, its variables."""
    for overlay in render.overlays(root):
        found = manifests.Overlay(render.rendered(root, overlay))
        for role, workload in sorted(found.roles().items()):
            yield f"overlays/{found.name}: {role}", role, found.environment(workload)
    for name, service in image.ours(root).items():
        yield f"compose.yaml: {name}", service["command"][0].strip("/"), service["environment"]


def here(given, folder):
    """The same settings for a process on this machine, with made-up secrets."""
    env = {}
    for name, value in given.items():
        if name.endswith("_LISTEN"):
            value = "127.0.0.1:0"
        elif name.endswith("_FILE"):
            file = folder / name
            file.write_text(KEYS if "KEYS" in name else NOBODY)
            value = str(file)
        env[name] = value
    return env


def complaint(program, env):
    """What a program says of its settings; nothing if it takes them."""
    process = subprocess.Popen([program], env=env, stderr=subprocess.PIPE, text=True)
    lines = []
    timer = threading.Timer(WITHIN, process.kill)
    timer.start()
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("{") and json.loads(line).get("message") == "listening":
                return None
        return "".join(lines).strip() or f"ended with {process.wait()}"
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def faults(root, programs):
    for where, role, given in deployed(root):
        with tempfile.TemporaryDirectory() as name:
            said = complaint(programs / role, here(given, Path(name)))
            if said:
                yield f"{where}: {said}"


def main():
    programs = Path(sys.argv[1])
    found = list(faults(ROOT, programs))
    for fault in found:
        print(f"deploy: {fault}")
    if found:
        sys.exit(1)
    print(f"deploy: the programs take the settings of {len(list(deployed(ROOT)))} deployments")


if __name__ == "__main__":
    main()
