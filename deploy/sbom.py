#!/usr/bin/env python3
"""What the image is made of, as a CycloneDX 1.6 document (`make sbom`).

    python3 deploy/sbom.py > target/carillon.cdx.json

It says what Cargo.lock, the manifests and the Dockerfile say, and nothing of when or where
it was written: the same sources give the same bytes. `required` is what is linked into the
programs, `excluded` what only helps to build them (macros, build scripts, compilers).
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("gateway", "api", "worker")
# What images are built for.
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def tree(root, edges):
    """The packages that edges of these kinds lead to, and what each leads to."""
    command = ["cargo", "tree", "--locked", "--quiet", "--prefix", "depth", "--format", "|{p}|{l}|"]
    command += [f"--edges={edges}", *(f"--package={name}" for name in PROGRAMS)]
    command += [f"--target={target}" for target in TARGETS]
    answer = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    found, above = {}, []
    for line in filter(None, answer.stdout.splitlines()):
        depth, package, licence, _ = line.split("|")
        name, version = package.split()[:2]
        key = (name, version.lstrip("v"))
        found.setdefault(key, {"licence": licence, "uses": set()})
        del above[int(depth) :]
        if above:
            found[above[-1]]["uses"].add(key)
        above.append(key)
    return found


def locked(root):
    """Where each package comes from, and its checksum."""
    packages = tomllib.loads((root / "Cargo.lock").read_text())["package"]
    return {(one["name"], one["version"]): one for one in packages}


def purl(key, lock):
    name, version = key
    ours = "source" not in lock[key]
    return f"pkg:generic/carillon/{name}@{version}" if ours else f"pkg:cargo/{name}@{version.replace('+', '%2B')}"


def component(key, entry, lock, scope):
    name, version = key
    reference = purl(key, lock)
    program = name in PROGRAMS and "source" not in lock[key]
    made = {
        "type": "application" if program else "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "scope": scope,
        # A slash is an old way to say OR.
        "licenses": [{"expression": entry["licence"].replace("/", " OR ")}],
        "purl": reference,
    }
    if "source" in lock[key]:
        if lock[key]["source"] != REGISTRY:
            sys.exit(f"sbom: {name} comes from {lock[key]['source']}")
        made["hashes"] = [{"alg": "SHA-256", "content": lock[key]["checksum"]}]
    return made


def compiler(root):
    """The image that the Dockerfile builds in: its C library and its list of authorities go along."""
    text = (root / "deploy/Dockerfile").read_text()
    name, version = re.search(r"^FROM (\S+):(\S+) AS build$", text, re.M).groups()
    return {
        "type": "container",
        "bom-ref": "build",
        "name": name,
        "version": version,
        "scope": "excluded",
        "description": "Builds the programs. Its static C library is linked into them, and its "
        "/etc/ssl/certs/ca-certificates.crt is in the image.",
    }


def document(root):
    lock = locked(root)
    linked = tree(root, "normal,no-proc-macro")
    everything = tree(root, "normal,build")
    components = [
        component(key, everything[key], lock, "required" if key in linked else "excluded") for key in everything
    ]
    components.append(compiler(root))
    edges = {purl(key, lock): sorted(purl(one, lock) for one in entry["uses"]) for key, entry in everything.items()}
    edges["image"] = sorted([*(purl(key, lock) for key in lock if key[0] in PROGRAMS), "build"])
    edges["build"] = []
    version = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    body = {
        "metadata": {
            "component": {"type": "container", "bom-ref": "image", "name": "carillon", "version": version},
        },
        "components": sorted(components, key=lambda one: one["bom-ref"]),
        "dependencies": [{"ref": ref, "dependsOn": uses} for ref, uses in sorted(edges.items())],
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    head = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
    }
    return head | body


def main():
    json.dump(document(ROOT), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
