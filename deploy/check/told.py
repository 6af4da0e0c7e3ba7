"""What the pages tell of settings, metrics and rights, for checks to compare with."""

import re

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

# After delay and window a gateway writes for up to 8 s what was delivered, and ends.
ENDING = 15


def seconds(text):
    """Of a duration as settings have it; `0` needs no unit."""
    number, unit = re.fullmatch(r"(\d+)(ms|[smhd])?", text).groups()
    if unit is None and number != "0":
        raise ValueError(text)
    return int(number) * UNITS[unit or "s"]


def size(text):
    """Of a quantity of memory as Kubernetes has it."""
    number, unit = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", text).groups()
    return int(number) * SIZES[unit]


def settings(root):
    """Every variable, and the default of each; secrets apart."""
    names, secret = {}, {"CARILLON_REDIS_URL"}
    for line in (root / "docs/configuration.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) >= 6 and re.fullmatch(r"`CARILLON_\w+`", cells[1]):
            name = cells[1].strip("`")
            names[name] = cells[2].strip("`")
            if "**Secret.**" in line:
                secret.add(name)
    return names, secret


def wrong_settings(given, names, secret):
    """Of variables that a process is given: those it does not know, and secrets in the open."""
    for name in sorted(given):
        if not name.startswith("CARILLON_"):
            continue
        plain = name.removesuffix("_FILE")
        if name not in names and plain not in names:
            yield f"{name} is no setting of docs/configuration.md"
        elif name in secret:
            yield f"{name} is a secret: give it as a file"


def grace(given, names):
    """How long whoever stops a process has to wait, in seconds."""
    parts = ("CARILLON_SHUTDOWN_DELAY", "CARILLON_DRAIN_WINDOW")
    return sum(seconds(given.get(name) or names[name]) for name in parts) + ENDING


def metrics(root):
    """The names in the tables of the page for operators, parts of histograms included."""
    names = set()
    for line in (root / "docs/operations.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 7 and cells[2] in ("gauge", "counter", "histogram"):
            ends = ["", "_sum", "_count", "_bucket"] if cells[2] == "histogram" else [""]
            names |= {name + end for name in re.findall(r"`(\w+)`", cells[1]) for end in ends}
    return names


def users(root):
    """The lines by which Redis knows our processes."""
    page = (root / "docs/operations.md").read_text()
    return re.search(r"```acl\n(.*?)```", page, re.S).group(1).splitlines()


def redis_settings(root):
    """What every Redis is to be told, but for how much memory it has."""
    page = (root / "docs/operations.md").read_text()
    block = re.search(r"replicas included, is told:\n\n```\n(.*?)```", page, re.S).group(1)
    lines = [line.split("#")[0].strip() for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("maxmemory ")]
