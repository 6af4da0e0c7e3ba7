#!/usr/bin/env python3
"""Draws what live.py has recorded, panel by panel, as the dashboard lays them out.

    draw.py target/watch/record.json target/watch/dashboard.png

No Grafana: it shows whether each query has something to show, and whether that can be read.
"""

import json
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

COLUMN, LINE = 0.8, 0.36  # inches of one unit of the dashboard's grid
MOST_NAMES = 14  # in a legend


def name(legend, labels):
    if legend == "__auto":
        return ",".join(f"{label}={value}" for label, value in labels.items() if label != "__name__")
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend).strip()


def series(drawn):
    for target in drawn:
        for result in target["result"]:
            points = [(float(at), float(value)) for at, value in result["values"]]
            yield name(target["legend"], result["metric"]), points


def with_gaps(points, step):
    """Where something was not there, Grafana draws no line."""
    for (at, value), (after, _) in zip(points, [*points[1:], points[-1]]):
        yield at, value
        if after - at > 1.5 * step:
            yield at + step, float("nan")


def span(panels):
    """From when to when anything was seen: what all panels show, as Grafana does."""
    times = [at for one in panels for _, points in series(one["drawn"]) for at, _ in points]
    return min(times), max(times)


def draw(axes, panel, drawn, step, shown):
    kind = panel["type"]
    axes.set_title(panel["title"], fontsize=8, loc="left", pad=2)
    found = sorted(series(drawn), key=lambda one: one[0])
    real = [(named, points) for named, points in found if any(at[1] == at[1] for at in points)]
    if not real:
        axes.text(0.5, 0.5, "nothing", ha="center", va="center", color="red", fontsize=9)
    elif kind == "stat":
        text = "\n".join(f"{named} {points[-1][1]:.4g}".strip() for named, points in real)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=13 if len(real) < 2 else 9)
    elif kind == "state-timeline":
        colors = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        for line, (named, points) in enumerate(real):
            for (at, value), (end, _) in zip(points, points[1:]):
                color = colors[str(int(value))]["color"]
                axes.barh(line, end - at, left=at, height=0.8, color=color)
            axes.text(shown[0], line, f" {named}", fontsize=6, va="center")
        axes.set_yticks([])
    elif panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal":
        times = sorted({at for _, points in real for at, _ in points})
        values = [[dict(points).get(at, 0) for at in times] for _, points in real]
        axes.stackplot(times, values, labels=[named for named, _ in real], alpha=0.7)
    else:
        for named, points in real:
            axes.plot(*zip(*with_gaps(points, step)), label=named, linewidth=1)
    if kind == "timeseries" and real:
        axes.set_ylim(bottom=panel["fieldConfig"]["defaults"].get("min"))
        names = len({named for named, _ in real})
        if names <= MOST_NAMES:
            axes.legend(fontsize=5, loc="upper left", ncols=2, framealpha=0.5)
        else:
            axes.text(0.02, 0.9, f"{names} series", transform=axes.transAxes, fontsize=6)
        axes.text(
            0.99, 0.95, panel["fieldConfig"]["defaults"]["unit"], ha="right", va="top",
            transform=axes.transAxes, fontsize=6, color="gray",
        )  # fmt: skip
    if kind != "stat":
        axes.set_xlim(*shown)
    axes.tick_params(labelsize=5)
    axes.set_xticks([])
    if kind == "stat":
        axes.set_yticks([])


def main():
    recorded, picture = map(Path, sys.argv[1:3])
    record = json.loads(recorded.read_text())
    panels = record["panels"]
    height = max(one["panel"]["gridPos"]["y"] + one["panel"]["gridPos"]["h"] for one in panels)
    shown = span(panels)
    figure = pyplot.figure(figsize=(24 * COLUMN, height * LINE))
    for one in panels:
        at = one["panel"]["gridPos"]
        top = 1 - at["y"] / height
        if one["panel"]["type"] == "row":
            figure.text(
                0.005, top - 0.6 / height, one["panel"]["title"], fontsize=13, weight="bold", va="center"
            )
            continue
        box = [
            (at["x"] + 0.7) / 24, top - (at["h"] - 0.4) / height,
            (at["w"] - 0.9) / 24, (at["h"] - 1.3) / height,
        ]  # fmt: skip
        draw(figure.add_axes(box), one["panel"], one["drawn"], record["step"], shown)
    figure.savefig(picture, dpi=90)


if __name__ == "__main__":
    main()
