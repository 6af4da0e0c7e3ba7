"""Holds the image and the cluster of compose to what linters say and to what we promise.

There is no container engine where this runs: Dockerfiles pass hadolint, which reads them
as an engine does; compose.yaml passes the schema of the Compose Specification (dclint).
Beside that each rule below says what it holds in its first line.
"""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

import told

HERE = Path(__file__).resolve().parent
DOCKERFILES = ("deploy/Dockerfile", "deploy/Dockerfile.prebuilt")
COMPOSE = "deploy/compose.yaml"
PROGRAMS = ("gateway", "api", "worker")

# The order in which things stand is for readers to like, not for a linter.
ORDERS = ("services-alphabetical-order", "service-keys-order", "top-level-properties-order")


def instructions(text):
    """Of a Dockerfile, lines that go on put together: [(name, rest)]."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple((line.split(None, 1) + [""])[:2]) for line in joined.splitlines() if line.strip()]


def last_stage(text):
    found = instructions(text)
    start = max(at for at, (name, _) in enumerate(found) if name.upper() == "FROM")
    return found[start:]


def dockerfiles_pass_hadolint(root):
    """With no warning."""
    hadolint = Path(sys.executable).parent / "hadolint"
    files = [str(root / name) for name in DOCKERFILES]
    answer = subprocess.run([hadolint, "--no-color", *files], capture_output=True, text=True)
    yield from (line.replace(f"{root}/", "") for line in answer.stdout.splitlines())
    if answer.returncode != 0 and not answer.stdout:
        yield f"hadolint failed: {answer.stderr.strip()}"


def image_is_programs_alone(root):
    """From nothing, for a user by number who is not root, and without a frontend to fetch."""
    for name in DOCKERFILES:
        text = (root / name).read_text()
        stage = last_stage(text)
        if re.search(r"^#\s*syntax\s*=", text, re.M):
            yield f"{name}: a frontend would be fetched"
        if stage[0][1] != "scratch":
            yield f"{name} is not from scratch but from {stage[0][1]}"
        users = [rest for instruction, rest in stage if instruction == "USER"]
        if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            yield f"{name}: the user is no number, or root: {users}"
        if any(instruction in ("RUN", "SHELL", "ENTRYPOINT", "CMD") for instruction, _ in stage):
            yield f"{name}: nothing runs in an image without a shell, and no program is the one to start"
    kept = [
        [(name, rest) for name, rest in last_stage((root / file).read_text()) if name != "COPY"]
        for file in DOCKERFILES
    ]
    if kept[0] != kept[1]:
        yield "the two Dockerfiles do not make the same image"


def ports_are_those_listened_on(root):
    """The image shows what settings listen on."""
    shown = {
        int(port)
        for name, rest in last_stage((root / DOCKERFILES[0]).read_text())
        if name == "EXPOSE"
        for port in rest.split()
    }
    settings = (root / "deploy/k8s/base/settings.env").read_text()
    listened = {int(port) for port in re.findall(r"^CARILLON_\w+_LISTEN=.*:(\d+)$", settings, re.M)}
    if shown != listened:
        yield f"deploy/Dockerfile shows {sorted(shown)}, and {sorted(listened)} are listened on"


def compiler_is_new_enough(root):
    """The image that builds has the compiler that the workspace asks for, and names it."""
    needed = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    text = (root / DOCKERFILES[0]).read_text()
    image = re.search(r"^FROM \S+/rust:([\d.]+)-\w+ AS build$", text, re.M)
    named = re.search(r"^ENV RUSTUP_TOOLCHAIN=([\d.]+)$", text, re.M)
    if not image or not named or image[1] != named[1]:
        yield "deploy/Dockerfile: the image and RUSTUP_TOOLCHAIN name different compilers"
    elif [int(n) for n in image[1].split(".")][:2] < [int(n) for n in needed.split(".")][:2]:
        yield f"deploy/Dockerfile has Rust {image[1]}, and {needed} is needed"


def seen(path, rules):
    """Whether `docker build` gets a file: the last rule that fits it, or a folder of it, decides."""
    ignored = False
    parents = [path, *(str(parent) for parent in Path(path).parents if str(parent) != ".")]
    for rule in rules:
        bare = rule.lstrip("!")
        patterns = [bare, bare.removeprefix("**/")] if bare.startswith("**/") else [bare]
        if any(fits(name, pattern) for name in parents for pattern in patterns):
            ignored = not rule.startswith("!")
    return not ignored


def fits(name, pattern):
    depth = "**" in pattern or name.count("/") == pattern.count("/")
    return depth and fnmatch.fnmatch(name, pattern)


def context_has_what_is_built(root):
    """What cargo needs is in the context; what was built, or is secret, is not."""
    lines = (root / ".dockerignore").read_text().splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    members = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["members"]
    needed = [f"{member}/Cargo.toml" for member in members]
    needed += [f"{program}/src/main.rs" for program in PROGRAMS]
    needed += ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "deploy/static.sh"]
    for path in needed:
        if not (root / path).exists():
            yield f"{path} is not there"
        elif not seen(path, rules):
            yield f".dockerignore leaves out {path}"
    unwanted = [".git/config", "target/release/api", "tests/clients/node_modules/a/b.js", "target/run/token-keys"]
    unwanted += ["deploy/k8s/overlays/dev/secrets/token-keys", ".env"]
    for path in unwanted:
        if seen(path, rules):
            yield f".dockerignore lets {path} in"


def compose(root):
    return yaml.safe_load((root / COMPOSE).read_text())


def ours(root):
    """Services that run a program of ours, by name."""
    services = compose(root)["services"]
    return {name: service for name, service in services.items() if "build" in service}


def compose_passes_dclint(root):
    """The Compose Specification's schema, and what the linter knows of mistakes."""
    linter = HERE / "node_modules/dclint/bin/dclint.cjs"
    command = ["node", linter, root / COMPOSE, "--formatter", "json", "--max-warnings", "0"]
    command += [f"--disable-rule={rule}" for rule in ORDERS]
    answer = subprocess.run(command, capture_output=True, text=True)
    try:
        for file in json.loads(answer.stdout or "[]"):
            for message in file["messages"]:
                yield f"{COMPOSE}:{message['line']}: {message['message']}"
    except ValueError:
        yield f"{COMPOSE}: {answer.stdout.strip()}"
    if answer.returncode != 0 and not answer.stdout:
        yield f"dclint failed: {answer.stderr.strip()}"


def compose_has_a_cluster(root):
    """Two gateways, an api and a worker, each with its health, closed down, with time to leave."""
    names, secret = told.settings(root)
    services = ours(root)
    run = sorted(service["command"][0] for service in services.values())
    if run != ["/api", "/gateway", "/gateway", "/worker"]:
        yield f"{COMPOSE} runs {run}"
    for name, service in services.items():
        if service["healthcheck"]["test"] != ["CMD", service["command"][0], "health"]:
            yield f"{COMPOSE}: {name} asks another program for its health"
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
            yield f"{COMPOSE}: {name} may do more than it needs"
        needed = told.grace(service["environment"], names)
        if told.seconds(service["stop_grace_period"]) < needed:
            yield f"{COMPOSE}: {name} is killed before it has left: {needed:g} s are needed"
        for wrong in told.wrong_settings(service["environment"], names, secret):
            yield f"{COMPOSE}: {name}: {wrong}"
        mounted = {
            source if isinstance(source, str) else source["target"] for source in service.get("secrets", [])
        }
        for setting, value in service["environment"].items():
            used = service["command"] != ["/worker"] or setting != "CARILLON_TOKEN_KEYS_FILE"
            if setting.endswith("_FILE") and used and Path(value).name not in mounted:
                yield f"{COMPOSE}: {name}: {setting} is no secret of it"


def compose_names_what_is_there(root):
    """Files, services, and variables of the proxy."""
    everything = compose(root)
    services = everything["services"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (root / "deploy" / source).exists():
                yield f"{COMPOSE}: {name} mounts {source}, which is not there"
            elif not source.startswith(".") and source not in everything["volumes"]:
                yield f"{COMPOSE}: {name} mounts {source}, which is no volume"
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"{COMPOSE}: {name} listens beyond this machine: {port}"
        for other in service.get("depends_on", []):
            if other not in services:
                yield f"{COMPOSE}: {name} waits for {other}, which is no service"
        image = service["image"]
        if ":" not in image.split("/")[-1] or image.endswith(":latest"):
            yield f"{COMPOSE}: {name}: {image} says no version"
    for name, entry in everything["secrets"].items():
        if not (root / "deploy" / entry["file"]).exists():
            yield f"{COMPOSE}: the secret {name} is not there"
    proxy = (root / "deploy/local/haproxy.cfg").read_text()
    config = "\n".join(line for line in proxy.splitlines() if not line.startswith("#"))
    for variable in sorted(set(re.findall(r"\$\{(\w+)\}", config))):
        if variable not in services["proxy"]["environment"]:
            yield f"{COMPOSE}: the proxy is not told {variable}"


def addresses(text):
    """Every service:port of a text."""
    return re.findall(r"\b([a-z][a-z0-9-]*):(\d{4,5})\b", text)


def prometheus_scrapes_services(root):
    """All of ours on their admin ports, and no service that is not there."""
    services = compose(root)["services"]
    config = yaml.safe_load((root / "deploy/prometheus/prometheus.yml").read_text())
    targets = {
        target
        for job in config["scrape_configs"]
        for group in job["static_configs"]
        for target in group["targets"]
    }
    for target in sorted(targets):
        if target.split(":")[0] not in services:
            yield f"Prometheus scrapes {target}, which is no service of {COMPOSE}"
    for name, service in ours(root).items():
        role = service["command"][0].strip("/").upper()
        port = service["environment"][f"CARILLON_{role}_ADMIN_LISTEN"].rsplit(":", 1)[1]
        if f"{name}:{port}" not in targets:
            yield f"Prometheus does not scrape {name}:{port}"
    for path in (root / "deploy/grafana/provisioning/datasources").glob("*.yaml"):
        for name, port in addresses(path.read_text()):
            if name not in services:
                yield f"{path.name}: {name}:{port} is no service of {COMPOSE}"
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    for path in (root / "deploy/grafana/provisioning/dashboards").glob("*.yaml"):
        for provider in yaml.safe_load(path.read_text())["providers"]:
            if provider["options"]["path"] not in mounted:
                yield f"{path.name}: nothing is mounted at {provider['options']['path']}"


RULES = [
    dockerfiles_pass_hadolint,
    image_is_programs_alone,
    ports_are_those_listened_on,
    compiler_is_new_enough,
    context_has_what_is_built,
    compose_passes_dclint,
    compose_has_a_cluster,
    compose_names_what_is_there,
    prometheus_scrapes_services,
]


def faults(root):
    for rule in RULES:
        yield from rule(root)
