"""Which metrics there are, with labels and values, and what an expression asks for beyond them."""

from expressions import asked, values

# What whoever scrapes adds.
OF_THE_TARGET = {"instance", "job", "namespace"}

# Not ours: of Prometheus itself, and of redis_exporter as far as it is asked for.
OTHERS = {
    "ALERTS": {"alertname", "alertstate", "severity"},
    "up": set(),
    "redis_up": set(),
    "redis_memory_used_bytes": set(),
    "redis_memory_max_bytes": set(),
    "redis_connected_slave_lag_seconds": {"slave_ip", "slave_port", "slave_state"},
    "redis_aof_last_write_status": set(),
    "redis_aof_last_bgrewrite_status": set(),
    "redis_commands_processed_total": set(),
}


class Metric:
    """What is known of one: its labels, and the values these may have, if that is known."""

    def __init__(self, labels, told=None):
        self.labels = set(labels)
        self.told = told


def spans(cell):
    return cell.split("`")[1::2]


def told(page):
    """The metrics in the tables of the page for operators, each part of a histogram included."""
    known = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 7 or cells[2] not in ("gauge", "counter", "histogram"):
            continue
        metric = Metric(spans(cells[3]), spans(cells[4]) + spans(cells[5]))
        for name in spans(cells[1]):
            if cells[2] == "histogram":
                for end in ("_sum", "_count", "_bucket"):
                    known[name + end] = metric
                known[name + "_bucket"] = Metric(metric.labels | {"le"}, metric.told)
            else:
                known[name] = metric
    return known


def unknown(where, expression, known):
    """What an expression asks for that nobody exports."""
    metrics, grouped = asked(expression)
    labels = set(OF_THE_TARGET)
    for metric in metrics:
        of = known.get(metric.name)
        if of is None:
            yield f"{where}: nobody exports {metric.name}"
            continue
        labels |= of.labels
        for label, (operator, value) in metric.labels.items():
            if label not in of.labels | OF_THE_TARGET:
                yield f"{where}: {metric.name} has no label {label}"
            elif of.told is not None and label in of.labels:
                for wanted in values(operator, value):
                    if wanted not in of.told:
                        yield f"{where}: {label} of {metric.name} is never {wanted}"
    for label in grouped - labels:
        yield f"{where}: nothing in it has a label {label}"
