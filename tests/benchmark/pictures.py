"""Draws a bench.json: handoff time over N, blackouts, latency through handoffs.

Each picture is drawn where the file has what it shows. The same file gives the same
bytes: the SVG has no date, and its ids come from a fixed salt.
"""

import os
import statistics
import tempfile

# Where the home folder is not to be written to, as in a test.
os.environ.setdefault("MPLCONFIGDIR", os.path.join(tempfile.gettempdir(), "handoff-matplotlib"))

import matplotlib  # pylint: disable=wrong-import-position

matplotlib.use("svg")

from matplotlib import pyplot, ticker  # pylint: disable=wrong-import-position

# Of Okabe and Ito's colours, which the colour-blind tell apart. What is the library's
# and what is a bound also differ in marker and line.
OURS = {"color": "#0072B2", "marker": "o", "linestyle": "-"}
BOUND = {"color": "#D55E00", "marker": "s", "linestyle": "--"}
EVENTS = "#666666"

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "handoff",
    "figure.figsize": (6.4, 3.8),
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    # Thousands of points of a curve are drawn as those that can be seen.
    "path.simplify": True,
}

# A curve of more steps than a reader can see makes only a large file.
MAX_STEPS = 400


def plain(value, _=None):
    return f"{value:,.10g}"


def thinned(values):
    """`values`, sorted, or as many of their quantiles as can be seen."""
    values = sorted(values)
    if len(values) <= MAX_STEPS:
        return [(value, (i + 1) / len(values)) for i, value in enumerate(values)]
    shares = [(i + 1) / MAX_STEPS for i in range(MAX_STEPS)]
    return [(values[round(share * len(values)) - 1], share) for share in shares]


def whiskers(axes, points, label, style):
    """`points`: (x, values of the repetitions), drawn as median from least to greatest."""
    x = [at for at, _ in points]
    middle = [statistics.median(values) for _, values in points]
    down = [m - min(values) for m, (_, values) in zip(middle, points)]
    up = [max(values) - m for m, (_, values) in zip(middle, points)]
    axes.errorbar(x, middle, yerr=[down, up], label=label, capsize=3, elinewidth=1, **style)


def handoff_time(bench):
    rows = [
        row
        for key, row in bench["rows"].items()
        if key.startswith("move_256") and row.get("ratios") and row.get("sessions")
    ]
    if not rows:
        return None
    rows.sort(key=lambda row: row["sessions"])
    figure, axes = pyplot.subplots()
    for name, label, style in (("measured", "handoff", OURS), ("bound", "bare loop", BOUND)):
        whiskers(axes, [(row["sessions"], row[name]) for row in rows], label, style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([row["sessions"] for row in rows])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(plain)
    values = [v for row in rows for name in ("measured", "bound") for v in row[name]]
    if max(values) < 100 * min(values):
        # Powers of ten alone would be too few to read a value by.
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("sessions")
    axes.set_ylabel(f"time of the handoff ({rows[0]['unit']})")
    axes.set_title("Handoff of N sessions with 256 bytes of state each")
    axes.legend(loc="upper left")
    return figure


def blackouts(bench):
    curves = [
        (bench["rows"][key]["blackouts_ms"], label, colour, line)
        for key, label, colour, line in (
            ("blackout_changed", "160 of 16,000 changed", OURS["color"], "-"),
            ("blackout_all", "16,000 of 16,000 changed", "#CC79A7", "-."),
        )
        if bench["rows"].get(key, {}).get("blackouts_ms")
    ]
    if not curves:
        return None
    figure, axes = pyplot.subplots()
    for values, label, colour, line in curves:
        steps = thinned(values)
        x = [steps[0][0], *(value for value, _ in steps)]
        y = [0, *(100 * share for _, share in steps)]
        axes.step(x, y, where="post", label=label, color=colour, linestyle=line)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(plain)
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_ylim(0, 101)
    # 99 is the one that the rows tell.
    axes.set_yticks([0, 25, 50, 75, 99])
    axes.set_xlabel("blackout of a session, at most (ms)")
    axes.set_ylabel("sessions (%)")
    axes.set_title("How long sessions are frozen")
    axes.legend(loc="best")
    return figure


def latency(bench):
    row = bench["rows"].get("latency", {})
    if not row.get("worst_ms"):
        return None
    figure, axes = pyplot.subplots(figsize=(8, 3.6))
    handoffs = row.get("handoffs_s", [])
    for i, at in enumerate(handoffs):
        axes.axvline(
            at,
            color=EVENTS,
            linewidth=0.8,
            linestyle=(0, (2, 2)),
            label="handoff" if i == 0 else None,
            zorder=1,
        )
    if row.get("bound_worst_ms"):
        seconds, worst = zip(*row["bound_worst_ms"])
        axes.plot(seconds, worst, color=BOUND["color"], linewidth=1, label="without handoffs")
    seconds, worst = zip(*row["worst_ms"])
    label = "with handoffs"
    axes.plot(seconds, worst, color=OURS["color"], linewidth=1, label=label, zorder=3)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    # Upright lines are handoffs.
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("time (s)")
    axes.set_ylabel("worst latency in an interval (ms)")
    axes.set_title(f"Latency of requests through {len(handoffs)} handoffs")
    # Beside what it explains: a peak may be anywhere.
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


PICTURES = {
    "handoff_time.svg": handoff_time,
    "blackouts.svg": blackouts,
    "latency.svg": latency,
}


def draw_all(bench, folder):
    """Writes the pictures that can be drawn into `folder`; returns their paths."""
    paths = []
    with matplotlib.rc_context(STYLE):
        for name, draw in PICTURES.items():
            figure = draw(bench)
            if figure is None:
                continue
            path = os.path.join(folder, name)
            figure.savefig(path, format="svg", metadata={"Date": None})
            pyplot.close(figure)
            paths.append(path)
    return paths
