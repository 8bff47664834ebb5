"""The comparison as a picture: bars, for what a client notices of restarts."""

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot  # pylint: disable=wrong-import-position

from comparison_table import format_ms  # pylint: disable=wrong-import-position

# Of Okabe and Ito's colours, which everybody can tell apart.
_OURS = "#0072B2"
_OTHERS = "#A6A6A6"
# How much of a panel its longest bar takes; the rest is for the bar's label.
_SHARE = 0.62


def _panels(results):
    """Of each panel: its title, values and their labels, and if it is a log axis."""
    clients = [result["clients"] for result in results]
    kept = [entry["kept"] for entry in clients]
    broken = [entry["refused"] + entry["reset"] for entry in clients]
    lost = [entry["lost"] for entry in clients]
    survived = [entry["survived"] for entry in kept]
    tail = [entry["p999_ms"] for entry in kept]
    gap = [entry["longest_gap_ms"] for entry in kept]
    return [
        ("connections refused\nor reset (log)", broken, str, True),
        ("requests lost\nin flight (log)", lost, str, True),
        (
            f"kept connections that\nsurvived, of {kept[0]['clients']}",
            survived,
            str,
            False,
        ),
        ("latency on these,\n99.9 % (log)", tail, format_ms, True),
        ("longest gap on\nthese (log)", gap, format_ms, True),
    ]


def _draw_panel(axes, values, form, log, colours):
    most = max(values)
    if log:
        # A zero has no bar, and one has one, as has the least of all times.
        least = min([0.5] + [value / 2 for value in values if value > 0])
        most = max(most, 10 * least)
        axes.set_xscale("log")
        axes.set_xlim(least, least * (most / least) ** (1 / _SHARE))
    else:
        least = 0
        axes.set_xlim(0, max(most, 1) / _SHARE)
    places = range(len(values))
    widths = [max(value - least, 0) for value in values]
    axes.barh(places, widths, left=least, color=colours, height=0.62)
    for place, value in zip(places, values):
        axes.annotate(
            form(value),
            (max(value, least), place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xticks([])
    axes.minorticks_off()
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def draw(everything, path):
    """Of what compare.json has, as an SVG that is the same for the same figures."""
    results = everything["results"]
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "compare",
            "font.family": "sans-serif",
            "font.size": 9,
        }
    )
    colours = [
        _OURS if result["name"] == "handoff" else _OTHERS for result in results
    ]
    panels = _panels(results)
    figure, all_axes = pyplot.subplots(
        1, len(panels), figsize=(11, 0.8 + 0.34 * len(results)), sharey=True
    )
    for axes, (title, values, form, log) in zip(all_axes, panels):
        _draw_panel(axes, values, form, log, colours)
        axes.set_title(title, fontsize=9, loc="left")
    names = [result["title"] for result in results]
    all_axes[0].set_yticks(range(len(results)), names)
    all_axes[0].invert_yaxis()
    figure.tight_layout(w_pad=1)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
