"""What expressions of PromQL name: metrics, their labels, and values these must have.

No parser: it reads words and braces, which is enough to tell what is asked for. Whether
an expression is one at all is told by promtool.
"""

import re
from dataclasses import dataclass, field

WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[a-zA-Z_:][\w:]*|[{}()\[\],]|[=!<>~]+|[^\s\w]|\d[\w.]*')
OPERATORS = {"and", "or", "unless", "bool", "offset"}
LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass
class Asked:
    """One metric that an expression asks for."""

    name: str
    labels: dict = field(default_factory=dict)  # a label, and what is asked of it: (operator, value)


def words(expression):
    return WORD.findall(expression)


def asked(expression):
    """The metrics that it asks for, and the labels by which it groups or joins."""
    metrics, grouped = [], set()
    left = words(expression)
    while left:
        word = left.pop(0)
        after = left[0] if left else ""
        if word == "[":
            del left[: left.index("]") + 1]
        elif word in LISTS:
            if after == "(":
                end = left.index(")")
                grouped.update(word for word in left[1:end] if word != ",")
                del left[: end + 1]
        elif word in OPERATORS or after == "(" or not re.match(r"[a-zA-Z_:]", word):
            continue
        elif after not in LISTS:
            metric = Asked(word)
            if after == "{":
                end = left.index("}")
                inside = [word for word in left[1:end] if word != ","]
                for label, operator, value in zip(*[iter(inside)] * 3):
                    metric.labels[label] = (operator, value.strip('"'))
                del left[: end + 1]
            metrics.append(metric)
    return metrics, grouped


def values(operator, value):
    """The values that such a matcher names, if they can be told: those between bars."""
    if operator in ("=", "!="):
        return [value] if value else []
    if re.fullmatch(r"\w+(\|\w+)*", value):
        return value.split("|")
    return []
